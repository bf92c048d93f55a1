"""The lines of a grid, along which axial attention goes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class Lines:
    """Lines along each axis of a grid, or their parts.

    Attributes:
        shape: Tokens along each axis.
        lengths: Tokens along each axis that see each other: all, or a part of the line, which divides it.
    """

    shape: tuple[int, ...]
    lengths: tuple[int, ...]

    def __len__(self) -> int:
        """Axes."""
        return len(self.shape)

    def along(
        self, axis: int, x: Float[Tensor, "batch tokens *rest"] | Bool[Tensor, "batch tokens"]
    ) -> Float[Tensor, "before length after *rest"] | Bool[Tensor, "before length after"]:
        """What comes before the axis in memory, the axis, what comes after; a view."""
        return x.view(-1, self.lengths[axis], prod(self.shape[axis + 1 :]), *x.shape[2:])


@dataclass(frozen=True)
class Terms:
    """What weights along the axes come of, beside queries and keys.

    Attributes:
        scale: Factor of the dot products.
        biases: Logits among the tokens of a line, one for each axis.
        gates: Factor on each axis's output per head; 1 if not given.
        real: Tokens that may be seen; all if not given.
    """

    scale: float
    biases: Sequence[Float[Tensor, "heads _ _"] | None]
    gates: Float[Tensor, "axes heads"] | None = None
    real: Bool[Tensor, "batch tokens"] | None = None


def ranges(whole: slice, most: int) -> Iterator[slice]:
    """A range in parts of at most so many."""
    for start in range(whole.start, whole.stop, most):
        yield slice(start, min(start + most, whole.stop))
