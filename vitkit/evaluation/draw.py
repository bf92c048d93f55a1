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
        keys = [(drawn.seed, drawn.id) for drawn in self.held] + [(self._seed(sample), sample) for sample in ids]
        chosen, known = nlargest(most, range(len(keys)), key=keys.__getitem__), len(self.held)
        # Copies, so that the rest of the batch can go; of what does not stay, none is made.
        self.held = [
            self.held[place]
            if place < known
            else Drawn(
                *keys[place],
                images[row := place - known].cpu().clone(),
                int(labels[row]),
                None if masks is None else masks[row].cpu().clone(),
            )
            for place in chosen
        ]
