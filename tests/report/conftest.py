"""Results made by hand, of which every number on the page is known."""

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from vitkit.evaluation.results import (
    Comparison,
    ConditionResult,
    Curve,
    DataInfo,
    Interval,
    ModelInfo,
    Point,
    Results,
    SuiteInfo,
    Threshold,
    Worst,
    WorstSample,
)

HALF = 0.04  # half the width of every interval of an accuracy


def accuracy(value: float) -> Interval:
    return Interval(value, max(value - HALF, 0.0), min(value + HALF, 1.0))


def condition(suite: str, name: str, severity: float, value: float, **changes) -> ConditionResult:
    made = ConditionResult(
        id=f"{suite}.{name}/{severity:g}" if suite != name else f"{suite}/{severity:g}",
        suite=suite,
        condition=name,
        title=name,
        severity=severity,
        unit="share of area",
        order=0,
        params={},
        clipped=0.0,
        n=360,
        skipped=None,
        picture=None,
        metrics={"accuracy": accuracy(value), "nll": Interval(0.5, 0.4, 0.6), "auroc": Interval(None)},
    )
    return replace(made, **changes)


def line(
    results: Results,
    suite: str,
    name: str,
    points: dict[float, float],
    found: Interval | None = None,
    *,
    identity: float = 0.0,
    unit: str = "share of area",
    title: str | None = None,
    share_below: float = 1.0,
    areas: dict[float, float] | None = None,
) -> Results:
    """The results with one more curve: accuracies at severities, and where it falls below 80 %."""
    title = title or name.capitalize()
    points = {identity: results.clean.metrics["accuracy"].value} | points
    made = [
        condition(
            suite, name, severity, value, title=title, unit=unit, order=len(results.conditions) + index,
            params={} if areas is None else {"area": areas[severity]},
            picture=f"pictures/{suite}.{name}_{severity:g}.png",
        )
        for index, (severity, value) in enumerate(points.items()) if severity != identity
    ]  # fmt: skip
    found = found or Interval(None)
    threshold = Threshold(0.8, found, never_below=found.value is None, share_below=share_below)
    curve = Curve(suite, name, title, unit, identity, sorted(points), Interval(0.7, 0.65, 0.75), threshold)
    return replace(results, conditions=[*results.conditions, *made], curves=[*results.curves, curve])


@pytest.fixture(scope="session")
def empty() -> Results:
    """Only the untouched images, at 97.2 %."""
    return Results(
        schema_version=1,
        created="2026-01-31T12:00:00+00:00",
        vitkit="0.1.0",
        git="abc1234",
        command="vitkit evaluate runs/digits/best.ckpt --suite quick --out runs/digits/robustness",
        seed=7,
        packages={"torch": "2.6.0", "timm": "1.0.9"},
        hardware="x86_64, 2 cores, cpu",
        model=ModelInfo("runs/digits/best.ckpt", "sha256:cafe", 123456, 10),
        data=DataInfo("Digits", "test", 360, [str(digit) for digit in range(10)], "sha256:beef"),
        preprocess={"size": [8, 8], "mean": [0.3], "std": [0.37], "interpolation": "bicubic", "crop": 1.0},
        suite=SuiteInfo("quick", {"name": "quick", "conditions": []}),
        warnings=[],
        conditions=[condition("clean", "clean", 0.0, 0.972, title="Clean", unit="")],
        curves=[],
        comparisons=[],
    )


@pytest.fixture(scope="session")
def results(empty: Results) -> Results:
    """Two curves of occlusion with their comparison, one of brightness with two sides, and a condition that was skipped."""
    made = line(
        empty, "occlusion", "random.painted", {0.3: 0.9, 0.6: 0.7, 0.9: 0.2}, Interval(0.46, 0.41, 0.52),
        title="Random patches painted",
    )  # fmt: skip
    made = line(
        made, "occlusion", "random.removed", {0.3: 0.95, 0.6: 0.85, 0.9: 0.4}, Interval(0.63, 0.6, 0.68),
        title="Random patches removed",
    )  # fmt: skip
    made = line(
        made, "brightness", "gain", {0.5: 0.7, 2.0: 0.9}, Interval(0.7, 0.6, 0.8), identity=1.0, unit="factor", title="Gain"
    )
    skipped = condition(
        "brightness", "gamma", 2.0, 0.0, title="Gamma", n=0, skipped="the model takes no gamma", metrics={}, order=99
    )
    points = [Point(0.3, 0.05, 0.01, 0.09), Point(0.6, 0.15, 0.1, 0.2), Point(0.9, 0.2, 0.15, 0.25)]
    comparison = Comparison(
        "missingness bias", "occlusion", "random.removed", "random.painted", points, Interval(0.1, 0.06, 0.14)
    )
    return replace(made, conditions=[*made.conditions, skipped], comparisons=[comparison])


def worst(row: int, **changes) -> WorstSample:
    made = WorstSample(
        row, f"digits/{row}.png", 3, 3, 0.9996, 0.75, "occlusion.random.painted/0.6", 8, f"pictures/worst-{row}.png"
    )
    return replace(made, **changes)


@pytest.fixture(scope="session")
def failing(results: Results) -> Results:
    """The same with three samples that break and one that is wrong at once; the last of the former has no picture."""
    broken = [worst(4), worst(17, share=0.5, first="brightness.gain/2"), worst(40, share=0.25, first="gone/1", picture=None)]
    confident = [worst(9, prediction=7, confidence=1.0, first=None, mistaken_for=None)]
    return replace(results, worst=Worst(broken, confident))


@pytest.fixture
def run(results: Results, tmp_path: Path) -> Path:
    """The folder of a run, with a picture for every condition that names one."""
    return save(results, tmp_path / "run")


def save(results: Results, folder: Path) -> Path:
    results.save(folder)
    (folder / "pictures").mkdir(exist_ok=True)
    for index, made in enumerate(results.conditions):
        if made.picture is not None:
            Image.new("RGB", (404, 64), (20 * index % 256, 80, 120)).save(folder / made.picture)
    for sample in [] if results.worst is None else [*results.worst.broken, *results.worst.confident]:
        if sample.picture is not None:
            Image.new("RGB", (64, 64), (sample.row, 0, 0)).save(folder / sample.picture)
    return folder


@pytest.fixture
def builders():
    """``line`` and ``save``, for tests that need results of their own."""
    return line, save
