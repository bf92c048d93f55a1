"""A few images of a data set, from which others borrow."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from vitkit.corruptions import seed_for
from vitkit.errors import DataError
from vitkit.evaluation.stream import Batch

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


@dataclass
class BankMaker:
    """Looks at all batches, and holds the eight images whose ids have the highest seeds: the same in whatever order they come."""

    seed: int
    held: list[tuple[tuple[int, str], Tensor]] = field(default_factory=list)

    def add(self, batch: Batch) -> None:
        """Look at a batch."""
        drawn = [(seed_for("occlusion", "bank", None, sample, self.seed), sample) for sample in batch.ids]
        found = nlargest(HELD, [*self.held, *zip(drawn, batch.images, strict=True)], key=lambda item: item[0])
        # Copies, so that the rest of the batch can go.
        known = {id(image) for _, image in self.held}
        self.held = [(key, image if id(image) in known else image.cpu().clone()) for key, image in found]

    def bank(self) -> Bank:
        """What is held."""
        return Bank(torch.stack([image for _, image in self.held]), [sample for (_, sample), _ in self.held])
