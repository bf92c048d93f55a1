"""Measures that torchmetrics does not have, or not in a form that can be resampled."""

from vitkit.metrics.auroc import auroc, macro_auroc
from vitkit.metrics.bootstrap import bootstrap_means, percentile_interval
from vitkit.metrics.calibration import calibration_error, calibration_gaps
from vitkit.metrics.curve import area_under_curve, first_below
from vitkit.metrics.record import record

__all__ = [
    "area_under_curve",
    "auroc",
    "bootstrap_means",
    "calibration_error",
    "calibration_gaps",
    "first_below",
    "macro_auroc",
    "percentile_interval",
    "record",
]
