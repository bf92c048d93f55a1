"""What is evaluated: a model from a checkpoint or a library, and the data it is shown."""

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentError, ArgumentParser
from torch.utils.data import Dataset, Subset

from vitkit import backbones
from vitkit.backbones import Backbone
from vitkit.cli import ls
from vitkit.cli.config_file import read_yaml
from vitkit.cli.reasons import explain
from vitkit.data import ImageData, Loader, Sample, collate
from vitkit.errors import UsageError
from vitkit.tasks import ClassificationTask, check_classes, load_checkpoint

Model = Backbone | ClassificationTask
Tree = Mapping[str, Any]


def load_model(name: str, weights: str | None = None, pretrained: bool = False, num_classes: int | None = None) -> Model:
    """A model by the path of a checkpoint of vitkit's, or by the name of a backbone.

    Raises:
        UsageError: Neither is there, or an option that a checkpoint does not take.
        CheckpointError: A file that cannot be read or does not fit.
    """
    if Path(name).is_file():
        options = {"--weights": weights is not None, "--pretrained": pretrained, "--num-classes": num_classes is not None}
        if given := [option for option, value in options.items() if value]:
            found = f"{' and '.join(given)} with the checkpoint {name}"
            raise UsageError(found, "the checkpoint alone, which holds the model and its weights", "Leave the rest out.")
        return load_checkpoint(name)
    if name.partition(":")[0] not in ("timm", "torchvision", "monai"):
        inside = sorted(Path(name).glob("*.ckpt"), key=lambda path: path.stem != "best") if Path(name).is_dir() else []
        raise UsageError(
            f"{name} is a folder" if Path(name).is_dir() else f"there is no file {name}",
            "the path of a checkpoint, or a backbone such as timm:vit_small_patch16_224",
            f"Give {inside[0]}." if inside else "Correct the path, or see `vitkit ls backbones`.",
        )
    return backbones.load(name, weights=weights, pretrained=pretrained, num_classes=num_classes)


def make_data(choice: str | None, overrides: Sequence[str], recorded: Tree | None) -> ImageData:
    """The data that the user asked for, or else those that the model was trained on.

    Args:
        choice: A YAML file (``class_path`` and ``init_args``, or a whole config with ``data:``), or the name of a class.
        overrides: Flags such as ``--data.root=pictures``.
        recorded: What the checkpoint says.

    Raises:
        UsageError: No such file or class, or arguments that it does not take.
    """
    tree = recorded if choice is None else _tree(choice)
    if tree is None:
        found = "a model that does not say what it was trained on, and no --data"
        raise UsageError(found, "a YAML file or a class", "Add --data; `vitkit ls datasets` lists the classes.")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(ImageData, "data", required=True)
    try:
        configuration = parser.parse_args(["--data", json.dumps(tree), *overrides])
    except ArgumentError as error:
        raise explain(error, {"data": ImageData}, []) from error
    # The name in current versions, and the one in earlier ones.
    instantiate = getattr(parser, "instantiate", None) or parser.instantiate_classes
    return instantiate(configuration).data


def make_loader(data: ImageData, split: str, limit: int | None) -> Loader:
    """A split in its own order and without augmentation; with a limit, so many samples spread evenly over it."""
    data.augment = []
    images = data.split(split)
    count = len(images) if limit is None else min(limit, len(images))
    chosen = Subset(images, [index * len(images) // count for index in range(count)])
    return Loader(chosen, batch_size=data.batch_size, num_workers=data.num_workers, collate_fn=collate)


def check_fit(model: Model, data: ImageData) -> None:
    """Refuse data that the model cannot be right about.

    Raises:
        UsageError: Another number of classes, or classes of other names than the model was trained for.
    """
    if isinstance(model, Backbone):
        remedy = f"Give the data that the model is for, or --num-classes {data.num_classes} and weights with such a head."
        return check_classes(model, None, data, remedy)
    trained = model.classes if model.data_name is not None else None
    return check_classes(model.model, trained, data, "Give the data that the model is for.")


def check_colours(model: Model, data: ImageData, images: Dataset[Sample]) -> None:
    """Refuse grey pictures for a model of colours, unless it was trained on these: every one of eight, spread over them.

    Raises:
        UsageError: They are grey.
    """
    channels, count = model.preprocess.channels, len(images)  # type: ignore[arg-type]  # a subset, which has a length
    if channels == 1 or data.name == getattr(model, "data_name", None):
        return
    looked = (images[index * count // min(count, 8)].image for index in range(min(count, 8)))
    if all(torch.equal(image, image[:1].expand_as(image)) for image in looked):
        raise UsageError(
            f"{data.name} has grey pictures",
            f"colours in {channels} channels, as the model's preprocess says",
            "Give colour pictures; or --grey repeat, and each channel gets the grey.",
        )


def _tree(choice: str) -> Tree:
    names = sorted(name for name, _ in ls.classes(*ls.FAMILIES["datasets"]))
    if choice in names:
        return {"class_path": f"vitkit.data.{choice}"}
    path = Path(choice)
    if path.suffix not in (".yaml", ".yml") and "." in choice and "/" not in choice:
        return {"class_path": choice}
    if not path.is_file():
        close = get_close_matches(choice, names, n=1)
        remedy = f"Did you mean {close[0]}?" if close else "Correct the path."
        if path.is_dir():
            remedy = f"Say what it holds: --data ImageFolder --data.root {choice}, or Scans."
        raise UsageError(f"--data {choice}, which is no file", f"a YAML file, or one of {', '.join(names)}", remedy)
    tree = read_yaml(path)
    tree = tree.get("data", tree) if isinstance(tree, dict) else tree
    if not (isinstance(tree, dict) and isinstance(tree.get("class_path"), str)):
        raise UsageError(f"{path} names no class_path", "class_path and init_args of a data set", "See `vitkit ls datasets`.")
    return tree
