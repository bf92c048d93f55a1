"""The metrics of one condition, from its samples: values, and what a bootstrap of them needs."""

from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from vitkit.metrics import (
    adaptive_gaps,
    calibration_error,
    calibration_gaps,
    kept,
    macro_auroc,
    risk_coverage_area,
)

COLUMNS = ["label", "prediction", "confidence", "loss", "brier", "logits"]
COVERAGES = (0.8, 0.5)  # shares of the samples at which the accuracy of the most confident answers is told

Columns = Float[np.ndarray, "samples columns"]
Means = Float[np.ndarray, "resamples columns"]


def measure(table: pa.Table) -> tuple[dict[str, float], Columns]:
    """The metrics of a condition, and the columns from whose means :func:`remeasure` makes them again.

    Args:
        table: Its samples, with the columns :data:`COLUMNS`.
    """
    data = {name: table[name].to_numpy() for name in COLUMNS if name != "logits"}
    confidence, correct = data["confidence"].astype(float), data["prediction"] == data["label"]
    width, mass = calibration_gaps(confidence, correct), adaptive_gaps(confidence, correct)
    ranked = _auroc(table, data["label"])
    area, spread = risk_coverage_area(confidence, correct)
    weights = [kept(confidence, coverage) for coverage in COVERAGES]
    answered = [column for weight in weights for column in (weight * correct, weight)]
    influence = np.full(len(table), np.nan) if ranked is None else ranked[1]
    values = {
        "accuracy": float(correct.mean()),
        "nll": float(data["loss"].mean(dtype=float)),
        "brier": float(data["brier"].mean(dtype=float)),
        "ece": float(calibration_error(width.mean(0))),
        "adaptive_ece": float(calibration_error(mass.mean(0))),
        "auroc": float("nan") if ranked is None else ranked[0],
        "aurc": area,
    }
    values |= {_name(share): float(w @ correct / w.sum()) for share, w in zip(COVERAGES, weights, strict=True)}
    columns = [correct, data["loss"], data["brier"], influence, spread, *answered]
    # In float32, which an interval does not see, and which halves the work on many samples.
    return values, np.hstack([np.column_stack(columns), width, mass], dtype=np.float32, casting="same_kind")


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
    if logits.null_count:
        return None
    scores = logits.flatten().to_numpy().reshape(len(table), -1).astype(float)
    scores = np.exp(scores - scores.max(1, keepdims=True))
    return macro_auroc(scores / scores.sum(1, keepdims=True), labels)
