"""The samples of a loader: checked, identified, and cut into chunks of one fixed size."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vitkit.errors import DataError, UsageError

_LOOKED_AT = 1024  # values of an image that go into the fingerprint, spread over it


class Batch(NamedTuple):
    """Images in [0, 1], labels and ids; which voxels are real, not padding, or None if all are; and the groups, or None."""

    images: Float[Tensor, "batch channels *size"]
    labels: Int[Tensor, " batch"]
    ids: list[str]
    real: Bool[Tensor, "batch *size"] | None = None
    groups: list[str | None] | None = None

    def part(self, which: slice) -> "Batch":
        """Some of the samples."""
        real = None if self.real is None else self.real[which]
        groups = None if self.groups is None else self.groups[which]
        return Batch(self.images[which], self.labels[which], self.ids[which], real, groups)


@dataclass(frozen=True)
class Stream:
    """What is known of the samples after they were all seen once.

    Args:
        n: Samples.
        size: Shape of an image, (channels, *space).
        classes: The highest label plus one.
        fingerprint: Hash of ids, labels and pixels, in their order.
        highest: The highest value in any image.
    """

    n: int
    size: tuple[int, ...]
    classes: int
    fingerprint: str
    highest: float = 1.0


class Fingerprint:
    """Hash over samples in their order, however they are batched."""

    def __init__(self) -> None:
        self._hash, self.n = sha256(), 0

    def update(self, batch: Batch) -> None:
        """Take in a batch."""
        values = batch.images.flatten(1)
        seen = values[:, :: max(1, values.shape[1] // _LOOKED_AT)].float().cpu().contiguous().numpy()
        masks = [None] * len(batch.ids) if batch.real is None else batch.real
        groups = batch.groups or [None] * len(batch.ids)
        for sample, label, row, real, group in zip(batch.ids, batch.labels.tolist(), seen, masks, groups, strict=True):
            self._hash.update(repr((sample, label)).encode())
            self._hash.update(row.tobytes())
            # Whether a sample that is all real comes with a mask depends on the others in its batch.
            if real is not None and not real.all():
                self._hash.update(real.cpu().numpy().tobytes())
            if group is not None:
                self._hash.update(repr(("group", group)).encode())
        self.n += len(batch.ids)

    def __str__(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


def datasets(loader: Any) -> Iterator[Any]:
    """The data set of a loader, and those it is made of."""
    found, seen = getattr(loader, "dataset", None), 0
    while found is not None and seen < 10:
        yield found
        found, seen = getattr(found, "dataset", None), seen + 1


def classes_of(loader: Any, stream: Stream) -> list[str]:
    """Names of the classes, if the data set of a loader has them in ``classes``, like torchvision's, and one for each label."""
    for owner in datasets(loader):
        names = getattr(owner, "classes", None)
        if isinstance(names, (list, tuple)) and len(names) >= stream.classes and all(isinstance(name, str) for name in names):
            return list(names)
    return []


def batches(loader: Iterable[Any]) -> Iterator[Batch]:
    """The batches of a loader.

    Args:
        loader: Yields batches with the attributes or keys ``image``, ``label`` and ``id``, and perhaps ``real`` and ``group``, or
            tuples that begin with images and labels, whose ids are then their running numbers.

    Raises:
        UsageError: It yields something else.
    """
    start = 0
    for item in loader:
        batch = _batch(item, start)
        start += len(batch.ids)
        yield batch


def _batch(item: Any, start: int) -> Batch:
    real = groups = None
    if isinstance(item, Mapping):
        images, labels, ids, real, groups = (item.get(key) for key in ("image", "label", "id", "real", "group"))
    elif hasattr(item, "image") and hasattr(item, "label"):
        images, labels = item.image, item.label
        ids, real, groups = (getattr(item, key, None) for key in ("id", "real", "group"))
    elif isinstance(item, (tuple, list)) and len(item) >= 2:
        images, labels, ids = item[0], item[1], None
    else:
        images = labels = ids = None
    if isinstance(images, Tensor) and images.ndim < 4 and isinstance(labels, Tensor | int) and torch.as_tensor(labels).ndim == 0:
        raise UsageError(
            f"one image of shape {tuple(images.shape)} and its label",
            "batches",
            "Put the data set into a loader: torch.utils.data.DataLoader(dataset, batch_size=64).",
        )
    if not isinstance(images, Tensor) or labels is None:
        raise UsageError(
            f"the loader yields {type(item).__name__}",
            "batches with image, label and id, or tuples of images and labels",
            "Wrap the data set in a DataLoader that yields these.",
        )
    labels = torch.as_tensor(labels)
    if labels.is_floating_point() or labels.is_complex():
        raise UsageError(f"labels of type {labels.dtype}", "whole numbers, a class each", "Check the data set, or convert them.")
    labels = labels.to("cpu", torch.int64).flatten()
    ids = [str(start + index) for index in range(len(images))] if ids is None else [str(sample) for sample in ids]
    if not len(images) == len(labels) == len(ids):
        raise UsageError(
            f"a batch of {len(images)} images, {len(labels)} labels and {len(ids)} ids",
            "as many of each",
            "Check the collate function.",
        )
    if real is not None and (real.dtype != torch.bool or real.shape != (images.shape[0], *images.shape[2:])):
        raise UsageError(
            f"real of type {real.dtype} and shape {tuple(real.shape)} for images of shape {tuple(images.shape)}",
            "bool, (batch, *space): True where a voxel is no padding",
            "Check the collate function.",
        )
    groups = None if groups is None else [None if group is None else str(group) for group in groups]
    if groups is not None and len(groups) != len(ids):
        raise UsageError(f"{len(groups)} groups in a batch of {len(ids)}", "one for each image", "Check the collate function.")
    return Batch(images, labels, ids, real, groups)


