"""The few samples that a model is tried on before it is given all of them."""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitkit.corruptions import seed_for
from vitkit.evaluation.draw import Draw

_IMAGES, _VALUES = 128, 2**24  # at most


class Probe(Draw):
    """128 of the samples, spread over all of them, but with no more values than 111 colour pictures of 224 x 224 have."""

    def __init__(self) -> None:
        super().__init__(lambda sample: seed_for("guards", "probe", None, sample, 0), _IMAGES, _VALUES)

    @property
    def labels(self) -> Int[Tensor, " held"]:
        """Of the samples."""
        return torch.tensor([drawn.label for drawn in self.held])

    def chunks(self, length: int) -> Iterator[tuple[Float[Tensor, "length channels *size"], Tensor | None, int]]:
        """Images, masks, and how many of them are no filling, in chunks of one length, as the model gets them otherwise."""
        for start in range(0, len(self.held), length):
            rows = self.held[start : start + length]
            filled = rows + rows[-1:] * (length - len(rows))
            masks = [torch.ones_like(row.image[0], dtype=torch.bool) if row.real is None else row.real for row in filled]
            real = torch.stack(masks)
            yield torch.stack([row.image for row in filled]), None if bool(real.all()) else real, len(rows)
