"""Results from stored samples, without the model."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from vitkit.evaluation.folder import read_run, read_samples
from vitkit.evaluation.results import (
    SCHEMA_VERSION,
    Comparison,
    ConditionResult,
    Curve,
    Interval,
    Point,
    Results,
    Threshold,
    read_tree,
)
from vitkit.metrics import (
    area_under_curve,
    bootstrap_means,
    calibration_error,
    calibration_gaps,
    first_below,
    macro_auroc,
    percentile_interval,
)

_COLUMNS = ["label", "prediction", "confidence", "loss", "brier", "logits"]
_HELD = 2**20  # values of several conditions that are resampled at once, which costs the counts only once
_COMPARED = {"removed": ("painted", "missingness bias")}


@dataclass(frozen=True)
class _Measured:
    """A condition with its accuracy in every resample; empty if it was skipped."""

    entry: dict[str, Any]
    metrics: dict[str, Interval]
    accuracy: float
    resampled: Float[np.ndarray, " resamples"]


def summarise(folder: str | Path) -> Results:
    """Compute ``results.json`` and ``results.csv`` from the stored samples of a run, and write them.

    Intervals are 95 % percentile intervals of 1000 resamples of the samples, seeded by the run's seed and shared by all
    conditions. That of the AUROC is to first order (see :func:`vitkit.metrics.auroc`). Resampling adds the upward bias of the
    calibration error a second time, so its resamples are moved back by their mean excess.

    Raises:
        UsageError: No finished run is there.
        DataError: Its files cannot be read.
    """
    folder = Path(folder)
    info = read_run(folder)["info"]
    measured = list(_measure(folder, info["seed"]))
    clean = measured[0]
    config = info["suite"]["config"]
    groups: dict[tuple[str, str], list[_Measured]] = {}
    for item in measured[1:]:
        if item.entry["skipped"] is None:
            groups.setdefault((item.entry["suite"], item.entry["condition"]), []).append(item)
    lines = [line for items in groups.values() if len((line := _Line(clean, items)).severities) > 1]
    tree = info | {"model": info["model"] | {"num_classes": clean.entry["classes"]}}
    plain = {"schema_version": SCHEMA_VERSION, **tree, "conditions": [], "curves": [], "comparisons": []}
    empty: Results = read_tree(Results, plain, str(folder / "run.json"))
    results = Results(
        **{
            **vars(empty),
            "conditions": [_condition(item) for item in measured],
            "curves": [line.curve(config["threshold"]) for line in lines],
            "comparisons": list(_compare(lines)),
        }
    )
    results.save(folder)
    return results


def _condition(item: _Measured) -> ConditionResult:
    entry = {key: value for key, value in item.entry.items() if key not in ("identity", "classes")}
    return ConditionResult(**entry, metrics=item.metrics)


def _measure(folder: Path, seed: int) -> Iterator[_Measured]:
    """The conditions one after the other; as many are resampled together as fit."""
    waiting: list[tuple[dict[str, Any], dict[str, float], np.ndarray]] = []
    for entry, table in read_samples(folder, _COLUMNS):
        values, columns = _columns(table) if entry["skipped"] is None else ({}, np.empty((0, 0)))
        waiting.append((entry, values, columns))
        if sum(columns.size for _, _, columns in waiting) > _HELD:
            yield from _resample(waiting, seed)
            waiting = []
    yield from _resample(waiting, seed)


def _columns(table: pa.Table) -> tuple[dict[str, float], np.ndarray]:
    """The metrics of a condition, and the columns from whose means they are made."""
    data = {name: table[name].to_numpy() for name in _COLUMNS if name != "logits"}
    correct = data["prediction"] == data["label"]
    gaps = calibration_gaps(data["confidence"].astype(float), correct)
    ranked = _auroc(table, data["label"])
    values = {
        "accuracy": float(correct.mean()),
        "nll": float(data["loss"].mean(dtype=float)),
        "brier": float(data["brier"].mean(dtype=float)),
        "ece": float(calibration_error(gaps.mean(0))),
        "auroc": float("nan") if ranked is None else ranked[0],
    }
    influence = np.full(len(table), np.nan) if ranked is None else ranked[1]
    return values, np.column_stack([correct, data["loss"], data["brier"], influence, gaps])


def _auroc(table: pa.Table, labels: np.ndarray) -> tuple[float, np.ndarray] | None:
    logits = table["logits"].combine_chunks()
    if logits.null_count:
        return None
    scores = logits.flatten().to_numpy().reshape(len(table), -1).astype(float)
    scores = np.exp(scores - scores.max(1, keepdims=True))
    return macro_auroc(scores / scores.sum(1, keepdims=True), labels)


def _resample(waiting: list[tuple[dict[str, Any], dict[str, float], np.ndarray]], seed: int) -> Iterator[_Measured]:
    present = [columns for entry, _, columns in waiting if entry["skipped"] is None]
    blocks = iter(np.split(bootstrap_means(np.hstack(present), seed=seed), len(present), axis=1) if present else [])
    for entry, values, _ in waiting:
        if entry["skipped"] is not None:
            yield _Measured(entry, {}, 0.0, np.empty(0))
            continue
        means = next(blocks)
        error = calibration_error(means[:, 4:])
        resampled = {
            "accuracy": means[:, 0],
            "nll": means[:, 1],
            "brier": means[:, 2],
            "ece": np.maximum(error - (error.mean() - values["ece"]), 0),
            "auroc": np.clip(values["auroc"] + means[:, 3], 0, 1),
        }
        metrics = {name: _interval(value, resampled[name]) for name, value in values.items()}
        yield _Measured(entry, metrics, values["accuracy"], means[:, 0])


class _Line:
    """The accuracies of a condition over its severities, the clean ones at the identity unless it was run there itself."""

    def __init__(self, clean: _Measured, items: list[_Measured]) -> None:
        self.entry = items[0].entry
        self.identity = float(self.entry["identity"])
        points = {self.identity: clean} | {item.entry["severity"]: item for item in items}
        self.severities = np.array(sorted(points))
        self.values = np.array([points[severity].accuracy for severity in self.severities])
        self.resampled = np.column_stack([points[severity].resampled for severity in self.severities])

    def curve(self, threshold: float) -> Curve:
        area = _interval(float(self.area(self.values)), self.area(self.resampled))
        names = {key: self.entry[key] for key in ("suite", "condition", "title", "unit", "identity")}
        return Curve(**names, severities=self.severities.tolist(), auc=area, threshold=self._threshold(threshold))

    def area(self, values: np.ndarray) -> np.ndarray:
        return area_under_curve(self.severities, values)

    def _threshold(self, accuracy: float) -> Threshold:
        """Of two sides, the one where the crossing is nearer to the identity, or is met by more resamples."""
        sides = []
        for sign in (1.0, -1.0):
            side = sign * (self.severities - self.identity) >= 0
            distances = np.abs(self.severities - self.identity)[side]
            if len(distances) > 1:
                order = np.argsort(distances)
                rows = np.vstack([self.values, self.resampled])[:, side][:, order]
                crossings = first_below(distances[order], rows, accuracy)
                sides.append((crossings[0], -np.isfinite(crossings[1:]).mean(), sign, crossings[1:]))
        found, _, sign, crossings = min(sides, key=lambda item: item[:2])
        low, high = percentile_interval(crossings)
        value, *bounds = [_finite(self.identity + sign * float(d)) for d in (found, min(low, found), max(high, found))]
        interval = Interval(value, *(bounds if sign > 0 else reversed(bounds)))
        below = np.any([np.isfinite(item[3]) for item in sides], axis=0)
        return Threshold(accuracy, interval, never_below=not np.isfinite(found), share_below=float(below.mean()))


def _compare(lines: list[_Line]) -> Iterator[Comparison]:
    found = {(line.entry["suite"], line.entry["condition"]): line for line in lines}
    for (suite, name), minuend in found.items():
        family, _, mode = name.rpartition(".")
        other, title = _COMPARED.get(mode, ("", ""))
        subtrahend = found.get((suite, f"{family}.{other}"))
        common = np.intersect1d(minuend.severities, [] if subtrahend is None else subtrahend.severities)
        if subtrahend is None or len(common) < 2:
            continue
        chosen, against = np.isin(minuend.severities, common), np.isin(subtrahend.severities, common)
        values = minuend.values[chosen] - subtrahend.values[against]
        resampled = minuend.resampled[:, chosen] - subtrahend.resampled[:, against]
        points = [
            Point(float(severity), *_bounds(value, column))
            for severity, value, column in zip(common, values, resampled.T, strict=True)
            if severity != minuend.identity
        ]
        area = _interval(float(area_under_curve(common, values)), area_under_curve(common, resampled))
        yield Comparison(title, suite, name, subtrahend.entry["condition"], points, area)


def _bounds(value: float, resampled: np.ndarray) -> tuple[float, float, float]:
    low, high = percentile_interval(resampled)
    return float(value), min(float(low), float(value)), max(float(high), float(value))


def _interval(value: float, resampled: np.ndarray) -> Interval:
    return Interval(None) if np.isnan(value) else Interval(*_bounds(value, resampled))


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
