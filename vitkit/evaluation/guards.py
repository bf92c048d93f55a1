"""Guards: what would make every number of a run wrong without anybody noticing, found before it is run.

Each guard yields findings, which :class:`Guards` refuses, or writes down where it was told to go on.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from heapq import nlargest
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment
from scipy.stats import binom
from torch import Tensor

from vitkit.corruptions import seed_for
from vitkit.errors import UsageError
from vitkit.evaluation.stream import Batch, Stream
from vitkit.evaluation.subject import Subject
from vitkit.preprocess import Preprocess

CHANCE = 1e-6  # of a finding, where a model is as often right either way
_SIGMAS = 4.75  # of a normal variable, which it exceeds with that probability
_GAIN = 0.1  # of balanced accuracy, below which a finding is not worth refusing
_IMAGES, _VALUES = 128, 2**24  # of a probe, at most
_CLASSES = 2000  # up to which the order of classes is looked at: counts of pairs are kept
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_RANDOM = ("Random", "Color", "Auto", "RandA", "Trivial", "AugMix", "MixUp", "CutMix", "Elastic")  # what transforms begin with


class Guards:
    """What to do with a finding.

    Args:
        refuse: Whether to refuse; otherwise findings are kept as ``warnings`` of the results.
    """

    def __init__(self, refuse: bool) -> None:
        self.refuse = refuse
        self.warnings: list[str] = []

    def __call__(self, findings: Iterable[UsageError]) -> None:
        """Take the findings.

        Raises:
            UsageError: There is one, and it is to be refused.
        """
        for finding in findings:
            if self.refuse:
                remedy = f"{finding.remedy} If it is meant so, --force (guard=False) goes on, and the results say it."
                raise UsageError(finding.found, finding.expected, remedy)
            self.warnings.append(f"A guard was told to go on. It found {finding.found}; expected {finding.expected}.")


@dataclass
class Probe:
    """A few of the samples, spread over all of them: those whose ids have the highest seeds, in whatever order they come.

    Attributes:
        held: (key, image, label, which voxels are no padding) of each; 128, and no more values than 111 colour pictures of 224.
    """

    held: list[tuple[tuple[int, str], Tensor, int, Tensor | None]] = field(default_factory=list)

    def add(self, batch: Batch) -> None:
        """Look at a batch."""
        most = max(1, min(_IMAGES, _VALUES // batch.images[0].numel())) if len(batch.ids) else 0
        drawn = [(seed_for("guards", "probe", None, sample, 0), sample) for sample in batch.ids]
        real = [None] * len(drawn) if batch.real is None else list(batch.real)
        least = min((key for key, *_ in self.held), default=(-1, "")) if len(self.held) == most else (-1, "")
        # Copies, so that the rest of the batch can go; of what cannot stay, none is made.
        new = [
            (key, image.cpu().clone(), int(label), None if mask is None else mask.cpu().clone())
            for key, image, label, mask in zip(drawn, batch.images, batch.labels, real, strict=True)
            if key > least
        ]
        self.held = nlargest(most, [*self.held, *new], key=lambda item: item[0])

    @property
    def labels(self) -> Int[Tensor, " held"]:
        """Of the samples."""
        return torch.tensor([label for _, _, label, _ in self.held])

    def chunks(self, length: int) -> Iterator[tuple[Float[Tensor, "length channels *size"], Tensor | None, int]]:
        """Images, masks, and how many of them are no filling, in chunks of one length, as the model gets them otherwise."""
        for start in range(0, len(self.held), length):
            rows = self.held[start : start + length]
            filled = rows + rows[-1:] * (length - len(rows))
            images = torch.stack([image for _, image, _, _ in filled])
            masks = [torch.ones_like(image[0], dtype=torch.bool) if mask is None else mask for _, image, _, mask in filled]
            real = torch.stack(masks)
            yield images, None if bool(real.all()) else real, len(rows)


def check_setup(subject: Subject, stream: Stream, loader: Iterable[Any], classes: list[str]) -> Iterator[UsageError]:
    """What the model's preprocess, the loader's transforms and the names of classes say, before the model is called.

    - Images have the size of the model's ``preprocess.size``.
    - The data were not preprocessed for another model: another ``preprocess`` of the loader's data set, or a ``Resize`` and
      ``CenterCrop`` of torchvision's that keep another share than ``preprocess.crop``.
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
    yield from _check_transforms(loader, subject.preprocess)


def _check_transforms(loader: Iterable[Any], preprocess: Preprocess | None) -> Iterator[UsageError]:
    resized = cropped = None
    for owner in _datasets(loader):
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


def _datasets(loader: Any) -> Iterator[Any]:
    """The data set of a loader, and those it is made of."""
    found, seen = getattr(loader, "dataset", None), 0
    while found is not None and seen < 10:
        yield found
        found, seen = getattr(found, "dataset", None), seen + 1


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


