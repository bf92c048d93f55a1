"""Expected calibration error, in bins of equal width or of equal mass."""

import numpy as np
from jaxtyping import Bool, Float, Int

from vitkit.errors import UsageError
from vitkit.metrics.ranks import ranks

BINS = 15


def calibration_gaps(
    confidence: Float[np.ndarray, " samples"], correct: Bool[np.ndarray, " samples"], bins: int = BINS
) -> Float[np.ndarray, "samples bins"]:
    """Each sample's confidence minus its correctness, in the column of its bin and zero elsewhere.

    The means of these columns, in the whole set or in a resample, are what :func:`calibration_error` takes.

    Args:
        confidence: Probability of the predicted class.
        correct: Whether it was right.
        bins: Bins of equal width over [0, 1], closed below; the last holds 1.
    """
    return _spread(confidence, correct, np.minimum((confidence * bins).astype(int), bins - 1), bins)


def adaptive_gaps(
    confidence: Float[np.ndarray, " samples"], correct: Bool[np.ndarray, " samples"], bins: int = BINS
) -> Float[np.ndarray, "samples bins"]:
    """Like :func:`calibration_gaps`, in bins that hold the same number of samples, as far as equal confidences allow.

    A sample of midrank r among n (from 0.5 to n - 0.5) is in bin ⌊bins · r / n⌋, so that equal confidences share a bin and the
    order of the samples changes nothing. The error in these bins is the adaptive calibration error of
    Nixon et al. (2019), sec. 3, of the predicted class.

    Args:
        confidence: Probability of the predicted class.
        correct: Whether it was right.
        bins: How many; where there are fewer samples, some stay empty.

    Raises:
        UsageError: Fewer than one bin.

    >>> gaps = adaptive_gaps(np.array([0.6, 0.7, 0.8, 0.9]), np.array([False, True, True, True]), bins=2)
    >>> gaps.mean(0).round(3).tolist(), round(float(calibration_error(gaps.mean(0))), 3)
    ([0.075, -0.075], 0.15)
    """
    if bins < 1:
        raise UsageError(f"{bins} bins", "one at least", f"Leave it out; {BINS} are usual.")
    return _spread(confidence, correct, (ranks(confidence) * bins / max(len(confidence), 1)).astype(int), bins)


def _spread(
    confidence: Float[np.ndarray, " samples"],
    correct: Bool[np.ndarray, " samples"],
    index: Int[np.ndarray, " samples"],
    bins: int,
) -> Float[np.ndarray, "samples bins"]:
    gaps = np.zeros((len(confidence), bins))
    gaps[np.arange(len(confidence)), index] = confidence - correct
    return gaps


def calibration_error(mean_gaps: Float[np.ndarray, "*rows bins"]) -> Float[np.ndarray, "*rows"]:
    r"""Expected calibration error, :math:`\sum_b \frac{n_b}{n} |\text{confidence}_b - \text{accuracy}_b|`, in [0, 1].

    Args:
        mean_gaps: Means over the samples of :func:`calibration_gaps` or :func:`adaptive_gaps`.

    >>> gaps = calibration_gaps(np.array([0.9, 0.9]), np.array([True, False]))
    >>> round(float(calibration_error(gaps.mean(0))), 6)
    0.4
    """
    return np.asarray(np.abs(mean_gaps).sum(-1))