def scan(loader: Iterable[Any], *watch: Callable[[Batch], None]) -> Stream:
    """Go through all samples once, without a model, and refuse those that no model should see.

    Args:
        loader: As for :func:`batches`.
        *watch: Called with every batch that was not refused.

    Raises:
        UsageError: There is none, or the loader yields something else.
        DataError: Images that are not finite, not in [0, 1], not floating point or not of one shape; labels below zero.
    """
    fingerprint, size, classes, highest = Fingerprint(), None, 0, 0.0
    for batch in batches(loader):
        images, labels, ids, *_ = batch
        if not images.is_floating_point() or images.ndim < 3:
            raise DataError(
                f"images of type {images.dtype} and shape {tuple(images.shape)}",
                "floating point, (batch, channels, *space)",
                "Convert them to float and divide by 255.",
            )
        size = size or tuple(images.shape[1:])
        if tuple(images.shape[1:]) != size:
            raise DataError(
                f"images of shape {tuple(images.shape[1:])} after {size}",
                "one shape",
                "Resize them all to the model's preprocess.size.",
            )
        flat = images.flatten(1)
        # A comparison with NaN is false, so this also finds what is not finite.
        wrong = ~((flat >= 0) & (flat <= 1)).all(1)
        if wrong.any():
            index = int(wrong.nonzero()[0])
            raise DataError(
                f"image {ids[index]} with values from {flat[index].min():.4g} to {flat[index].max():.4g}",
                "finite values in [0, 1]",
                _range_remedy(images),
            )
        if labels.min() < 0:
            index = int(labels.argmin())
            raise DataError(
                f"image {ids[index]} with the label {int(labels[index])}", "a class from 0", "Evaluate a labelled split."
            )
        classes = max(classes, int(labels.max()) + 1)
        highest = max(highest, float(images.max()))
        fingerprint.update(batch)
        for look in watch:
            look(batch)
    if size is None:
        raise UsageError("no samples", "at least one", "Give a split that is not empty.")
    return Stream(fingerprint.n, size, classes, str(fingerprint), highest)


def _range_remedy(images: Tensor) -> str:
    """What has probably been done to a batch, by its statistics."""
    low, high = float(images.min()), float(images.max())
    if not images.isfinite().all():
        return "Mend the file, or whatever divides by zero or takes a logarithm on the way from it."
    if low >= 0 and 2 < high <= 255:
        return "They look as stored in a file: divide by 255."
    if low < 0 and high <= 1 and abs(low + 1) < 0.1:
        return "They look scaled to [-1, 1]: take that out of the loader; the model normalises images in [0, 1] itself."
    if low < 0:
        told = f"mean {float(images.double().mean()):.2g}, standard deviation {float(images.double().std()):.2g}"
        return f"They look normalised already ({told}): take Normalize out of the loader; the model normalises them itself."
    return "Give images before normalisation, scaled to [0, 1]; the model normalises them itself."


def chunks(loader: Iterable[Any], length: int, expected: Stream) -> Iterator[tuple[Batch, int]]:
    """The samples in chunks of one length, whatever the loader's batches; the last is filled up by repeating its last sample.

    A matrix product is summed in another order for another number of rows. Only because every call of the model has the same
    shape are its results the same to the last bit for every batch size.

    Args:
        loader: As for :func:`batches`.
        length: Samples in a chunk.
        expected: What :func:`scan` found.

    Yields:
        A chunk, and how many of its samples are no repetition.

    Raises:
        UsageError: The loader yields other samples than before.
    """
    fingerprint = Fingerprint()
    waiting: list[Batch] = []
    for batch in batches(loader):
        fingerprint.update(batch)
        waiting.append(batch)
        while sum(len(part.ids) for part in waiting) >= length:
            joined = _join(waiting)
            yield _plain(joined.part(slice(length))), length
            rest = joined.part(slice(length, None))
            waiting = [rest] if rest.ids else []
    if waiting:
        joined = _join(waiting)
        index = torch.arange(length).clamp(max=len(joined.ids) - 1)
        place = index.to(joined.images.device)
        real = None if joined.real is None else joined.real[place]
        groups = None if joined.groups is None else [joined.groups[i] for i in index]
        filled = Batch(joined.images[place], joined.labels[index], [joined.ids[i] for i in index], real, groups)
        yield _plain(filled), len(joined.ids)
    if str(fingerprint) != expected.fingerprint:
        raise UsageError(
            f"a loader of {expected.n} samples in one pass, and of {fingerprint.n}, or others, or another order in the next",
            "the same samples in every pass",
            "Use a DataLoader with shuffle=False over data without random augmentation, and no generator.",
        )


def _plain(batch: Batch) -> Batch:
    """Without a mask that masks nothing: a model may compute in another way where there is one, so the samples alone decide."""
    return batch if batch.real is None or not batch.real.all() else batch._replace(real=None)


def _join(parts: list[Batch]) -> Batch:
    if len(parts) == 1:
        return parts[0]
    ids = [sample for part in parts for sample in part.ids]
    real = None
    if any(part.real is not None for part in parts):
        masks = [torch.ones_like(part.images[:, 0], dtype=torch.bool) if part.real is None else part.real for part in parts]
        real = torch.cat(masks)
    groups = None
    if any(part.groups is not None for part in parts):
        groups = [group for part in parts for group in (part.groups or [None] * len(part.ids))]
    return Batch(torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts]), ids, real, groups)
