"""The one schema that everything downstream of an evaluation reads: tables, figures, pages and comparisons."""

import csv
import json
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from vitkit.errors import DataError, UsageError
from vitkit.evaluation.profiles.found import Certificate, DriftProfile
from vitkit.evaluation.tree import read_tree
from vitkit.files import replacing

SCHEMA_VERSION = 1
CLEAN = "clean/0"


@dataclass(frozen=True)
class Interval:
    """A number and its 95 % percentile bootstrap interval; None where it is undefined, or where a bound cannot be told."""

    value: float | None
    ci_low: float | None = None
    ci_high: float | None = None


@dataclass(frozen=True)
class ModelInfo:
    """Which model was evaluated; ``fingerprint`` is a hash of its weights."""

    name: str
    fingerprint: str
    parameters: int
    num_classes: int
    random_weights: bool = False


@dataclass(frozen=True)
class DataInfo:
    """Which samples it was evaluated on; ``fingerprint`` is a hash of their ids, labels and content."""

    name: str = "loader"
    split: str = ""
    n: int = 0
    classes: list[str] = field(default_factory=list)
    fingerprint: str = ""


@dataclass(frozen=True)
class SuiteInfo:
    """Which suite was run: its name, and the plain tree from which it can be made again."""

    name: str
    config: dict[str, Any]


@dataclass(frozen=True)
class ConditionResult:
    """One condition at one severity.

    Args:
        id: ``suite.condition/severity``, unique in a run.
        suite: Group of conditions: occlusion, brightness; "clean" for the untouched images.
        condition: Name within the group.
        title: What a reader sees.
        severity: In ``unit``.
        unit: Of the severity, in words.
        order: Place in the run, 0 for the clean pass.
        params: What the operation was told and what it did, e.g. ``fill``, ``grid``, and the mean hidden ``area``.
        clipped: Share of the images' values that were cut to [0, 1].
        n: Samples; 0 if skipped.
        skipped: Why it could not be run, or None.
        picture: Strip of what the model saw, relative to the run's folder, or None.
        metrics: accuracy, nll, brier, ece, adaptive_ece, auroc, aurc, accuracy_at_80, accuracy_at_50.
    """

    id: str
    suite: str
    condition: str
    title: str
    severity: float
    unit: str
    order: int
    params: dict[str, Any]
    clipped: float
    n: int
    skipped: str | None
    picture: str | None
    metrics: dict[str, Interval]


@dataclass(frozen=True)
class Threshold:
    """Where accuracy first falls below a threshold, going from the identity outwards.

    Args:
        accuracy: The threshold.
        severity: Where it is crossed, by linear interpolation between severities. The value is None if it never is; a bound
            is None if it lies beyond the last severity that was measured.
        never_below: Whether the accuracy stays above at every severity.
        share_below: Share of bootstrap resamples in which it falls below.
    """

    accuracy: float
    severity: Interval
    never_below: bool
    share_below: float


@dataclass(frozen=True)
class Curve:
    """Accuracy of one condition over all its severities, the clean accuracy at ``identity`` among them.

    ``auc`` is the area by the trapezoid rule divided by the range of severities, so it lies in [0, 1]. ``flip_probability`` is
    the share of predictions that change from one severity to the next, a mean over the steps; None in older files.
    """

    suite: str
    condition: str
    title: str
    unit: str
    identity: float
    severities: list[float]
    auc: Interval
    threshold: Threshold
    flip_probability: Interval | None = None


@dataclass(frozen=True)
class Point:
    """A paired difference of accuracies at one severity."""

    severity: float
    difference: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True)
class Comparison:
    """Two conditions on the same samples, minuend minus subtrahend in accuracy; ``auc`` is the difference of their areas."""

    name: str
    suite: str
    minuend: str
    subtrahend: str
    points: list[Point]
    auc: Interval


@dataclass(frozen=True)
class CorruptionError:
    """Mean corruption error against AlexNet, and the relative one; see :func:`vitkit.metrics.mean_corruption_error`.

    Args:
        mce: Mean over the fifteen corruptions, as a share: 1 is AlexNet's. Undefined where it was refused.
        relative: The same of the errors beyond the clean one.
        corruptions: Corruption error of each.
        refused: Why there is no ``mce``, or None.
    """

    mce: Interval
    relative: Interval
    corruptions: dict[str, Interval]
    refused: str | None


@dataclass(frozen=True)
class WorstSample:
    """A sample on which the model fails.

    Args:
        row: Its place in the data, from 0.
        id: As in ``samples.parquet``.
        label: Index of its class.
        prediction: Index of the class that the model says of the untouched image.
        confidence: Probability of that.
        share: Share of severities at which the model is wrong on it, a mean over conditions; None if there are none.
        first: Id of the condition at the mildest severity at which the model is wrong, as a share of the way to the farthest one;
            None for a sample that is wrong when clean.
        mistaken_for: Index of the class that the model says there.
        picture: The untouched image, and beside it what the model saw at ``first``; relative to the run's folder, or None.
    """

    row: int
    id: str
    label: int
    prediction: int
    confidence: float
    share: float | None
    first: str | None
    mistaken_for: int | None
    picture: str | None


@dataclass(frozen=True)
class Worst:
    """Samples that are right when clean and break most, and those that are wrong when clean and surest; at most twelve each."""

    broken: list[WorstSample]
    confident: list[WorstSample]


