"""Another scale or another zero of a scan's intensities."""

from collections.abc import Sequence
from math import isfinite

from vitkit.corruptions.volume.scale import Direction, Scans, amount, towards
from vitkit.errors import UsageError

FACTOR_BRIGHTER, FACTOR_DARKER = 2.0, 0.5
HU = 100.0


def intensity_scaling(images: Scans, severity: int, seeds: Sequence[int], direction: Direction = "darker") -> Scans:
    """Intensity times 0.9, 0.8, 0.7, 0.6, 0.5 (darker), or 1.2, 1.4, 1.6, 1.8, 2 (brighter), as another receiver gain would.

    Args:
        images: A batch.
        severity: 1 to 5.
        seeds: Not used: nothing is random.
        direction: To which side.
    """
    return images * amount(severity, towards(direction, FACTOR_BRIGHTER, FACTOR_DARKER), identity=1.0)


def window_shift(images: Scans, severity: int, seeds: Sequence[int], width: float, direction: Direction = "darker") -> Scans:
    """The window of a CT moved by 20, 40, 60, 80, 100 HU: up, which makes tissue darker, or down.

    A voxel that the moved window would show and the first one did not is not known any more, and stays black or white.

    Args:
        images: A batch.
        severity: 1 to 5.
        seeds: Not used: nothing is random.
        width: Of the window that mapped HU to [0, 1], e.g. 1400 for one from -1000 to 400.
        direction: Of the intensities.

    Raises:
        UsageError: A width that is not positive.
    """
    if not (isfinite(width) and width > 0):
        raise UsageError(f"width: {width}", "the width of a window, in HU", "Use e.g. 1400 for a window from -1000 to 400.")
    return images + amount(severity, towards(direction, HU, -HU)) / width
