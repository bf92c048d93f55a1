"""--fail-under: which numbers may be named, and when they are missed."""

import pytest

from vitkit.cli.fail_under import Requirement
from vitkit.errors import UsageError
from vitkit.evaluation.results import ConditionResult, Curve, DataInfo, Interval, ModelInfo, Results, SuiteInfo, Threshold

CONDITIONS = [
    ("occlusion", "random.painted", [0.3, 0.6], 0.0),
    ("occlusion", "random.removed", [0.3], 0.0),
    ("brightness", "gain", [0.5, 2.0], 1.0),
]


def condition(suite, name, severity, accuracy, skipped=None):
    identifier = f"{suite}.{name}/{severity:g}" if suite != "clean" else "clean/0"
    metrics = {} if skipped else {"accuracy": Interval(accuracy), "auroc": Interval(None)}
    return ConditionResult(identifier, suite, name, name, severity, "", 0, {}, 0.0, 5, skipped, None, metrics)


@pytest.fixture
def results():
    crossing = Threshold(0.8, Interval(0.45), never_below=False, share_below=1.0)
    never = Threshold(0.8, Interval(None), never_below=True, share_below=0.0)
    return Results(
        schema_version=1, created="", vitkit="", git=None, command="", seed=0, packages={}, hardware="",
        model=ModelInfo("m", "", 1, 2), data=DataInfo(), preprocess=None, suite=SuiteInfo("s", {}), warnings=[],
        conditions=[
            condition("clean", "clean", 0.0, 0.95),
            condition("occlusion", "random.painted", 0.3, 0.9),
            condition("occlusion", "random.removed", 0.3, None, skipped="no tokens to remove"),
        ],
        curves=[
            Curve("occlusion", "random.painted", "", "", 0.0, [0.0, 0.3], Interval(0.7), crossing),
            Curve("brightness", "gain", "", "", 1.0, [1.0, 0.3], Interval(0.9), never),
        ],
        comparisons=[],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reached"),
    [
        ("clean.accuracy=0.95", True),
        ("clean.accuracy=0.951", False),
        ("occlusion.random.painted.auc=0.7", True),
        ("occlusion.random.painted.auc=0.71", False),
        ("occlusion.random.painted.threshold=0.45", True),
        ("occlusion.random.painted.threshold=0.5", False),
        ("occlusion.random.painted/0.3.accuracy=0.9", True),
        ("occlusion.random.painted/0.3.accuracy=0.91", False),
        ("brightness.gain.threshold=100", True),
        ("clean.auroc=0", False),
        ("occlusion.random.removed.auc=0", False),
        ("occlusion.random.removed/0.3.accuracy=0", False),
    ],
)
def test_reached_or_missed(results, text, reached):
    line = Requirement.parse(text).missed(results)
    assert (line is None) == reached
    if line:
        metric, _, value = text.rpartition("=")
        assert line.startswith(f"{metric}: found ")
        assert line.endswith(f"needed at least {value}")


def test_what_could_not_be_run_says_why(results):
    assert "no tokens to remove" in Requirement.parse("occlusion.random.removed.auc=0.1").missed(results)


@pytest.mark.parametrize("text", ["clean.accuracy", "=0.5", "clean.accuracy=", "clean.accuracy=high", "clean.accuracy=nan"])
def test_not_a_metric_and_a_value(text):
    with pytest.raises(UsageError, match="METRIC=VALUE"):
        Requirement.parse(text)


@pytest.mark.parametrize(
    "name",
    ["clean.accuracy", "clean.auroc", "occlusion.random.painted.auc", "occlusion.random.removed/0.3.accuracy",
     "occlusion.random.removed.threshold"],
)  # fmt: skip
def test_names_of_a_suite(name):
    assert Requirement(name, 0.5).named(CONDITIONS) == [Requirement(name, 0.5)]


def test_the_beginning_of_a_name_stands_for_all_that_begin_so():
    found = Requirement("occlusion.random.auc", 0.5).named(CONDITIONS)
    assert {each.metric for each in found} == {"occlusion.random.painted.auc", "occlusion.random.removed.auc"}
    assert {each.needed for each in found} == {0.5}


def test_per_cent_are_no_share():
    with pytest.raises(UsageError, match=r"expected a share of 1 at most\. Write clean\.accuracy=0\.8 for 80 %"):
        Requirement.parse("clean.accuracy=80")


@pytest.mark.parametrize(
    ("name", "words"),
    [("occlusion.random.paint.auc", "occlusion.random.painted.auc"), ("clean.ece", "better when higher"),
     ("brightness.gain.threshold", "brightness.gain.auc"),
     ("accuracy", "clean.accuracy"),
     ("occlusion.random.painted/0.4.accuracy", "occlusion.random.painted/0.3.accuracy")],
)  # fmt: skip
def test_a_name_the_suite_has_not(name, words):
    with pytest.raises(UsageError, match=words):
        Requirement(name, 0.5).named(CONDITIONS)
