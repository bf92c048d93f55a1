"""Results as an evaluation leaves them, made by hand."""

import pytest

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
)


def condition(suite: str, name: str, severity: float, accuracy: float, order: int) -> ConditionResult:
    return ConditionResult(
        id=f"{suite}.{name}/{severity:g}" if suite != name else f"{suite}/{severity:g}",
        suite=suite,
        condition=name,
        title=name.capitalize(),
        severity=severity,
        unit="share of area",
        order=order,
        params={"fill": "mean", "grid": [4, 4]},
        clipped=0.0,
        n=20,
        skipped=None,
        picture=None,
        metrics={
            "accuracy": Interval(accuracy, accuracy - 0.1, min(accuracy + 0.1, 1.0)),
            "auroc": Interval(None),
        },
    )


@pytest.fixture
def results() -> Results:
    curve = Curve(
        "occlusion",
        "random.painted",
        "Random patches painted",
        "share of area",
        0.0,
        [0.0, 0.5],
        Interval(0.8, 0.7, 0.9),
        Threshold(0.8, Interval(0.25, 0.1, None), never_below=False, share_below=0.9),
    )
    return Results(
        schema_version=1,
        created="2026-01-31T12:00:00+00:00",
        vitkit="0.1.0",
        git=None,
        command="vitkit evaluate best.ckpt",
        seed=0,
        packages={"torch": "2.6"},
        hardware="x86_64, 2 cores, cpu",
        model=ModelInfo("best.ckpt", "sha256:0", 123, 10),
        data=DataInfo("Digits", "test", 20, ["0", "1"], "sha256:1"),
        preprocess=None,
        suite=SuiteInfo("quick", {"name": "quick", "conditions": []}),
        warnings=[],
        conditions=[condition("clean", "clean", 0.0, 0.9, 0), condition("occlusion", "random.painted", 0.5, 0.7, 1)],
        curves=[curve],
        comparisons=[
            Comparison(
                "missingness bias",
                "occlusion",
                "random.removed",
                "random.painted",
                [Point(0.5, 0.1, 0.0, 0.2)],
                Interval(0.05, 0.0, 0.1),
            )
        ],
    )
