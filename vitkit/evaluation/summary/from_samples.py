"""Results from stored samples, without the model."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from vitkit.evaluation.profiles.store import read_profiles
from vitkit.evaluation.results import (
    SCHEMA_VERSION,
    Comparison,
    ConditionResult,
    CorruptionError,
    Curve,
    Interval,
    Point,
    Results,
    Threshold,
    Worst,
)
from vitkit.evaluation.storage.folder import read_run
from vitkit.evaluation.storage.samples import read_entries, read_samples
from vitkit.evaluation.summary.imagenet_c import SUITE, errors, obstacle
from vitkit.evaluation.summary.measures import COLUMNS, measure, remeasure
from vitkit.evaluation.summary.worst import COLUMNS as SHOWN
from vitkit.evaluation.summary.worst import Failures
from vitkit.evaluation.tree import read_tree
from vitkit.metrics import (
    ALEXNET,
    Bootstrap,
    area_under_curve,
    corruption_error,
    first_below,
    flips,
    mean_corruption_error,
    percentile_interval,
)

_FEW = 30  # samples or groups below which intervals are too narrow
_COMPARED = {"removed": ("painted", "missingness bias")}

Entry = dict[str, Any]
Predictions = Int[np.ndarray, " samples"]


@dataclass(frozen=True)
class _Measured:
    """A condition with its accuracy in every resample; empty if it was skipped."""

    entry: Entry
    metrics: dict[str, Interval]
    accuracy: float
    resampled: Float[np.ndarray, " resamples"]


def summarise(folder: str | Path) -> Results:
    """Compute ``results.json`` and ``results.csv`` from the stored samples of a run, and write them.

    Intervals are 95 % percentile intervals of 1000 resamples of the samples, or of their groups where the samples name any,
    seeded by the run's seed and shared by all conditions. Those of the AUROC and of the area under the risk-coverage curve are to
    first order (see :func:`vitkit.metrics.auroc`). Resampling adds the upward bias of the calibration error a second time, so its
    resamples are moved back by their mean excess.

    Raises:
        UsageError: No finished run is there.
        DataError: Its files cannot be read.
    """
    folder = Path(folder)
    info = read_run(folder)["info"]
    whose = read_groups(folder)
    bootstrap = Bootstrap(info["data"]["n"], groups=whose, seed=info["seed"], folder=folder)
    measured, lines, worst = _measure(folder, bootstrap)
    clean = measured[0]
    config = info["suite"]["config"]
    tree = info | {"model": info["model"] | {"num_classes": clean.entry["classes"]}}
    if bootstrap.units < _FEW:
        drawn = "samples" if whose is None else "groups"
        few = f"Intervals draw {bootstrap.units} {drawn}: with fewer than some {_FEW} they are too narrow."
        tree |= {"warnings": [*tree["warnings"], few]}
    plain = {"schema_version": SCHEMA_VERSION, **tree, "conditions": [], "curves": [], "comparisons": []}
    empty: Results = read_tree(Results, plain, str(folder / "run.json"))
    results = Results(
        **{
            **vars(empty),
            "conditions": [_condition(item) for item in measured],
            "curves": [line.curve(config["threshold"]) for line in lines],
            "comparisons": list(_compare(lines)),
            "resampled_by": "sample" if whose is None else "group",
            "units": bootstrap.units,
            **read_profiles(folder),
            "mce": _corruption_error(measured, info["data"]["classes"]),
            "worst": worst,
        }
    )
    results.save(folder)
    return results


def _condition(item: _Measured) -> ConditionResult:
    entry = {key: value for key, value in item.entry.items() if key not in ("identity", "classes")}
    return ConditionResult(**entry, metrics=item.metrics)


def _measure(folder: Path, bootstrap: Bootstrap) -> tuple[list[_Measured], list["_Line"], Worst]:
    """Every condition, every curve, and the worst samples, from one pass over what is stored.

    The samples of one condition at one severity are held at a time, and of the other severities of a curve the predictions.
    """
    _, shown = next(read_samples(folder, SHOWN))
    failures, samples = Failures(shown), read_samples(folder, COLUMNS)
    entries = read_entries(folder)
    left = Counter(map(_name, entries[1:]))
    lines: dict[tuple[str, str], _Line | None] = dict.fromkeys(map(_name, entries[1:]))
    waiting: dict[tuple[str, str], list[tuple[_Measured, Predictions]]] = {name: [] for name in left}
    measured, clean = [], None
    for entry, table in samples:
        item, predictions = _resample(entry, table, bootstrap), table["prediction"].to_numpy()
        del table  # before the next is read
        measured.append(item)
        if clean is None:
            clean = (item, predictions)
            continue
        name = _name(entry)
        left[name] -= 1
        if entry["skipped"] is None:
            waiting[name].append((item, predictions))
        if not left[name] and (found := waiting.pop(name)):
            failures.add([(item.entry, predictions) for item, predictions in found])
            line = _Line(clean, found, bootstrap)
            lines[name] = line if len(line.severities) > 1 else None
    return measured, [line for line in lines.values() if line is not None], failures.worst(folder)


def _name(entry: Entry) -> tuple[str, str]:
    return entry["suite"], entry["condition"]


def _resample(entry: Entry, table: pa.Table, bootstrap: Bootstrap) -> _Measured:
    if entry["skipped"] is not None:
        return _Measured(entry, {}, 0.0, np.empty(0))
    values, columns = measure(table)
    resampled = remeasure(values, bootstrap.means(columns))
    metrics = {name: _interval(value, resampled[name]) for name, value in values.items()}
    return _Measured(entry, metrics, values["accuracy"], resampled["accuracy"].copy())


def read_groups(folder: Path) -> Int[np.ndarray, " samples"] | None:
    """The group of each sample of a run, by number; None if no sample names one. A sample without one is its own."""
    _, table = next(read_samples(folder, ["group"]))
    if table["group"].null_count == len(table):
        return None
    names = table["group"].to_pylist()
    # A group and a sample that are called the same are not the same.
    numbers: dict[Any, int] = {}
    keys = [(index,) if name is None else name for index, name in enumerate(names)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys])


class _Line:
    """The accuracies of a condition over its severities, the clean ones at the identity unless it was run there itself."""

    def __init__(
        self, clean: tuple[_Measured, Predictions], found: list[tuple[_Measured, Predictions]], bootstrap: Bootstrap
    ) -> None:
        self.entry = found[0][0].entry
        self.identity = float(self.entry["identity"])
        points = {self.identity: clean} | {item.entry["severity"]: (item, predictions) for item, predictions in found}
        self.severities = np.array(sorted(points))
        items, predictions = zip(*(points[severity] for severity in self.severities), strict=True)
        self.values = np.array([item.accuracy for item in items])
        self.resampled = np.column_stack([item.resampled for item in items])
        self.flips = _flips(np.stack(predictions), bootstrap)

    def curve(self, threshold: float) -> Curve:
        area = _interval(float(self.area(self.values)), self.area(self.resampled))
        names = {key: self.entry[key] for key in ("suite", "condition", "title", "unit", "identity")}
        severities, found = self.severities.tolist(), self._threshold(threshold)
        return Curve(**names, severities=severities, auc=area, threshold=found, flip_probability=self.flips)

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


def _flips(predictions: Int[np.ndarray, "severities samples"], bootstrap: Bootstrap) -> Interval:
    if len(predictions) < 2:
        return Interval(None)
    found = flips(predictions)[:, None]
    return _interval(float(found.mean()), bootstrap.means(found)[:, 0])


def _corruption_error(measured: list[_Measured], classes: list[str]) -> CorruptionError:
    clean, found = measured[0], {}
    for item in measured[1:]:
        # Other constants, such as CIFAR's, are other corruptions of the same name.
        known = item.entry["params"].get("constants", "imagenet") == "imagenet"
        if item.entry["suite"] == SUITE and item.entry["skipped"] is None and known:
            key = (item.entry["condition"], item.entry["severity"])
            found[key] = np.append(item.accuracy, item.resampled)
    if reason := obstacle(classes, clean.entry["classes"], found):
        return CorruptionError(Interval(None), Interval(None), {}, reason)
    wrong = errors(found)
    mean = mean_corruption_error(wrong)
    relative = mean_corruption_error(wrong, 1 - np.append(clean.accuracy, clean.resampled))
    each = {name: corruption_error(error, ALEXNET[name]) for name, error in wrong.items()}
    return CorruptionError(_first(mean), _first(relative), {name: _first(rows) for name, rows in each.items()}, None)


def _first(rows: np.ndarray) -> Interval:
    return _interval(float(rows[0]), rows[1:])


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
