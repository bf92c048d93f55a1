"""Measures that torchmetrics does not have, or not in a form that can be resampled."""

from vitkit.metrics.agreement import error_consistency, flips
from vitkit.metrics.auroc import auroc, macro_auroc
from vitkit.metrics.bootstrap import Bootstrap, bootstrap_means, group_sums, percentile_interval
from vitkit.metrics.calibration import calibration_error, equal_mass_bins, equal_width_bins, in_bins
from vitkit.metrics.comparing import holm, sign_flip_test, simultaneous_interval
from vitkit.metrics.corruption_error import ALEXNET, ALEXNET_CLEAN, corruption_error, mean_corruption_error
from vitkit.metrics.curve import area_under_curve, area_weights, first_below
from vitkit.metrics.ranks import ranks
from vitkit.metrics.record import record
from vitkit.metrics.selective import kept, risk_coverage_area, selective_accuracy

__all__ = [
    "ALEXNET",
    "ALEXNET_CLEAN",
    "Bootstrap",
    "area_under_curve",
    "area_weights",
    "auroc",
    "bootstrap_means",
    "calibration_error",
    "corruption_error",
    "equal_mass_bins",
    "equal_width_bins",
    "error_consistency",
    "first_below",
    "flips",
    "group_sums",
    "holm",
    "in_bins",
    "kept",
    "macro_auroc",
    "mean_corruption_error",
    "percentile_interval",
    "ranks",
    "record",
    "risk_coverage_area",
    "selective_accuracy",
    "sign_flip_test",
    "simultaneous_interval",
]
