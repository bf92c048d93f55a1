"""The metrics of one condition, from its samples: values, and what a bootstrap of them needs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from vitkit.metrics import (
    calibration_error,
    equal_mass_bins,
    equal_width_bins,
    in_bins,
    kept,
    macro_auroc,
    risk_coverage_area,
)

COLUMNS = ["label", "prediction", "confidence", "loss", "brier", "logits"]
COVERAGES = (0.8, 0.5)  # shares of the samples at which the accuracy of the most confident answers is told

Columns = Float[np.ndarray, "samples columns"]
Means = Float[np.ndarray, "resamples columns"]


def measure(table: pa.Table) -> tuple[dict[str, float], Callable[[slice], Columns]]:
    """The metrics of a condition, and what gives the columns from whose means :func:`remeasure` makes them again.

    Args:
        table: Its samples, with the columns :data:`COLUMNS`.
    """
    labels, predictions, confidence, loss, brier = (table[name].to_numpy() for name in COLUMNS[:-1])
    correct, confidence = predictions == labels, confidence.astype(float)
    gaps, binnings = confidence - correct, (equal_width_bins(confidence), equal_mass_bins(confidence))
    ranked = _auroc(table, labels)
    area, spread = risk_coverage_area(confidence, correct)
    weights = [kept(confidence, coverage) for coverage in COVERAGES]
    width, mass = (float(calibration_error(np.bincount(index, gaps) / len(gaps))) for index in binnings)
    values = {
        "accuracy": float(correct.mean()),
        "nll": float(loss.mean(dtype=float)),
        "brier": float(brier.mean(dtype=float)),
        "ece": width,
        "adaptive_ece": mass,
        "auroc": float("nan") if ranked is None else ranked[0],
        "aurc": area,
    }
    values |= {_name(share): float(w @ correct / w.sum()) for share, w in zip(COVERAGES, weights, strict=True)}
    influence = np.full(len(table), np.nan) if ranked is None else ranked[1]
    answered = (column for weight in weights for column in (weight * correct, weight))
    # In float32, which an interval does not see, and which halves the work on many samples.
    plain = [column.astype(np.float32) for column in (correct, loss, brier, influence, spread, *answered, gaps)]

    def columns(some: slice) -> Columns:
        *rows, gap = (column[some] for column in plain)
        return np.hstack([np.column_stack(rows), *(in_bins(gap, index[some]) for index in binnings)])

    return values, columns


def remeasure(values: dict[str, float], means: Means) -> dict[str, Float[np.ndarray, " resamples"]]:
    """The metrics in each resample, from the means of its columns.

    Resampling adds the upward bias of the calibration error a second time, so its resamples are moved back by their mean excess.
    Who is answered at a coverage is decided by the confidence at which that coverage is reached in the whole set.
    """
    answered = 5 + 2 * len(COVERAGES)
    width, mass = np.split(means[:, answered:], 2, axis=1)
    found = {
        "accuracy": means[:, 0],
        "nll": means[:, 1],
        "brier": means[:, 2],
        "ece": _centred(calibration_error(width), values["ece"]),
        "adaptive_ece": _centred(calibration_error(mass), values["adaptive_ece"]),
        "auroc": np.clip(values["auroc"] + means[:, 3], 0, 1),
        "aurc": np.clip(values["aurc"] + means[:, 4], 0, 1),
    }
    for index, coverage in enumerate(COVERAGES):
        right, given = means[:, 5 + 2 * index], means[:, 6 + 2 * index]
        # A resample of few samples may hold none that is answered.
        found[_name(coverage)] = np.divide(right, given, out=np.full(len(means), values[_name(coverage)]), where=given > 0)
    return found


def _name(coverage: float) -> str:
    return f"accuracy_at_{coverage * 100:g}"


def _centred(errors: Float[np.ndarray, " resamples"], value: float) -> Float[np.ndarray, " resamples"]:
    return np.maximum(errors - (errors.mean() - value), 0)


def _auroc(table: pa.Table, labels: Any) -> tuple[float, np.ndarray] | None:
    logits = table["logits"].combine_chunks()
    return None if logits.null_count else macro_auroc(logits.flatten().to_numpy().reshape(len(table), -1), labels)
