"""``vitkit explain``: which backend computes the attention of a config's model, why, and what it takes."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vitkit.cli.arguments import Parser
from vitkit.cli.config_file import read_config
from vitkit.cli.say import say
from vitkit.errors import UsageError

DTYPES = ("float32", "bfloat16", "float16", "float64")


def main(argv: list[str]) -> int:
    """Explain, without computing anything; returns the exit code."""
    examples = (
        "examples:\n  vitkit explain --config configs/image/digits.yaml\n"
        "  vitkit explain --config configs/image/digits.yaml --size 64 64 --model.encoder.bias NoBias"
    )
    usage = "--config FILE [--config FILE ...] [--size LENGTH ...] [--model.KEY VALUE ...]"
    parser = Parser("vitkit explain", usage, "Say how the attention of a model is computed.", examples)
    parser.add_argument("--config", metavar="FILE", type=Path, action="append", required=True, help="a config, as for fit")
    parser.add_argument("--size", metavar="LENGTH", type=int, nargs="+", help="pixels or voxels per axis, if not the config's")
    parser.add_argument("--batch", metavar="N", type=int, help="samples, if not the config's batch_size")
    parser.add_argument("--inference", action="store_true", help="without gradients, instead of a training step")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="what attention is given")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where it is computed")
    arguments, rest = parser.parse_known_args(argv)
    if wrong := [word for word in rest if word.startswith("--") and not word.startswith("--model.")]:
        parser.error(f"unrecognized arguments: {wrong[0]}")
    trees = [read_config(path) for path in arguments.config]
    sizes = [batch for tree in trees if (batch := _batch(tree)) is not None]
    batch = arguments.batch or (sizes[-1] if sizes else 1)
    for line in _explain(trees, rest, arguments, batch):
        say(line)
    return 0


def _explain(trees: list[dict[str, Any]], overrides: list[str], arguments: Any, batch: int) -> Iterable[str]:
    # Imported here, so that help comes at once.
    import torch
    from jsonargparse import ArgumentError, ArgumentParser

    from vitkit.attention import Attention, explain
    from vitkit.backbones import Backbone
    from vitkit.cli.reasons import explain as reason_of
    from vitkit.encoder import Block
    from vitkit.tasks import ClassificationTask

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(ClassificationTask, "model")
    try:
        namespace = parser.get_defaults(skip_validation=True)
        for tree in trees:
            namespace = parser.parse_object({"model": tree.get("model", {})}, namespace)
        # The name in current versions, and the one in earlier ones.
        instantiate = getattr(parser, "instantiate", None) or parser.instantiate_classes
        task = instantiate(parser.parse_args(overrides, namespace)).model
    except ArgumentError as error:
        raise reason_of(error, {"model": ClassificationTask}, []) from error
    task.train(not arguments.inference)
    if isinstance(task.model, Backbone):
        found = f"{task.model.name}, whose library computes its attention"
        raise UsageError(found, "vitkit's own encoder", "Explain a config with vitkit.encoder.Encoder.")
    encoder = task.model.encoder
    grid = encoder.embed.grid(tuple(arguments.size or task.preprocess.size))
    prefix = encoder.prefix.shape[1]
    tokens = " × ".join(map(str, grid.shape))
    what = "without gradients" if arguments.inference else "a training step"
    yield f"{batch} samples of {prefix} prefix tokens and {tokens} patches, {arguments.dtype} on {arguments.device}, {what}"
    said: dict[str, list[str]] = {}
    dtype = getattr(torch, arguments.dtype)
    for index, block in enumerate(encoder.blocks):
        assert isinstance(block, Block)
        for turn, attention in enumerate(block.attentions):
            assert isinstance(attention, Attention)
            text = str(explain(attention, grid, batch=batch, prefix=prefix, dtype=dtype, device=arguments.device))
            said.setdefault(text, []).append(f"{index}.{turn}" if len(block.attentions) > 1 else str(index))
    for text, blocks in said.items():
        all_of_them = len(blocks) > 2 and blocks == [str(index) for index in range(len(encoder.blocks))]
        named = f"{blocks[0]} to {blocks[-1]}" if all_of_them else ", ".join(blocks)
        yield f"block{'s' if len(blocks) > 1 else ''} {named}: {text}"


def _batch(tree: dict[str, Any]) -> int | None:
    """The batch size that a config's data say."""
    match tree:
        case {"data": {"init_args": {"batch_size": int(size)}}}:
            return size
    return None
