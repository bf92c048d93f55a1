"""Expected calibration error."""

import numpy as np
from jaxtyping import Bool, Float

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
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.zeros((len(confidence), bins))
    gaps[np.arange(len(confidence)), index] = confidence - correct
    return gaps


def calibration_error(mean_gaps: Float[np.ndarray, "*rows bins"]) -> Float[np.ndarray, "*rows"]:
    r"""Expected calibration error, :math:`\sum_b \frac{n_b}{n} |\text{confidence}_b - \text{accuracy}_b|`, in [0, 1].

    Args:
        mean_gaps: Means over the samples of :func:`calibration_gaps`.

    >>> gaps = calibration_gaps(np.array([0.9, 0.9]), np.array([True, False]))
    >>> round(float(calibration_error(gaps.mean(0))), 6)
    0.4
    """
    return np.asarray(np.abs(mean_gaps).sum(-1))
