"""One picture with its label and name, and a batch of them."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vitkit.errors import DataError


class Sample(NamedTuple):
    """A picture ``(channels, *size)`` with values in [0, 1], the index of its class (-1 if unknown), and a lasting name.

    ``real`` is False where a voxel is no part of the scan but was added around it; None if every voxel is real. ``mask`` is True
    where a segmentation has any label; None if there is none or it was not asked for. ``group`` names what it shares with other
    samples, such as the patient: intervals then draw whole groups. None if that is not known.
    """

    image: Float[Tensor, "channels *size"]
    label: int
    id: str
    real: Bool[Tensor, "*size"] | None = None
    mask: Bool[Tensor, "*size"] | None = None
    group: str | None = None


class Batch(NamedTuple):
    """Samples stacked: the fields of :class:`Sample`, each with a first axis.

    ``real`` is None if every voxel of all is real, ``mask`` if not all have one, ``group`` if none has.
    """

    image: Float[Tensor, "batch channels *size"]
    label: Int[Tensor, " batch"]
    id: list[str]
    real: Bool[Tensor, "batch *size"] | None = None
    mask: Bool[Tensor, "batch *size"] | None = None
    group: list[str | None] | None = None


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples into a batch.

    Raises:
        DataError: Pictures of different sizes.

    >>> collate([Sample(torch.zeros(1, 8, 8), 3, "a.png"), Sample(torch.ones(1, 8, 8), 5, "b.png")]).label
    tensor([3, 5])
    """
    first = samples[0]
    for sample in samples:
        if sample.image.shape != first.image.shape:
            raise DataError(
                f"{first.id} is an image of shape {tuple(first.image.shape)} and {sample.id} one of {tuple(sample.image.shape)}",
                "one shape in a batch",
                "Set data.preprocess, which brings every picture to one size; without it pictures stay as they are.",
            )
    reals = [sample.real for sample in samples]
    masks = [sample.mask for sample in samples if sample.mask is not None]
    groups = [sample.group for sample in samples]
    return Batch(
        torch.stack([sample.image for sample in samples]),
        torch.tensor([sample.label for sample in samples]),
        [sample.id for sample in samples],
        None
        if all(real is None for real in reals)
        else torch.stack([torch.ones(first.image.shape[1:], dtype=torch.bool) if real is None else real for real in reals]),
        torch.stack(masks) if len(masks) == len(samples) else None,
        None if all(group is None for group in groups) else groups,
    )
