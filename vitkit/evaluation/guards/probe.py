"""The few samples that a model is tried on before it is given all of them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import nlargest

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitkit.corruptions import seed_for
from vitkit.evaluation.stream import Batch

_IMAGES, _VALUES = 128, 2**24  # at most


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
