"""What a checkpoint adds to the command line that names it."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitkit.tasks import read_checkpoint


@dataclass(frozen=True)
class Recalled:
    """A checkpoint, and the command line completed by it.

    ``fit --config a.yaml --model.encoder.bias NoBias`` trains another model than a.yaml says. What it was told about the model is
    kept in its checkpoints, so that ``test --config a.yaml --ckpt_path ...`` means the model that was trained. It comes after the
    configs and before everything on this command line: what is typed now beats what was typed then, always.

    Args:
        path: The checkpoint.
        checkpoint: Its content.
        overrides: What fit was told about the model beyond its configs.
        arguments: The completed command line.
    """

    path: Path
    checkpoint: dict[str, Any]
    overrides: list[str]
    arguments: list[str]

    @classmethod
    def from_arguments(cls, arguments: list[str]) -> "Recalled | None":
        """Read the checkpoint that a command line names, if it names one.

        Without ``--config``, the config that the run left beside the checkpoint is taken.

        Raises:
            UsageError: No such file.
            CheckpointError: A file that cannot be read.
        """
        options = list(_options(arguments))
        values = [value for name, value, _ in options if name == "--ckpt_path"]
        if not values or values[-1] in ("", "null"):
            return None
        path = Path(values[-1])
        checkpoint = read_checkpoint(path)
        ends = [place.stop for name, _, place in options if name in ("--config", "-c")]
        config = path.with_name("config.yaml")
        if not ends and config.is_file():
            return cls(path, checkpoint, [], ["--config", str(config), *arguments])
        overrides: list[str] = list(checkpoint.get("vitkit", {}).get("overrides", []))
        end = ends[-1] if ends else 0
        return cls(path, checkpoint, overrides, [*arguments[:end], *overrides, *arguments[end:]])


def model_overrides(arguments: list[str]) -> list[str]:
    """The part of a command line that is about the model, without the weights it started from."""
    return [
        word
        for name, _, place in _options(arguments)
        if (name == "--model" or name.startswith("--model.")) and name != "--model.weights"
        for word in arguments[place]
    ]


def config_files(arguments: list[str]) -> Iterator[Path]:
    """The configs of a command line that are files; one can also be written out in its place."""
    for name, value, _ in _options(arguments):
        if name in ("--config", "-c"):
            with suppress(OSError, ValueError):  # too long for a name, or none
                if Path(value).is_file():
                    yield Path(value)


def _options(arguments: list[str]) -> Iterator[tuple[str, str, slice]]:
    """Each option's name and value, and where they stand."""
    for index, word in enumerate(arguments):
        name, equals, value = word.partition("=")
        if not name.startswith("-"):
            continue
        if equals:
            yield name, value, slice(index, index + 1)
        elif index + 1 < len(arguments):
            yield name, arguments[index + 1], slice(index, index + 2)


def differences(ours: Any, theirs: Any, key: str = "") -> Iterator[str]:
    """Where two plain trees differ, and how: ``encoder.depth is 3, not 2``."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in ours | theirs:
            inner = key if name == "init_args" else f"{key}.{name}".removesuffix(".class_path").strip(".")
            yield from differences(ours.get(name), theirs.get(name), inner)
    elif ours != theirs:
        yield f"{key} is {_short(ours)}, not {_short(theirs)}"


def _short(value: Any) -> str:
    return str(value.get("class_path", value)) if isinstance(value, dict) else str(value)
