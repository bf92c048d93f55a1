"""Whether predictions agree: of one model from one severity to the next, and of two models in what they get wrong."""

import numpy as np
from jaxtyping import Bool, Float, Int

from vitkit.errors import UsageError


def flips(predictions: Int[np.ndarray, "severities samples"]) -> Float[np.ndarray, " samples"]:
    r"""Share of the steps from one severity to the next at which each sample's prediction changes.

    Its mean over the samples is the flip probability,

    .. math::
        \text{FP} = \frac{1}{n (s - 1)} \sum_i \sum_{j=2}^{s} [f(x_i^{(j)}) \ne f(x_i^{(j-1)})]

    (Hendrycks and Dietterich 2019, sec. 3.2, with severities for the frames of their videos.)

    Raises:
        UsageError: Fewer than two severities.

    >>> flips(np.array([[1, 1], [1, 2], [1, 3]])).tolist()
    [0.0, 1.0]
    """
    if len(predictions) < 2:
        raise UsageError(f"{len(predictions)} severities", "two at least", "Add the identity.")
    return np.asarray((predictions[1:] != predictions[:-1]).mean(0))


def error_consistency(
    first: Bool[np.ndarray, "*conditions samples"], second: Bool[np.ndarray, "*conditions samples"]
) -> Float[np.ndarray, "*conditions"]:
    r"""Agreement of two models on which samples they get right, beyond what their accuracies alone would bring about.

    .. math::
        \kappa = \frac{c_{obs} - c_{exp}}{1 - c_{exp}}, \qquad c_{exp} = p_1 p_2 + (1 - p_1)(1 - p_2)

    with :math:`c_{obs}` the share of samples on which both are right or both wrong (Geirhos, Meding and Wichmann 2020, eq. 1-3).
    1 is the same errors, 0 is independent ones. NaN where both models are always right, or both always wrong: then there are no
    errors to compare.

    Args:
        first: Whether the first model is right.
        second: Whether the second is, on the same samples.

    >>> error_consistency(np.array([True, True, False, False]), np.array([True, False, False, True])).item()
    0.0
    """
    observed = (first == second).mean(-1)
    p, q = first.mean(-1), second.mean(-1)
    expected = p * q + (1 - p) * (1 - q)
    return np.asarray(np.divide(observed - expected, 1 - expected, out=np.full(np.shape(expected), np.nan), where=expected < 1))
