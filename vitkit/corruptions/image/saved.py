"""A corruption as released files hold it: saved as a JPEG."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from vitkit.corruptions.image import blur, colour, digital, noise, spatter, weather
from vitkit.corruptions.image.constants import IMAGENET, Constants
from vitkit.errors import UsageError


def saved(
    images: Float[Tensor, "batch channels height width"],
    severity: int,
    seeds: Sequence[int],
    corruption: str,
    quality: int = 85,
    constants: Constants = "imagenet",
) -> Float[Tensor, "batch channels height width"]:
    """Any other of these corruptions, then a round trip through a JPEG, in which the files of ImageNet-C were saved.

    Args:
        images: Values in [0, 1], grey or RGB.
        severity: 1 to 5.
        seeds: One for each image.
        corruption: Name of the other one, e.g. "fog".
        quality: Of the JPEG, 1 to 100; the released files have 85.
        constants: "imagenet" or "cifar".

    Raises:
        UsageError: No such corruption, or what that refuses.
    """
    if corruption not in IMAGENET:
        raise UsageError(f"corruption: {corruption!r}", f"one of {', '.join(IMAGENET)}", "See vitkit ls corruptions.")
    homes = (blur, colour, digital, noise, spatter, weather)
    function = next(getattr(home, corruption) for home in homes if hasattr(home, corruption))
    return digital.jpeg(function(images, severity, seeds, constants=constants), quality)
