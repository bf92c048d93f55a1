"""A few images of a data set, from which others borrow."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from vitkit.corruptions import seed_for
from vitkit.errors import DataError
from vitkit.evaluation.draw import Draw

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


class BankMaker(Draw):
    """Eight of the samples, which a seed chooses."""

    def __init__(self, seed: int) -> None:
        super().__init__(lambda sample: seed_for("occlusion", "bank", None, sample, seed), HELD)

    def bank(self) -> Bank:
        """What is held."""
        return Bank(torch.stack([drawn.image for drawn in self.held]), [drawn.id for drawn in self.held])
