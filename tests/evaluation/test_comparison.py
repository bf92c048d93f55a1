"""Runs against one another: what is said of them, and which cannot be compared."""

import csv
import json
from dataclasses import asdict

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from vitkit.errors import UsageError
from vitkit.evaluation import Applied, Condition, DataInfo, Suite, compare, evaluate
from vitkit.evaluation.tree import first_difference
from vitkit.grid import Grid
from vitkit.preprocess import Preprocess


class Darker(Condition):
    suite, name, title, unit = "test", "darker", "Darker", "share"

    def __init__(self, severities=(0.25, 0.5)):
        self.severities = severities

    def apply(self, images, severity, context):
        return Applied(images * (1 - severity))


IMAGES = torch.rand(80, 1, 2, 2, generator=torch.Generator().manual_seed(0))
LABELS = (IMAGES.mean((1, 2, 3)) > 0.5).long()


class Own(Darker):
    """What it does is said to depend on the model."""

    def params(self, context, size):
        return {"grid": None if context.grid is None else list(context.grid.shape), "fill": "mean", "area": torch.rand(()).item()}


class Bright(torch.nn.Module):
    """Is it brighter than a threshold?"""

    preprocess = Preprocess((2, 2), mean=(0.5,), std=(0.25,))

    def __init__(self, threshold):
        super().__init__()
        self.threshold = torch.nn.Parameter(torch.tensor(threshold))

    def forward(self, images):
        mean = images.mean((1, 2, 3)) - self.threshold
        return torch.stack([-mean, mean], 1)


def made(out, threshold=0.5, *, suite=None, seed=0, n=80, images=None, name=None, model=None, groups=None, data=None):
    batch = {"image": (IMAGES if images is None else images)[:n], "label": LABELS[:n], "id": list(range(n)), "group": groups}
    suite = suite or Suite("test", [Darker((0.25, 0.5))])
    evaluate(model or Bright(threshold), [batch], suite, out, seed=seed, name=name or out.name, data_info=data)
    return out


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return [made(root / "good", 0.45), made(root / "bad", 0.3), made(root / "worse", 0.2)]


def outcomes(folder):
    table = pq.read_table(folder / "samples.parquet")
    found = {}
    for row in table.select(["condition", "severity", "label", "prediction"]).to_pylist():
        found.setdefault((row["condition"], row["severity"]), []).append(row["label"] == row["prediction"])
    return {key: np.array(values) for key, values in found.items()}


def test_differences_are_those_of_the_samples(runs):
    comparison, results = compare(runs)
    assert [run.label for run in comparison.runs] == ["good", "bad", "worse"]
    assert comparison.baseline == "good"
    first, second = outcomes(runs[0]), outcomes(runs[1])
    found = {(d.run, d.condition, d.severity): d for d in comparison.differences}
    for condition, severity in first:
        d = found["bad", condition, severity]
        change = second[condition, severity].astype(int) - first[condition, severity]
        assert d.difference.value == pytest.approx(change.mean())
        assert d.difference.ci_low <= d.difference.value <= d.difference.ci_high
        exact = stats.binomtest(int((change > 0).sum()), max(int((change != 0).sum()), 1)).pvalue if change.any() else 1.0
        assert d.p == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 9999) ** 0.5 + 1e-4)
        assert d.p_holm >= d.p
    area = found["bad", "darker", None]
    curves = [result.curve("test", "darker").auc.value for result in results]
    assert (area.baseline, area.value) == pytest.approx(tuple(curves[:2]))
    assert area.difference.value == pytest.approx(curves[1] - curves[0])
    assert area.simultaneous.ci_low <= area.difference.ci_low


def test_every_family_is_corrected_by_itself(runs):
    comparison, _ = compare(runs)
    sizes = {family: [d for d in comparison.differences if d.family == family] for family in ("areas", "points")}
    assert [len(found) for found in sizes.values()] == [2 * 2, 2 * 2]  # the clean accuracy and an area; two severities
    for found in sizes.values():
        smallest = min(found, key=lambda d: d.p)
        assert smallest.p_holm == pytest.approx(min(1, len(found) * smallest.p))


def test_the_other_way_round_the_signs_turn(runs):
    forth, _ = compare(runs[:2])
    back, _ = compare(runs[:2], baseline=runs[1])
    assert back.baseline == "bad"
    for one, other in zip(forth.differences, back.differences, strict=True):
        assert (one.run, other.run) == ("bad", "good")
        assert one.difference.value == pytest.approx(-other.difference.value)
        assert one.p == other.p


def test_error_consistency_is_cohens_kappa(runs):
    comparison, _ = compare(runs)
    first, second = outcomes(runs[0]), outcomes(runs[1])
    found = {(c.condition, c.first, c.second): c.kappa for c in comparison.consistency}
    assert len(found) == 3 * 3
    clean = found["clean/0", "good", "bad"]
    assert clean.value == pytest.approx(cohen_kappa_score(first["clean", 0.0], second["clean", 0.0]))
    assert clean.ci_low < clean.value < clean.ci_high


def test_what_is_saved_is_what_was_found(runs, tmp_path):
    comparison, _ = compare(runs)
    path = comparison.save(tmp_path)
    assert json.loads(path.read_text()) == json.loads(json.dumps(asdict(comparison)))
    rows = list(csv.DictReader((tmp_path / "comparison.csv").read_text().splitlines()))
    assert len(rows) == len(comparison.differences)
    assert {"run", "condition", "severity", "difference", "ci_low", "ci_high", "p", "p_holm"} <= set(rows[0])


