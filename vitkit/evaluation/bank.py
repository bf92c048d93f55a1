"""A few images of a data set, from which others borrow."""

from collections.abc import Iterable, Sequence
from heapq import nlargest
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from vitkit.corruptions import seed_for
from vitkit.errors import DataError
from vitkit.evaluation.stream import batches

HELD = 8


class Bank(NamedTuple):
    """Images in [0, 1] on the CPU, and their ids."""

    images: Float[Tensor, "held channels *size"]
    ids: list[str]

    def others(self, ids: Sequence[str], seeds: Sequence[int]) -> Float[Tensor, "batch channels *size"]:
        """For each id one of the images that has another id, which its seed chooses.

        Raises:
            DataError: There is no other.
        """
        rows = []
        for sample, seed in zip(ids, seeds, strict=True):
            choices = [row for row, held in enumerate(self.ids) if held != sample]
            if not choices:
                raise DataError(f"image {sample} alone", "two images at least, to paint with another", "Use another fill.")
            rows.append(choices[(seed * len(choices)) >> 64])
        return self.images[rows]


def make_bank(loader: Iterable[Any], seed: int) -> Bank:
    """The eight images whose ids have the highest seeds: the same whatever the order and the batches of the loader."""
    held: list[tuple[int, str, Tensor]] = []
    for batch in batches(loader):
        drawn = [(seed_for("occlusion", "bank", None, sample, seed), sample) for sample in batch.ids]
        found = [(*key, image) for key, image in zip(drawn, batch.images, strict=True)]
        held = [
            (key, sample, image.cpu().clone())
            for key, sample, image in nlargest(HELD, [*held, *found], key=lambda item: item[:2])
        ]
    return Bank(torch.stack([image for _, _, image in held]), [sample for _, sample, _ in held])
