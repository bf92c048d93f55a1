"""Whether a model normalises its images twice, or not at all."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vitkit.errors import UsageError
from vitkit.evaluation.guards.chance import unlikely
from vitkit.evaluation.guards.probe import Probe
from vitkit.evaluation.subject import Subject
from vitkit.preprocess import Preprocess

_SIGMAS = 4.75  # of a normal variable, which it exceeds with a probability of CHANCE
_GAIN = 0.1  # of balanced accuracy, below which a finding is not worth refusing
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def check_normalisation(subject: Subject, probe: Probe, chunk: int) -> Iterator[UsageError]:
    """Whether the model is clearly better on images of another range, as one that normalises twice, or not at all, is.

    It is tried on at most 128 samples, spread over the data: images normalised with the model's mean and std (as if nothing in
    the model did so), un-normalised (as if something did it twice), and times 255. A model without a ``preprocess`` is tried with
    what timm says of it, else with ImageNet's mean and std and with 0.5. A finding needs all of:

    - Of the samples that are right in only one of the two ways, so many are right in the other way that a fair coin does it with
      a probability below 1e-6 (one-sided sign test). That takes at least 20 samples, so a model that is right more often is not
      even tried.
    - The mean over classes of the share that is right is higher by 0.1, and by 4.75 of its standard errors (1e-6, one-sided), and
      in the other way it is as far above one over the number of classes: so answering more often with a frequent class, or
      with one that occurs, is no finding.

    A model that is bad either way, however bad, is refused with a probability of about 1e-6 for each of at most three trials. A
    model that is truly better on other intensities is refused, too: nothing tells it from a mistake.
    """
    labels = probe.labels
    given = _right(subject, probe, chunk, lambda images: images)
    if given is None or len(labels) - int(given.sum()) < 20:
        return
    for trial in _trials(subject, probe.held[0].image.shape[0]):
        other = _right(subject, probe, chunk, trial.change)
        if other is not None and clearly_better(given, other, labels):
            yield UsageError(
                f"a model that is right on {float(given.float().mean()):.0%} of {len(labels)} images in [0, 1], and on "
                f"{float(other.float().mean()):.0%} {trial.found}",
                trial.expected,
                trial.remedy,
            )
            return


@dataclass(frozen=True)
class _Trial:
    change: Callable[[Tensor], Tensor]
    found: str
    expected: str
    remedy: str


def _trials(subject: Subject, channels: int) -> Iterator[_Trial]:
    for normal in _normals(subject, channels):
        told = f"mean {tuple(round(m, 3) for m in normal.mean)} and std {tuple(round(s, 3) for s in normal.std)}"
        yield _Trial(
            normal.normalise,
            f"once they are normalised with {told}: nothing normalises them",
            "a model that normalises by itself",
            "Load it with vitkit.backbones.load, or wrap it: lambda images: model(preprocess.normalise(images)).",
        )
        if subject.preprocess is not None:
            yield _Trial(
                lambda images, normal=normal: images * _along(normal.std, images) + _along(normal.mean, images),  # type: ignore[misc]
                f"once a normalisation with {told} is undone: they are normalised twice",
                "a model that normalises once",
                "Take one of the two out, such as a Normalize inside a wrapper around a model that does it itself.",
            )
    yield _Trial(
        lambda images: 255 * images,
        "once they are times 255: it was trained on values from 0 to 255",
        "a model of images in [0, 1]",
        "Wrap it: lambda images: model(255 * images).",
    )


def _normals(subject: Subject, channels: int) -> list[Preprocess]:
    """With what the model's images may have been normalised in training."""
    usual: list[tuple[Sequence[float], Sequence[float]]] = [((0.5,) * channels, (0.5,) * channels)]
    told = getattr(subject.module, "pretrained_cfg", None)
    if subject.preprocess is not None:
        pairs = [(subject.preprocess.mean, subject.preprocess.std)]
    elif isinstance(told, Mapping) and "mean" in told and "std" in told:
        pairs = [(told["mean"], told["std"])]
    else:
        pairs = [_IMAGENET, *usual] if channels == 3 else usual
    made = [Preprocess(size=(1, 1), mean=mean, std=std) for mean, std in pairs if len(mean) == channels]
    return [one for one in made if (set(one.mean), set(one.std)) != ({0}, {1})]


def _along(values: Any, images: Tensor) -> Tensor:
    return torch.tensor(values, dtype=images.dtype, device=images.device).view(1, -1, *(1,) * (images.ndim - 2))


def _right(subject: Subject, probe: Probe, chunk: int, change: Callable[[Tensor], Tensor]) -> Bool[Tensor, " held"] | None:
    """Which samples are right; None where the model does not take such images."""
    predicted: list[Tensor] = []
    for images, real, valid in probe.chunks(chunk):
        try:
            logits = subject(change(images.to(subject.device)), None, None if real is None else real.to(subject.device))
        except (AssertionError, RuntimeError, ValueError):
            return None
        predicted.append(logits[:valid].argmax(1))
    return torch.cat(predicted) == probe.labels


def clearly_better(given: Bool[Tensor, " samples"], other: Bool[Tensor, " samples"], labels: Int[Tensor, " samples"]) -> bool:
    """Whether the one way is right more often than the other, by the rule of :func:`check_normalisation`."""
    gained, lost = int((other & ~given).sum()), int((given & ~other).sum())
    if not unlikely(gained, lost):
        return False
    classes, counts = labels.unique(return_counts=True)
    # The mean over classes of a mean over the samples of each has this variance, for one of a sample.
    spread = float((1 / counts.double()).sum()) / len(classes) ** 2
    change = other.double() - given.double()
    # Of one sample, and never nothing: a sample that has not been seen may be otherwise.
    variance = float(change.var(correction=0)) + 1 / len(change)
    gain, known = _over_classes(change, labels), _over_classes(other.double(), labels) - 1 / len(classes)
    return gain >= max(_GAIN, _SIGMAS * (variance * spread) ** 0.5) and known >= _SIGMAS * (spread / 4) ** 0.5


def _over_classes(values: Float[Tensor, " samples"], labels: Int[Tensor, " samples"]) -> float:
    """The mean over classes of the means over their samples."""
    return float(torch.stack([values[labels == label].mean() for label in labels.unique()]).mean())