def check_state(subject: Subject, probe: Probe, chunk: int) -> Iterator[UsageError]:
    """Whether the model gives the same images the same logits twice, and is itself the same afterwards.

    - Logits differ by more than 1e-4 of the largest on a CPU and 1e-2 elsewhere, where the order of sums may change: dropout,
      noise, a state kept between calls. Of a layer whose outputs are dropped with probability p, logits change by about
      sqrt(p / (1 - p)) of their spread, so p = 0.001 is noticed.
    - A module is in training mode after the call.
    - A buffer or a parameter changed in the second call; what the first one prepares is its own affair.

    Raises:
        UsageError: The model cannot take the images, or returns no logits: with or without guards.
    """
    images, real, valid = next(probe.chunks(chunk))
    images, real = images.to(subject.device), None if real is None else real.to(subject.device)
    try:
        first = subject(images, None, real)
    except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, (UsageError, torch.OutOfMemoryError)):
            raise
        size = "" if subject.preprocess is None else f" of size {tuple(subject.preprocess.size)}"
        raise UsageError(
            f"a model that fails on images of shape {tuple(images.shape)} ({type(error).__name__}: {str(error).strip():.200})",
            f"one that takes images (batch, channels, *size) as they come{size}",
            "Give images of the channels and the size that the model takes.",
        ) from error
    before = _state(subject)
    second = subject(images, None, real)
    modules = [] if subject.module is None else list(subject.module.named_modules())
    if training := [f"{name or 'itself'} ({type(module).__name__})" for name, module in modules if module.training]:
        yield UsageError(
            f"a model that goes into training mode when it is called: {', '.join(training[:3])}",
            "evaluation mode throughout",
            "Take train() out of its forward.",
        )
    after = _state(subject)
    if changed := [name for name in after if name not in before or not torch.equal(before[name], after[name])]:
        yield UsageError(
            f"a model whose {', '.join(changed[:3])} changed when it was called",
            "a model that stays as it is",
            "Batch normalisation in training mode does this, and counters: put them into evaluation mode.",
        )
    largest, change = float(first.abs().max()), float((first - second)[:valid].abs().max())
    if change > (1e-4 if subject.device.type == "cpu" else 1e-2) * max(largest, 1e-6):
        yield UsageError(
            f"a model that gives the same images other logits when called again, by up to {change:.2g} of {largest:.2g}",
            "the same answer in every call",
            "Turn off dropout, noise and whatever it keeps from one call to the next; model.eval() must reach every part of it.",
        )


def _state(subject: Subject) -> dict[str, Tensor]:
    """Copies of the buffers; of the parameters, which are large, how often each was written to."""
    if subject.module is None:
        return {}
    written = {name: torch.tensor(value._version) for name, value in subject.module.named_parameters()}
    return written | {name: value.detach().clone() for name, value in subject.module.named_buffers()}


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
    for trial in _trials(subject, probe.held[0][1].shape[0]):
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
    if not _unlikely(gained, lost):
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


def _unlikely(gained: int, lost: int) -> bool:
    """Whether a fair coin shows so many heads with a probability below the limit."""
    return bool(binom.sf(gained - 1, gained + lost, 0.5) < CHANCE)


class ClassOrder:
    """Whether the model's classes are the data's in another order, from the clean predictions.

    The samples are dealt into two halves. On the first, each class of the model is given the class of the data that makes most of
    them right; on the second, this is tried. A finding needs all of:

    - Of the samples of the second half that only one of the two orders gets right, so many are right in the new order that a fair
      coin does it with a probability below 1e-6. Since the order comes from other samples, a model that guesses is refused no
      more often than that, whatever its number of classes.
    - Of the classes that moved, on average at least half of the samples are right in the new order, and at most half as many in
      the order that was given. So a model that gives one answer only, or that mixes up a few classes now and then, is no finding.

    It takes at least 20 samples in the second half. A model that has learnt the opposite of what the labels say, as under a
    correlation that was turned around, is refused: there it looks the same. More than 2,000 classes are not looked at.
    """

    def __init__(self) -> None:
        self._counts: list[Int[np.ndarray, "labels predictions"]] = []
        self._seen = 0

    def add(self, labels: Int[Tensor, " samples"], logits: Float[Tensor, "samples classes"]) -> None:
        """Count predictions."""
        classes = logits.shape[1]
        if classes > _CLASSES:
            return
        if not self._counts:
            self._counts = [np.zeros((classes, classes), np.int64) for _ in range(2)]
        pairs = labels.numpy(), logits.argmax(1).numpy()
        for half, counts in enumerate(self._counts):
            which = (self._seen + np.arange(len(labels))) % 2 == half
            np.add.at(counts, (pairs[0][which], pairs[1][which]), 1)
        self._seen += len(labels)

    def findings(self) -> Iterator[UsageError]:
        """The finding, if there is one."""
        if not self._counts:
            return
        first, second = self._counts
        # A class that is as good in either place stays where it is.
        meant, said = linear_sum_assignment(-(first + 1e-6 * np.eye(len(first))))
        moved = meant != said
        here, there = second[said, said][moved], second[meant, said][moved]
        if not moved.any() or not _unlikely(int(there.sum()), int(here.sum())):
            return
        totals = second.sum(1)
        present = [index for index in meant[moved] if totals[index]]
        label_of = dict(zip(meant.tolist(), said.tolist(), strict=True))
        given = np.mean([second[label, label] / totals[label] for label in present])
        new = np.mean([second[label, label_of[label]] / totals[label] for label in present])
        if new >= 0.5 and given <= new / 2:
            pairs = [f"{there} for {label}" for label, there in zip(meant[moved], said[moved], strict=True)]
            told = ", ".join(pairs[:5]) + (" ..." if len(pairs) > 5 else "")
            yield UsageError(
                f"a model that says {told} (class indices): right on {given:.0%} of these, and on {new:.0%} in that order",
                "the model's classes in the order of the labels",
                "Reorder the data's labels or the model's head.",
            )
