"""Results from stored samples, without the model."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
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
from vitkit.evaluation.storage.folder import read_run, read_samples
from vitkit.evaluation.summary.imagenet_c import SUITE, errors, obstacle
from vitkit.evaluation.summary.measures import COLUMNS, measure, remeasure
from vitkit.evaluation.summary.worst import COLUMNS as SHOWN
from vitkit.evaluation.summary.worst import find_worst
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

_HELD = 2**20  # values of several conditions that are resampled at once: 4 MiB
_COMPARED = {"removed": ("painted", "missingness bias")}


@dataclass(frozen=True)
class _Measured:
    """A condition with its accuracy in every resample and its predictions; empty if it was skipped."""

    entry: dict[str, Any]
    metrics: dict[str, Interval]
    accuracy: float
    resampled: Float[np.ndarray, " resamples"]
    predictions: Int[np.ndarray, " samples"]


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
    bootstrap = Bootstrap(info["data"]["n"], groups=whose, seed=info["seed"])
    measured = list(_measure(folder, bootstrap))
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
            "curves": [line.curve(config["threshold"], flip) for line, flip in zip(lines, _flips(lines, bootstrap), strict=True)],
            "comparisons": list(_compare(lines)),
            "resampled_by": "sample" if whose is None else "group",
            "units": bootstrap.units,
            **read_profiles(folder),
            "mce": _corruption_error(measured, info["data"]["classes"]),
            "worst": _worst(folder, measured[1:]),
        }
    )
    results.save(folder)
    return results


def _condition(item: _Measured) -> ConditionResult:
    entry = {key: value for key, value in item.entry.items() if key not in ("identity", "classes")}
    return ConditionResult(**entry, metrics=item.metrics)


def _measure(folder: Path, bootstrap: Bootstrap) -> Iterator[_Measured]:
    """The conditions one after the other; as many are resampled together as fit."""
    waiting: list[tuple[dict[str, Any], dict[str, float], np.ndarray, np.ndarray]] = []
    for entry, table in read_samples(folder, COLUMNS):
        values, columns = measure(table) if entry["skipped"] is None else ({}, np.empty((0, 0)))
        waiting.append((entry, values, columns, table["prediction"].to_numpy()))
        if sum(columns.size for _, _, columns, _ in waiting) > _HELD:
            yield from _resample(waiting, bootstrap)
            waiting = []
    yield from _resample(waiting, bootstrap)


def _resample(
    waiting: list[tuple[dict[str, Any], dict[str, float], np.ndarray, np.ndarray]], bootstrap: Bootstrap
) -> Iterator[_Measured]:
    present = [columns for entry, _, columns, _ in waiting if entry["skipped"] is None]
    blocks = iter(np.split(bootstrap.means(np.hstack(present)), len(present), axis=1) if present else [])
    for entry, values, _, predictions in waiting:
        if entry["skipped"] is not None:
            yield _Measured(entry, {}, 0.0, np.empty(0), predictions)
            continue
        resampled = remeasure(values, next(blocks))
        metrics = {name: _interval(value, resampled[name]) for name, value in values.items()}
        yield _Measured(entry, metrics, values["accuracy"], resampled["accuracy"].copy(), predictions)


def _worst(folder: Path, measured: list[_Measured]) -> Worst:
    _, clean = next(read_samples(folder, SHOWN))
    return find_worst(clean, [(item.entry, item.predictions) for item in measured if item.entry["skipped"] is None], folder)


def read_groups(folder: Path) -> Int[np.ndarray, " samples"] | None:
    """The group of each sample of a run, by number; None if no sample names one. A sample without one is its own."""
    _, table = next(read_samples(folder, ["group"]))
    names = table["group"].to_pylist()
    if all(name is None for name in names):
        return None
    # A group and a sample that are called the same are not the same.
    numbers: dict[Any, int] = {}
    keys = [(index,) if name is None else name for index, name in enumerate(names)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys])


class _Line:
    """The accuracies of a condition over its severities, the clean ones at the identity unless it was run there itself."""

    def __init__(self, clean: _Measured, items: list[_Measured]) -> None:
        self.entry = items[0].entry
        self.identity = float(self.entry["identity"])
        points = {self.identity: clean} | {item.entry["severity"]: item for item in items}
        self.severities = np.array(sorted(points))
        self.values = np.array([points[severity].accuracy for severity in self.severities])
        self.resampled = np.column_stack([points[severity].resampled for severity in self.severities])
        self.flips = flips(np.stack([points[severity].predictions for severity in self.severities]))

    def curve(self, threshold: float, flip: Interval) -> Curve:
        area = _interval(float(self.area(self.values)), self.area(self.resampled))
        names = {key: self.entry[key] for key in ("suite", "condition", "title", "unit", "identity")}
        severities, found = self.severities.tolist(), self._threshold(threshold)
        return Curve(**names, severities=severities, auc=area, threshold=found, flip_probability=flip)

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


def _flips(lines: list[_Line], bootstrap: Bootstrap) -> list[Interval]:
    if not lines:
        return []
    columns = np.column_stack([line.flips for line in lines])
    return [_interval(float(value), means) for value, means in zip(columns.mean(0), bootstrap.means(columns).T, strict=True)]


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
