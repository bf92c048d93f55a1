"""Contrast that is compressed or expanded."""

from collections.abc import Sequence

from vitkit.corruptions.volume.scale import Direction, Scans, amount, towards

BRIGHTER, DARKER = 0.3, 3.0


def gamma(images: Scans, severity: int, seeds: Sequence[int], direction: Direction = "darker") -> Scans:
    """``x ** g``: g = 0.86, 0.72, 0.58, 0.44, 0.3 makes a scan brighter, and 1.4, 1.8, 2.2, 2.6, 3 darker.

    Args:
        images: A batch.
        severity: 1 to 5.
        seeds: Not used: nothing is random.
        direction: To which side.

    Source:
        ROOD-MRI (Boone et al. 2023), contrast compression and expansion.
    """
    return images ** amount(severity, towards(direction, BRIGHTER, DARKER), identity=1.0)
