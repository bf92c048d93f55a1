"""Area under the receiver operating characteristic, with what a bootstrap of it needs."""

import numpy as np
from jaxtyping import Bool, Float, Int


def auroc(
    scores: Float[np.ndarray, " samples"], positive: Bool[np.ndarray, " samples"]
) -> tuple[float, Float[np.ndarray, " samples"]]:
    r"""Probability that a positive sample scores above a negative one, ties counted half, and each sample's influence on it.

    With the placements :math:`V_i`, the share of the other kind that sample i is on the right side of, the influence is
    :math:`\psi_i = \frac{n}{n_{\pm}} (V_i - \text{AUROC})`; it sums to zero. A resample with weights w has
    :math:`\text{AUROC} + \sum_i w_i \psi_i / \sum_i w_i` to first order, so its bootstrap is one of means, with the variance of
    DeLong, DeLong and Clarke-Pearson (1988), eq. 5, up to the factors :math:`n_\pm / (n_\pm - 1)`.

    Args:
        scores: Higher means positive.
        positive: At least one, and not all.

    >>> value, influence = auroc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    >>> value, float(influence.sum())
    (0.75, 0.0)
    """
    above, below = np.sort(scores[positive]), np.sort(scores[~positive])
    placement = np.empty(len(scores))
    placement[positive] = _share_under(below, scores[positive])
    placement[~positive] = 1 - _share_under(above, scores[~positive])
    value = float(placement[positive].mean())
    size = np.where(positive, len(above), len(below))
    return value, len(scores) / size * (placement - value)


def _share_under(
    ordered: Float[np.ndarray, " reference"], scores: Float[np.ndarray, " samples"]
) -> Float[np.ndarray, " samples"]:
    strictly, weakly = np.searchsorted(ordered, scores, "left"), np.searchsorted(ordered, scores, "right")
    return (strictly + weakly) / (2 * len(ordered))


def macro_auroc(
    logits: Float[np.ndarray, "samples classes"], labels: Int[np.ndarray, " samples"]
) -> tuple[float, Float[np.ndarray, " samples"]] | None:
    """Mean over the classes of one class against the rest by the softmax, and each sample's influence on it.

    For two classes, simply the AUROC of the second. Classes of which there is no sample, or no other than they, are left out;
    None if no class remains. The softmax is taken in float64, a class at a time.
    """
    highest = logits.max(1).astype(float)
    total = sum((np.exp(column - highest) for column in logits.T), np.zeros(len(logits)))
    count, value, influence = 0, 0.0, np.zeros(len(logits))
    for kind in [1] if logits.shape[1] == 2 else range(logits.shape[1]):
        positive = labels == kind
        if positive.any() and not positive.all():
            found = auroc(np.exp(logits[:, kind] - highest) / total, positive)
            count, value, influence = count + 1, value + found[0], influence + found[1]
    return (value / count, influence / count) if count else None
