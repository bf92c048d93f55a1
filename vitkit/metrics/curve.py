"""What a curve over severity comes down to: its area, and where it falls below a threshold."""

import numpy as np
from jaxtyping import Float

from vitkit.errors import UsageError


def area_under_curve(
    severities: Float[np.ndarray, " points"], values: Float[np.ndarray, "*rows points"]
) -> Float[np.ndarray, "*rows"]:
    r"""Area by the trapezoid rule over the range of severities, :math:`\frac{1}{s_n - s_1} \int v(s)\, ds`: a mean of the values.

    Args:
        severities: Ascending.
        values: One curve a row.

    Raises:
        UsageError: Fewer than two severities, or not ascending.

    >>> area_under_curve(np.array([0.0, 0.5, 1.0]), np.array([1.0, 0.5, 0.0])).item()
    0.5
    """
    return np.asarray(values @ area_weights(severities))


def area_weights(severities: Float[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
    """How much each severity weighs in :func:`area_under_curve`; they sum to 1.

    Raises:
        UsageError: Fewer than two severities, or not ascending.

    >>> area_weights(np.array([0.0, 1.0, 4.0])).tolist()
    [0.125, 0.5, 0.375]
    """
    _check_ascending(severities)
    steps = np.diff(severities)
    return np.asarray((np.append(0.0, steps) + np.append(steps, 0.0)) / (2 * (severities[-1] - severities[0])))


def first_below(
    severities: Float[np.ndarray, " points"], values: Float[np.ndarray, "rows points"], threshold: float
) -> Float[np.ndarray, " rows"]:
    """Where each curve first falls below a threshold, by linear interpolation; infinite where it never does.

    A curve that begins below it has fallen at the first severity.

    Args:
        severities: Ascending.
        values: One curve a row.
        threshold: In the unit of the values.

    Raises:
        UsageError: Fewer than two severities, or not ascending.

    >>> first_below(np.array([0.0, 1.0]), np.array([[1.0, 0.5], [0.9, 0.75], [0.5, 0.9]]), 0.75).tolist()
    [0.5, inf, 0.0]
    """
    _check_ascending(severities)
    below = values < threshold
    index = below.argmax(1)
    rows = np.arange(len(values))
    previous = np.maximum(index - 1, 0)
    above, under = values[rows, previous], values[rows, index]
    share = (above - threshold) / np.where(index > 0, above - under, 1.0)
    crossing = severities[previous] + share * (severities[index] - severities[previous])
    return np.where(below.any(1), np.where(index > 0, crossing, severities[0]), np.inf)


def _check_ascending(severities: Float[np.ndarray, " points"]) -> None:
    if len(severities) < 2 or (np.diff(severities) <= 0).any():
        raise UsageError(f"severities {severities.tolist()}", "two or more, ascending", "Sort them, and add the identity.")