def test_the_same_model_differs_by_nothing(tmp_path):
    comparison, _ = compare([made(tmp_path / "a"), made(tmp_path / "b")])
    assert {(d.difference.value, d.difference.ci_low, d.p) for d in comparison.differences} == {(0.0, 0.0, 1.0)}
    assert comparison.flags == []


def test_patients_are_flipped_and_drawn_whole(tmp_path):
    groups = [f"p{index // 8}" for index in range(80)]
    whole, _ = compare([made(tmp_path / "a", groups=groups), made(tmp_path / "b", 0.3, groups=groups)])
    alone, _ = compare([made(tmp_path / "c"), made(tmp_path / "d", 0.3)])
    assert (whole.resampled_by, whole.units, alone.resampled_by) == ("group", 10, "sample")
    assert whole.differences[0].difference.value == alone.differences[0].difference.value
    assert whole.differences[0].p != alone.differences[0].p


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"seed": 1}, "seed: 1 and 0"),
        ({"n": 60}, "data.n: 60 and 80"),
        ({"images": IMAGES.flip(2)}, "data.fingerprint"),
        ({"suite": Suite("test", [Darker((0.25, 0.75))])}, r"suite.conditions.0.init_args.severities.1: 0.75 and 0.5"),
        ({"suite": Suite("other", [Darker()])}, "suite.name: 'other' and 'test'"),
        ({"suite": Suite("test", [Darker()], threshold=0.5)}, "suite.threshold: 0.5 and 0.8"),
        ({"data": DataInfo(split="val")}, None),
    ],
)
def test_runs_that_cannot_be_compared_are_told_what_differs(runs, tmp_path, changes, field):
    other = made(tmp_path / "other", **changes)
    if field is None:
        compare([runs[0], other])  # the first run does not say which split it was
        return
    with pytest.raises(UsageError, match=f"other and good differ in {field}"):
        compare([runs[0], other])


def test_models_of_another_size_see_the_same_samples(runs, tmp_path):
    """Their pixels differ, their ids and labels must not."""

    class Large(Bright):
        preprocess = Preprocess((4, 4), mean=(0.5,), std=(0.25,))

    large = torch.nn.functional.interpolate(IMAGES, scale_factor=2)
    comparison, _ = compare([runs[0], made(tmp_path / "large", images=large, model=Large(0.45))])
    assert {flag.field for flag in comparison.flags} == {"data.fingerprint", "preprocess.size"}
    assert comparison.differences[0].difference.value == pytest.approx(0)
    renamed = [{"image": large, "label": LABELS, "id": [f"x{index}" for index in range(80)]}]
    evaluate(Large(0.45), renamed, Suite("test", [Darker((0.25, 0.5))]), tmp_path / "renamed", name="renamed")
    with pytest.raises(UsageError, match="renamed and good differ in id of sample 0: 'x0' and '0'"):
        compare([runs[0], tmp_path / "renamed"])


def test_one_run_or_the_same_twice_is_refused(runs, tmp_path):
    with pytest.raises(UsageError, match="1 run; expected two"):
        compare(runs[:1])
    with pytest.raises(UsageError, match="for the second time"):
        compare([runs[0], runs[0].parent / "good"])
    with pytest.raises(UsageError, match=r"--baseline .*other; expected one of"):
        compare(runs, baseline=tmp_path / "other")
    with pytest.raises(UsageError, match="no file"):
        compare([runs[0], tmp_path])


def test_what_one_model_cannot_take_is_left_out(tmp_path):
    class Picky(Darker):
        name = "picky"

        def obstacle(self, context):
            return None if context.grid is not None else "no tokens"

    suite = Suite("test", [Darker(), Picky((0.25, 0.6))])

    class Tokens(Bright):
        def grid(self, size):
            from vitkit.grid import Grid

            return Grid(size)

    with_tokens = made(tmp_path / "tokens", suite=suite, model=Tokens(0.4))
    comparison, _ = compare([with_tokens, made(tmp_path / "plain", suite=suite)])
    assert comparison.left_out == ["Darker: not measured in plain (no tokens)"]
    assert {d.condition for d in comparison.differences} == {"clean", "darker"}


def test_the_same_pixels_are_the_same_data_however_they_were_stored(tmp_path):
    folders = [made(tmp_path / name, data=DataInfo(fingerprint=stored)) for name, stored in (("a", ""), ("b", "sha256:of files"))]
    comparison, _ = compare(folders)
    assert "data.fingerprint" in {flag.field for flag in comparison.flags}


def test_the_first_difference_of_two_trees():
    assert first_difference({"a": 1}, {"a": 1}) is None
    assert first_difference({"a": 1}, {"a": 1, "b": 2}) == ("b",)
    assert first_difference([1, 2], [1, 2, 3]) == ()


def test_conditions_that_did_something_else_are_flagged(tmp_path):
    class Gridded(Bright):
        def __init__(self, threshold, side):
            super().__init__(threshold)
            self.side = side

        def grid(self, size):
            return Grid((self.side, self.side))

    suite = Suite("test", [Own((0.25, 0.5))])
    folders = [made(tmp_path / f"{side}", suite=suite, model=Gridded(0.4, side)) for side in (1, 2)]
    comparison, _ = compare(folders)
    [flag] = comparison.flags
    assert (flag.field, flag.values) == ("grid of test.darker", ["[1, 1]", "[2, 2]"])
