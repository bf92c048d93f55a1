"""Whether data are what a model takes."""

from collections.abc import Sequence
from typing import Any

from vitkit.backbones import Backbone
from vitkit.encoder import Classifier
from vitkit.errors import UsageError


def check_data(model: Classifier | Backbone, trained: Sequence[str] | None, data: Any, stage: str) -> None:
    """Refuse data that a model cannot be trained on, or cannot be right about.

    Args:
        model: The model.
        trained: Names of the classes that it was trained for, if it was.
        data: A data module of vitkit's, after its setup for the stage.
        stage: fit, validate, test or predict, which needs no classes.

    Raises:
        UsageError: Another number of channels, axes or classes, or classes of other names.
    """
    name, own = type(data).__name__, isinstance(model, Classifier)
    for what, found, wanted, keys in (
        (
            "channels",
            data.channels,
            model.preprocess.channels,
            f"preprocess.mean{', preprocess.std and encoder.embed.in_chans' if own else ' and preprocess.std'}",
        ),
        ("axes", data.ndim, len(model.preprocess.size), f"{'encoder.embed.ndim and ' if own else ''}preprocess.size"),
    ):
        if found != wanted:
            remedy = f"Change model.{keys}." if own or what == "channels" else "Train vitkit's own encoder on them."
            raise UsageError(f"{name} has images of {found} {what}", f"{wanted}, as the model has", remedy)
    if stage == "predict":
        return
    other = f"set model.num_classes to {data.num_classes}" if stage == "fit" else "give the data the model was trained for"
    check_classes(model, None if stage == "fit" else trained, data, f"Correct labels that are no class, or {other}.")


def check_classes(model: Classifier | Backbone, trained: Sequence[str] | None, data: Any, remedy: str) -> None:
    """Refuse data of other classes than a model's.

    Args:
        model: The model.
        trained: Names of the classes that it was trained for, if they are known and have to be the data's.
        data: A data module of vitkit's, after its setup.
        remedy: What to do about another number of classes.

    Raises:
        UsageError: Another number of classes, or classes of other names.
    """
    name = data.layout.source if hasattr(data, "layout") else type(data).__name__
    classes = [str(label) for label in data.classes]
    if data.num_classes != model.num_classes:
        listed = ", ".join(classes[:8]) + (", ..." if len(classes) > 8 else "")
        found = f"{name} has {data.num_classes} classes: {listed}"
        raise UsageError(found, f"{model.num_classes}, as the model has", remedy)
    if trained is not None and classes != list(trained):
        raise UsageError(
            f"{name} has the classes {', '.join(classes)}",
            f"those the model was trained for: {', '.join(trained)}",
            "Name the classes alike, in the same order.",
        )
