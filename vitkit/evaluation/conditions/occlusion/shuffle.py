"""Patches out of their places."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from vitkit.corruptions import shuffle
from vitkit.errors import UsageError
from vitkit.evaluation.condition import Applied, Condition, Context, check_name, check_severities


class ShuffledPatches(Condition):
    """The image cut into equal patches that change places at random: what is left if shape is gone and texture is not.

    Args:
        patches: Patches along each axis, whole numbers from 2; Naseer et al. 2021 use grids of 2 × 2 to 16 × 16. A number that
            does not divide the image's axes is recorded as skipped.
        name: Name in the results, "shuffled" by default.

    Raises:
        UsageError: No whole number, or less than 2.
    """

    suite = "occlusion"
    unit = "patches along each axis"
    identity = 1.0

    def __init__(self, patches: Sequence[int], name: str | None = None) -> None:
        self.severities = check_severities("patches", patches)
        for index, count in enumerate(self.severities):
            if count != int(count) or count < 2:
                raise UsageError(f"patches[{index}]: {count:g}", "a whole number from 2", "Use e.g. 4 for 4 × 4 patches.")
        self.name = check_name(name or "shuffled")
        self.title = "Shuffled patches"

    def obstacle_at(self, severity: float, context: Context, size: tuple[int, ...]) -> str | None:
        """Patches are of equal size only where their number divides the axis."""
        if any(length % int(severity) for length in size):
            return f"{severity:g} patches do not divide every axis of images of size {size}"
        return None

    def apply(self, images: Float[Tensor, "batch channels *size"], severity: float, context: Context) -> Applied:
        """Shuffle each image by its own seed."""
        return Applied(shuffle(images, int(severity), context.seeds(self.suite, "shuffled", severity)))