@dataclass(frozen=True)
class Results:
    """Everything an evaluation found out, as ``results.json`` holds it.

    ``preprocess`` is None for a model that carries none. ``created`` is the time the run began, ISO 8601 in UTC. ``mce`` is None
    in older files. ``resampled_by`` is what the intervals draw: "sample", or "group" where the data say which samples belong
    together, such as a patient's; ``units`` is how many of these there are, None in older files. ``profiles`` and ``certificate``
    are None where the suite has no profiles. ``worst`` is None in older files.
    """

    schema_version: int
    created: str
    vitkit: str
    git: str | None
    command: str
    seed: int
    packages: dict[str, str]
    hardware: str
    model: ModelInfo
    data: DataInfo
    preprocess: dict[str, Any] | None
    suite: SuiteInfo
    warnings: list[str]
    conditions: list[ConditionResult]
    curves: list[Curve]
    comparisons: list[Comparison]
    resampled_by: str = "sample"
    units: int | None = None
    mce: CorruptionError | None = None
    profiles: list[DriftProfile] | None = None
    certificate: Certificate | None = None
    worst: Worst | None = None

    @property
    def clean(self) -> ConditionResult:
        """The untouched images."""
        return self.condition(CLEAN)

    def condition(self, identifier: str) -> ConditionResult:
        """The condition with this id.

        Raises:
            UsageError: There is none.
        """
        found = {condition.id: condition for condition in self.conditions}
        if identifier not in found:
            raise UsageError(f"condition {identifier!r}", f"one of {', '.join(found)}", "Choose one of these.")
        return found[identifier]

    def curve(self, suite: str, condition: str) -> Curve:
        """The curve of one condition.

        Raises:
            UsageError: There is none.
        """
        found = {(curve.suite, curve.condition): curve for curve in self.curves}
        if (suite, condition) not in found:
            names = ", ".join(".".join(pair) for pair in found) or "no curve at all"
            raise UsageError(f"curve {suite}.{condition}", f"one of {names}", "Choose one of these, or run a suite that has it.")
        return found[suite, condition]

    def at(self, curve: Curve) -> list[ConditionResult]:
        """The conditions of a curve, one for each of its severities, in their order."""
        chosen = {curve.identity: self.clean} | {
            condition.severity: condition
            for condition in self.conditions
            if (condition.suite, condition.condition) == (curve.suite, curve.condition) and condition.skipped is None
        }
        return [chosen[severity] for severity in curve.severities]

    def rows(self) -> list[dict[str, Any]]:
        """The tidy table of ``results.csv``: one row for each metric; the metrics of a curve have no severity."""
        rows = [
            {"suite": c.suite, "condition": c.condition, "severity": c.severity, "metric": metric, **asdict(value), "n": c.n}
            for c in self.conditions
            for metric, value in c.metrics.items()
        ]
        for curve in self.curves:
            metrics = {"auc": curve.auc, "threshold_severity": curve.threshold.severity}
            if curve.flip_probability is not None:
                metrics["flip_probability"] = curve.flip_probability
            for metric, value in metrics.items():
                name = {"suite": curve.suite, "condition": curve.condition, "severity": None, "metric": metric}
                rows.append({**name, **asdict(value), "n": self.data.n})
        if self.mce is not None and self.mce.refused is None:
            whole = {"suite": "corruptions", "condition": "", "severity": None, "n": self.data.n}
            rows += [{**whole, "metric": name, **asdict(getattr(self.mce, key))} for name, key in
                     (("mce", "mce"), ("relative_mce", "relative"))]  # fmt: skip
        return rows

    def save(self, folder: Path | str) -> Path:
        """Write ``results.json``, with a checksum, and ``results.csv`` into a folder, and return the path of the former."""
        folder = Path(folder)
        with replacing(folder / "results.csv") as path, path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["suite", "condition", "severity", "metric", "value", "ci_low", "ci_high", "n"])
            writer.writeheader()
            writer.writerows(self.rows())
        tree = json.loads(json.dumps(asdict(self), allow_nan=False))  # as a reader has it
        with replacing(folder / "results.json") as path:
            text = json.dumps(tree | {"checksum": _checksum(tree)}, indent=1, ensure_ascii=False)
            path.write_text(text + "\n", encoding="utf-8")
        return folder / "results.json"


def load_results(path: Path | str) -> Results:
    """Read the results of a run.

    Args:
        path: The run's folder, or its ``results.json``.

    Raises:
        UsageError: There is no such file.
        DataError: It is no results file, one of another schema, or one that was edited after it was written.
    """
    path = Path(path)
    path = path / "results.json" if path.is_dir() else path
    if not path.is_file():
        raise UsageError(
            f"no file {path}", "the folder of a finished evaluation or its results.json", "Run vitkit evaluate first."
        )
    remedy = "Evaluate again into an empty folder, or read it with the version of vitkit that wrote it."
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no JSON ({error})", "results of vitkit evaluate", remedy) from error
    version = tree.get("schema_version") if isinstance(tree, dict) else None
    if version != SCHEMA_VERSION:
        raise DataError(f"{path} has schema_version {version}", f"{SCHEMA_VERSION}", remedy)
    checksum = tree.pop("checksum", None)  # older files have none
    results: Results = read_tree(Results, tree, str(path))
    if checksum is not None and checksum != _checksum(tree):
        remedy = f"`vitkit report {path.parent}` makes it again from the samples."
        raise DataError(f"{path} is not what was written (its checksum differs)", "results that nobody has edited", remedy)
    return results


def _checksum(tree: dict[str, Any]) -> str:
    return f"sha256:{sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()}"
