"""Models against one another on the same samples: paired differences, with what many of them at once allow to say."""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from vitkit import __version__
from vitkit.errors import UsageError
from vitkit.evaluation.comparison.comparable import Flag, check_comparable, check_same_samples, flags
from vitkit.evaluation.results import CLEAN, DataInfo, Interval, Results, SuiteInfo, load_results
from vitkit.evaluation.storage.folder import read_run
from vitkit.evaluation.storage.samples import read_samples
from vitkit.evaluation.summary import read_groups
from vitkit.files import replacing
from vitkit.metrics import (
    Bootstrap,
    area_weights,
    error_consistency,
    holm,
    percentile_interval,
    sign_flip_test,
    simultaneous_interval,
)

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Run:
    """One of the runs: what it is called here, and which model it was of."""

    label: str
    model: str
    fingerprint: str
    parameters: int
    accuracy: Interval


@dataclass(frozen=True)
class Difference:
    """A run minus the baseline, paired by sample.

    Args:
        run: Label of the run.
        suite: Group of conditions; "clean" for the untouched images.
        condition: Name within the group.
        severity: In the condition's unit; None for a curve's area.
        metric: "auc", the area under accuracy over severity, or "accuracy".
        baseline: The baseline's value.
        value: The run's.
        difference: The run's minus the baseline's, with its 95 % interval.
        simultaneous: The same with bounds that hold all differences of its family at once in 95 % of the resamples.
        p: Two-sided, by flipping signs.
        p_holm: The same, adjusted for all of its family.
        family: "areas", with the clean accuracies among them, or "points", the accuracies at single severities.
    """

    run: str
    suite: str
    condition: str
    severity: float | None
    metric: str
    baseline: float
    value: float
    difference: Interval
    simultaneous: Interval
    p: float
    p_holm: float
    family: str


@dataclass(frozen=True)
class Consistency:
    """Error consistency of two runs under a condition; undefined where neither makes a mistake, or both nothing but."""

    condition: str
    first: str
    second: str
    kappa: Interval


