"""Expected calibration error, in bins of equal width or of equal mass."""

import numpy as np
from jaxtyping import Float, Int

from vitkit.errors import UsageError
from vitkit.metrics.ranks import ranks

BINS = 15


def equal_width_bins(confidence: Float[np.ndarray, " samples"], bins: int = BINS) -> Int[np.ndarray, " samples"]:
    """The bin of each sample among bins of equal width over [0, 1], closed below; the last holds 1.

    Args:
        confidence: Probability of the predicted class.
        bins: How many.
    """
    return np.minimum((confidence * bins).astype(int), bins - 1)


def equal_mass_bins(confidence: Float[np.ndarray, " samples"], bins: int = BINS) -> Int[np.ndarray, " samples"]:
    """The bin of each sample among bins that hold the same number of samples, as far as equal confidences allow.

    A sample of midrank r among n (from 0.5 to n - 0.5) is in bin ⌊bins · r / n⌋, so that equal confidences share a bin and the
    order of the samples changes nothing. The error in these bins is the adaptive calibration error of
    Nixon et al. (2019), sec. 3, of the predicted class.

    Args:
        confidence: Probability of the predicted class.
        bins: How many; where there are fewer samples, some stay empty.

    Raises:
        UsageError: Fewer than one bin.

    >>> confidence, correct = np.array([0.6, 0.7, 0.8, 0.9]), np.array([False, True, True, True])
    >>> gaps = in_bins(confidence - correct, equal_mass_bins(confidence, bins=2), bins=2)
    >>> gaps.mean(0).round(3).tolist(), round(float(calibration_error(gaps.mean(0))), 3)
    ([0.075, -0.075], 0.15)
    """
    if bins < 1:
        raise UsageError(f"{bins} bins", "one at least", f"Leave it out; {BINS} are usual.")
    return (ranks(confidence) * bins / max(len(confidence), 1)).astype(int)


def in_bins(
    gaps: Float[np.ndarray, " samples"], index: Int[np.ndarray, " samples"], bins: int = BINS
) -> Float[np.ndarray, "samples bins"]:
    """Each sample's gap in the column of its bin, and zero elsewhere.

    The means of these columns, in the whole set or in a resample, are what :func:`calibration_error` takes.

    Args:
        gaps: Confidence minus correctness.
        index: Bin of each sample.
        bins: How many there are.
    """
    columns = np.zeros((len(gaps), bins), gaps.dtype)
    columns[np.arange(len(gaps)), index] = gaps
    return columns


def calibration_error(mean_gaps: Float[np.ndarray, "*rows bins"]) -> Float[np.ndarray, "*rows"]:
    r"""Expected calibration error, :math:`\sum_b \frac{n_b}{n} |\text{confidence}_b - \text{accuracy}_b|`, in [0, 1].

    Args:
        mean_gaps: Means over the samples of :func:`in_bins`.

    >>> confidence, correct = np.array([0.9, 0.9]), np.array([True, False])
    >>> gaps = in_bins(confidence - correct, equal_width_bins(confidence))
    >>> round(float(calibration_error(gaps.mean(0))), 6)
    0.4
    """
    return np.asarray(np.abs(mean_gaps).sum(-1))
