"""A few of the samples, which are drawn while all of them go by."""

from collections.abc import Callable
from heapq import nlargest
from typing import NamedTuple

from torch import Tensor

from vitkit.evaluation.stream import Batch


class Drawn(NamedTuple):
    """A sample on the CPU: its id and the seed of that, its label, and which voxels are no padding, or None if all are."""

    seed: int
    id: str
    image: Tensor
    label: int
    real: Tensor | None


class Draw:
    """Looks at all batches, and holds the samples whose ids have the highest seeds: the same in whatever order they come.

    Args:
        seed: Of an id.
        most: Samples that are held.
        values: Of their images, together.
    """

    def __init__(self, seed: Callable[[str], int], most: int, values: int | None = None) -> None:
        self.held: list[Drawn] = []
        self._seed, self._most, self._values = seed, most, values

    def add(self, batch: Batch) -> None:
        """Look at a batch."""
        images, labels, ids, masks, _ = batch
        most = self._most
        if self._values is not None and ids:
            most = max(1, min(most, self._values // images[0].numel()))
        least = self.held[-1][:2] if len(self.held) == most else (-1, "")
        # Copies, so that the rest of the batch can go; of what cannot stay, none is made.
        new = [
            Drawn(seed, sample, images[row].cpu().clone(), int(labels[row]), None if masks is None else masks[row].cpu().clone())
            for row, sample in enumerate(ids)
            if ((seed := self._seed(sample)), sample) > least
        ]
        self.held = nlargest(most, [*self.held, *new], key=lambda drawn: drawn[:2])