@dataclass(frozen=True)
class RunComparison:
    """Runs against a baseline, as ``comparison.json`` holds it.

    Args:
        schema_version: 1.
        vitkit: Version that compared them.
        baseline: Label of the run that the others are held against.
        runs: In the order they were given.
        data: What all were evaluated on, as the baseline names it.
        suite: What all went through.
        seed: Of all of them.
        resampled_by: What intervals draw and whose signs are flipped: "sample" or "group".
        units: How many of these there are.
        flags: What differs between the runs besides the model.
        left_out: What could not be compared, with the reason.
        differences: Of every curve's area and every condition's accuracy.
        consistency: Of every two runs under every condition.
    """

    schema_version: int
    vitkit: str
    baseline: str
    runs: list[Run]
    data: DataInfo
    suite: SuiteInfo
    seed: int
    resampled_by: str
    units: int
    flags: list[Flag]
    left_out: list[str]
    differences: list[Difference]
    consistency: list[Consistency]

    @property
    def others(self) -> list[Run]:
        """The runs that are not the baseline."""
        return [run for run in self.runs if run.label != self.baseline]

    def rows(self) -> Iterator[dict[str, Any]]:
        """The tidy table of ``comparison.csv``."""
        for found in self.differences:
            row = {key: value for key, value in asdict(found).items() if key not in ("difference", "simultaneous")}
            bounds = {"simultaneous_low": found.simultaneous.ci_low, "simultaneous_high": found.simultaneous.ci_high}
            interval = {"difference": found.difference.value, **_ends(found.difference)}
            yield row | interval | bounds | {"n": self.data.n}

    def save(self, folder: Path | str) -> Path:
        """Write ``comparison.json`` and ``comparison.csv`` into a folder, and return the path of the former."""
        folder = Path(folder)
        rows = list(self.rows())
        with replacing(folder / "comparison.csv") as path, path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        with replacing(folder / "comparison.json") as path:
            path.write_text(json.dumps(asdict(self), indent=1, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")
        return folder / "comparison.json"


def compare(folders: Sequence[str | Path], baseline: str | Path | None = None) -> tuple[RunComparison, list[Results]]:
    """Compare finished evaluations of the same samples under the same suite and seed.

    Differences are paired by sample, or by group where the samples name any. Intervals are percentile intervals of the bootstrap,
    p-values come from flipping signs (:func:`vitkit.metrics.sign_flip_test`), adjusted by Holm's method over all curves and other
    runs, and apart from that over all severities.

    Args:
        folders: Of the runs, two or more.
        baseline: The folder that the others are held against; the first if not given.

    Returns:
        The comparison, and the results of every run in the same order.

    Raises:
        UsageError: Fewer than two runs, or runs that cannot be compared: the message says which field differs.
        DataError: A folder that cannot be read.
    """
    paths = [Path(folder) for folder in folders]
    first = _place(paths, baseline)
    results = [load_results(path) for path in paths]
    keys = [read_run(path)["key"] for path in paths]
    labels = _labels(paths, results)
    check_comparable(results, keys, labels, first)
    check_same_samples(paths, labels, first)
    whose = read_groups(paths[first])
    reference = results[first]
    names, left_out = _common(results, labels)
    correct = [_correct(path, names) for path in paths]
    bootstrap = Bootstrap(reference.data.n, groups=whose, seed=reference.seed)
    columns = _columns(reference, names)
    weights = np.array([weight for _, weight in columns])
    found = []
    for index, answers in enumerate(correct):
        if index == first:
            continue
        change = weights @ (answers.astype(np.int8) - correct[first].astype(np.int8))
        p_values = sign_flip_test(change.T, groups=whose, seed=reference.seed)
        replicates = bootstrap.means(change.T)
        found.append((labels[index], weights @ answers.mean(1), weights @ correct[first].mean(1), p_values, replicates))
    comparison = RunComparison(
        schema_version=SCHEMA_VERSION,
        vitkit=__version__,
        baseline=labels[first],
        runs=[_run(label, result) for label, result in zip(labels, results, strict=True)],
        data=reference.data,
        suite=reference.suite,
        seed=reference.seed,
        resampled_by="sample" if whose is None else "group",
        units=bootstrap.units,
        flags=flags(results, keys),
        left_out=left_out,
        differences=_differences([name for name, _ in columns], found),
        consistency=_consistency(names, labels, correct, bootstrap),
    )
    return comparison, results


Name = tuple[str, str, float | None, str]  # suite, condition, severity and metric
Found = tuple[str, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _place(paths: list[Path], baseline: str | Path | None) -> int:
    if len(paths) < 2:
        raise UsageError(f"{len(paths)} run", "two or more", "Name the folders of two evaluations.")
    resolved = [path.resolve() for path in paths]
    twice = [str(path) for index, path in enumerate(paths) if resolved[index] in resolved[:index]]
    if twice:
        raise UsageError(f"{twice[0]} for the second time", "different runs", "Name each of them once.")
    if baseline is None:
        return 0
    if Path(baseline).resolve() not in resolved:
        shown = ", ".join(map(str, paths))
        raise UsageError(f"--baseline {baseline}", f"one of {shown}", "Name one of the runs that are compared.")
    return resolved.index(Path(baseline).resolve())


def _labels(paths: list[Path], results: list[Results]) -> list[str]:
    """The models' names, or else the folders', whichever tells the runs apart."""
    for names in ([result.model.name for result in results], [path.name for path in paths]):
        if len(set(names)) == len(names) and all(names):
            return names
    return [str(path) for path in paths]


def _run(label: str, results: Results) -> Run:
    model = results.model
    return Run(label, model.name, model.fingerprint, model.parameters, results.clean.metrics["accuracy"])


def _common(results: list[Results], labels: list[str]) -> tuple[list[str], list[str]]:
    """Ids of the conditions that every run has, and why the others are left out."""
    names, reasons = [], {}
    for condition in results[0].conditions:
        skipped = [
            (label, found.skipped)
            for label, result in zip(labels, results, strict=True)
            for found in result.conditions
            if found.id == condition.id and found.skipped is not None
        ]
        if skipped:
            label, reason = skipped[0]
            reasons[condition.suite, condition.condition] = f"{condition.title}: not measured in {label} ({reason})"
        else:
            names.append(condition.id)
    return names, list(reasons.values())


def _correct(path: Path, names: list[str]) -> Bool[np.ndarray, "conditions samples"]:
    found = {}
    for entry, table in read_samples(path, ["label", "prediction"]):
        if entry["id"] in names:
            found[entry["id"]] = table["label"].to_numpy() == table["prediction"].to_numpy()
    return np.stack([found[name] for name in names])


def _columns(reference: Results, names: list[str]) -> list[tuple[Name, Float[np.ndarray, " conditions"]]]:
    """What is compared, each as a weighted sum over the conditions of whether a sample is right."""
    place = {name: index for index, name in enumerate(names)}
    unit = np.eye(len(names))
    columns: list[tuple[Name, np.ndarray]] = [(("clean", "clean", 0.0, "accuracy"), unit[place[CLEAN]])]
    for curve in reference.curves:
        along = [condition.id for condition in reference.at(curve)]
        if all(identifier in place for identifier in along):
            weights = area_weights(np.array(curve.severities)) @ unit[[place[identifier] for identifier in along]]
            columns.append(((curve.suite, curve.condition, None, "auc"), weights))
    points = [condition for condition in reference.conditions if condition.id in place and condition.id != CLEAN]
    columns += [((point.suite, point.condition, point.severity, "accuracy"), unit[place[point.id]]) for point in points]
    return columns


def _differences(names: list[Name], found: list[Found]) -> list[Difference]:
    areas = np.array([metric == "auc" or suite == "clean" for suite, _, _, metric in names])
    made: dict[tuple[int, int], Difference] = {}
    for family, chosen in (("areas", np.flatnonzero(areas)), ("points", np.flatnonzero(~areas))):
        if not len(chosen):
            continue
        adjusted = holm(np.concatenate([p_values[chosen] for *_, p_values, _ in found]))
        differences = np.concatenate([(values - against)[chosen] for _, values, against, _, _ in found])
        replicates = np.hstack([replicates[:, chosen] for *_, replicates in found])
        low, high = percentile_interval(replicates)
        wide_low, wide_high = simultaneous_interval(differences, replicates)
        for index in range(len(differences)):
            run, column = index // len(chosen), int(chosen[index % len(chosen)])
            label, values, against, p_values, _ = found[run]
            suite, condition, severity, metric = names[column]
            difference = float(differences[index])
            made[run, column] = Difference(
                label, suite, condition, severity, metric, float(against[column]), float(values[column]),
                Interval(difference, min(float(low[index]), difference), max(float(high[index]), difference)),
                Interval(difference, float(wide_low[index]), float(wide_high[index])),
                float(p_values[column]), float(adjusted[index]), family,
            )  # fmt: skip
    return [made[key] for key in sorted(made)]


def _consistency(
    names: list[str], labels: list[str], correct: list[Bool[np.ndarray, "conditions samples"]], bootstrap: Bootstrap
) -> list[Consistency]:
    """Of every two runs under every condition; the interval is that of the clean images, which one looks at first."""
    clean = names.index(CLEAN)
    found = []
    for (i, first), (j, second) in combinations(enumerate(correct), 2):
        kappas = error_consistency(first, second)
        a, b = first[clean], second[clean]
        same, p, q = bootstrap.means(np.column_stack([a == b, a, b]).astype(float)).T
        expected = p * q + (1 - p) * (1 - q)
        replicates = np.divide(same - expected, 1 - expected, out=np.full(len(p), np.nan), where=expected < 1 - 1e-12)
        for index, kappa in enumerate(kappas):
            value = None if np.isnan(kappa) else float(kappa)
            if index == clean and value is not None and not np.isnan(replicates).any():
                low, high = (float(end) for end in percentile_interval(replicates))
                interval = Interval(value, min(low, value), max(high, value))
            else:
                interval = Interval(value)
            found.append(Consistency(names[index], labels[i], labels[j], interval))
    return found


def _ends(interval: Interval) -> dict[str, float | None]:
    return {"ci_low": interval.ci_low, "ci_high": interval.ci_high}
