"""What the model, the loader and the data say of themselves."""

from collections.abc import Iterable, Iterator, Sized
from dataclasses import fields
from typing import Any

from vitkit.errors import UsageError
from vitkit.evaluation.stream import Stream, datasets
from vitkit.evaluation.subject import Subject
from vitkit.preprocess import Preprocess

_RANDOM = ("Random", "Color", "Auto", "RandA", "Trivial", "AugMix", "MixUp", "CutMix", "Elastic")  # what transforms begin with


def check_setup(subject: Subject, stream: Stream, loader: Iterable[Any], classes: list[str]) -> Iterator[UsageError]:
    """What the model's preprocess, the loader's transforms and the names of classes say, before the model is called.

    - Images have the size of the model's ``preprocess.size``.
    - The data were not preprocessed for another model: another ``preprocess`` of the loader's data set, or a ``Resize`` and
      ``CenterCrop`` of torchvision's that keep another share than ``preprocess.crop``.
    - The loader does not leave out the samples of a last batch that is not full.
    - No random augmentation is among the loader's transforms.
    - Not every value is at most 1/255, as after dividing twice. An image that dark is darker than 1 of 255 steps throughout.
    - Where both name their classes and share some of the names, they share all; so does whatever was trained by vitkit (which
      carries ``data_name``). Names of which none is shared, such as WordNet's ids beside words, are two ways to name them.

    No false alarm but for what is told wrongly: nothing here is a guess about accuracy.
    """
    size = stream.size[1:]
    if subject.preprocess is not None and tuple(subject.preprocess.size) != tuple(size):
        yield UsageError(
            f"images of size {tuple(size)}", f"{subject.preprocess.size}, as the model's preprocess says",
            "Resize them by calling the model's preprocess on each picture.",
        )  # fmt: skip
    if 0 < stream.highest <= 1.001 / 255:
        yield UsageError(
            f"images whose highest value is {stream.highest:.3g}", "values in [0, 1], spread over some of it",
            "They look divided by 255 twice: divide once.",
        )  # fmt: skip
    known = set(subject.classes or ())
    own = getattr(subject.model, "data_name", None) is not None or not known.isdisjoint(classes)
    if classes and subject.classes and own and (odd := sorted(set(classes) - known)):
        yield UsageError(
            f"data with the classes {', '.join(odd[:5])}{' ...' if len(odd) > 5 else ''}, which the model does not name",
            f"the model's classes, {', '.join(subject.classes[:5])}{' ...' if len(subject.classes) > 5 else ''}",
            "Evaluate on the data that the model is for, or name the classes alike.",
        )
    dataset = getattr(loader, "dataset", None)
    total = len(dataset) if isinstance(dataset, Sized) else stream.n
    if getattr(loader, "drop_last", False) and stream.n < total:
        yield UsageError(
            f"a loader with drop_last, which leaves out {total - stream.n} of {total} samples",
            "all of them",
            "Make the DataLoader with drop_last=False.",
        )
    yield from _check_transforms(loader, subject.preprocess)


def _check_transforms(loader: Iterable[Any], preprocess: Preprocess | None) -> Iterator[UsageError]:
    resized = cropped = None
    for owner in datasets(loader):
        own = getattr(owner, "preprocess", None)
        if isinstance(own, Preprocess) and preprocess is not None and own != preprocess:
            names = [item.name for item in fields(own) if getattr(own, item.name) != getattr(preprocess, item.name)]
            # Mean and std are the model's business alone, and nothing that was done to the images.
            for name in [name for name in names if name not in ("mean", "std")]:
                yield UsageError(
                    f"data made with preprocess.{name} {getattr(own, name)}", f"{getattr(preprocess, name)}, as the model says",
                    "Give the data the model's preprocess.",
                )  # fmt: skip
        for step in [*_steps(getattr(owner, "transform", None)), *(getattr(owner, "augment", None) or [])]:
            name = type(step).__name__
            if name.startswith(_RANDOM) or step in (getattr(owner, "augment", None) or []):
                yield UsageError(
                    f"the random transform {name} in the loader",
                    "the same images in every pass",
                    "Evaluate without augmentation.",
                )
            resized = _length(step) if name == "Resize" else resized
            cropped = _length(step) if name == "CenterCrop" else cropped
    if preprocess is not None and not preprocess.squash and resized:
        cropped = cropped or resized
        share = cropped / resized
        if abs(share - preprocess.crop) > 1.5 / resized:  # sizes are whole pixels, and may be rounded either way
            yield UsageError(
                f"a loader that resizes to {resized} and crops {cropped}, a share of {share:.3f}",
                f"{preprocess.crop}, as the model's preprocess.crop says", "Call the model's preprocess on each picture instead.",
            )  # fmt: skip


def _steps(transform: Any) -> list[Any]:
    steps = getattr(transform, "transforms", None)
    if isinstance(steps, (list, tuple)):
        return [inner for step in steps for inner in _steps(step)]
    return [] if transform is None else [transform]


def _length(step: Any) -> int | None:
    """What a transform makes of the shorter side, in pixels."""
    size = getattr(step, "size", None)
    size = min(size) if isinstance(size, (list, tuple)) and size else size
    return size if isinstance(size, int) else None
