"""Mean corruption error: errors on ImageNet-C as shares of AlexNet's."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from vitkit.errors import UsageError

ALEXNET = {
    "gaussian_noise": 0.886428,
    "shot_noise": 0.894468,
    "impulse_noise": 0.922640,
    "defocus_blur": 0.819880,
    "glass_blur": 0.826268,
    "motion_blur": 0.785948,
    "zoom_blur": 0.798360,
    "snow": 0.866816,
    "frost": 0.826572,
    "fog": 0.819324,
    "brightness": 0.564592,
    "contrast": 0.853204,
    "elastic_transform": 0.646056,
    "pixelate": 0.717840,
    "jpeg_compression": 0.606500,
}
"""AlexNet's error under each corruption of ImageNet-C, mean over the five severities (Hendrycks and Dietterich 2019)."""

ALEXNET_CLEAN = 0.435
"""AlexNet's error on ImageNet's untouched validation images (the same, table 1)."""


def corruption_error(
    error: Float[np.ndarray, "*rows severities"], baseline: float, *, clean: Float[np.ndarray, "*rows"] | None = None,
    baseline_clean: float = 0.0,
) -> Float[np.ndarray, "*rows"]:  # fmt: skip
    r"""Corruption error, or the relative one if the clean error is given.

    .. math::
        \text{CE} = \frac{\sum_s E_s}{\sum_s E^{A}_s}, \qquad
        \text{relative CE} = \frac{\sum_s (E_s - E_{clean})}{\sum_s (E^{A}_s - E^{A}_{clean})}

    (Hendrycks and Dietterich 2019, sec. 3.2).

    Args:
        error: Error at each severity.
        baseline: The baseline's error, mean over the same severities.
        clean: Error on the untouched images.
        baseline_clean: The baseline's.

    Raises:
        UsageError: The denominator is not above zero: the baseline makes no errors, or none beyond its clean ones, so there is
            nothing to divide by.

    >>> corruption_error(np.array([0.25, 0.5]), 0.75).item()
    0.5
    """
    excess = baseline - (0.0 if clean is None else baseline_clean)
    if not excess > 0:
        raise UsageError(
            f"a baseline with the error {baseline:g}" + ("" if clean is None else f", and {baseline_clean:g} on clean images"),
            "more errors under the corruption" + ("" if clean is None else " than without it"),
            "Show the curve and its area instead; a ratio means nothing there.",
        )
    mean = error.mean(-1)
    return np.asarray((mean if clean is None else mean - clean) / excess)


def mean_corruption_error(
    errors: Mapping[str, Float[np.ndarray, "*rows severities"]],
    clean: Float[np.ndarray, "*rows"] | None = None,
    *,
    baseline: Mapping[str, float] = ALEXNET,
    baseline_clean: float = ALEXNET_CLEAN,
) -> Float[np.ndarray, "*rows"]:
    """Mean over the corruptions of :func:`corruption_error`; relative if the clean error is given.

    Only meaningful for ImageNet's 1,000 classes: the baseline's errors are those of AlexNet there.

    Args:
        errors: Error at each of the five severities, for each corruption of the baseline and no other.
        clean: Error on the untouched images.
        baseline: The baseline's error for each corruption, mean over the severities.
        baseline_clean: Its error on the untouched images.

    Raises:
        UsageError: Corruptions that are missing or unknown, not five severities, or a denominator that is not above zero.

    >>> round(mean_corruption_error({name: np.full(5, error) for name, error in ALEXNET.items()}).item(), 9)
    1.0
    """
    if different := set(errors) ^ set(baseline):
        raise UsageError(
            f"corruptions that are missing or unknown: {', '.join(sorted(different))}",
            f"the {len(baseline)} of the baseline",
            "Run all of them; a mean over others is another number.",
        )
    for name, error in errors.items():
        if error.shape[-1] != 5:
            raise UsageError(f"{name} at {error.shape[-1]} severities", "the five of ImageNet-C", "Run severities 1 to 5.")
    found = [
        corruption_error(errors[name], share, clean=clean, baseline_clean=baseline_clean) for name, share in baseline.items()
    ]
    return np.asarray(np.mean(found, axis=0))
