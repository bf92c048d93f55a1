from collections import namedtuple
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, roc_auc_score
from torchmetrics.functional.classification import multiclass_calibration_error

from vitkit.errors import UsageError
from vitkit.evaluation import Applied, Condition, Suite, evaluate
from vitkit.evaluation.summary import from_samples
from vitkit.evaluation.summary.imagenet_c import obstacle
from vitkit.metrics import ALEXNET


class Flip(Condition):
    """Turns the answer of the first images over: a share of them that is the distance to the identity, times a slope a side."""

    suite, title, unit = "test", "Flipped", "share of images"

    def __init__(self, severities, name="flip", identity=0.0, slopes=(1.0, 1.0)):
        self.severities, self.name, self.identity, self.slopes = severities, name, identity, slopes

    def apply(self, images, severity, context):
        share = self.slopes[severity > self.identity] * abs(severity - self.identity)
        first = torch.tensor([int(sample) < round(100 * share) for sample in context.ids])
        return Applied(torch.where(first.view(-1, 1, 1, 1), 1 - images, images))


def bright(images):
    mean = images.mean((1, 2, 3))
    return torch.stack([5 * (0.5 - mean), 5 * (mean - 0.5)], 1)


def run(*conditions, threshold=0.8, n=100):
    labels = torch.arange(n) % 2
    images = (0.1 + 0.8 * labels.float()).view(-1, 1, 1, 1).expand(n, 1, 4, 4)
    return evaluate(bright, [(images, labels)], Suite("test", list(conditions), threshold=threshold))


def test_metrics_agree_with_scikit_learn_and_torchmetrics():
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.rand(200, 1, 2, 2, generator=generator), torch.randint(2, (200,), generator=generator)
    results = evaluate(bright, [(images, labels)], Suite("test", [Flip([0.5])]))
    p = bright(images).double().softmax(1)
    expected = {
        "accuracy": accuracy_score(labels, p.argmax(1)),
        "nll": log_loss(labels, p.numpy()),
        "brier": 2 * brier_score_loss(labels, p[:, 1]),
        "auroc": roc_auc_score(labels, p[:, 1]),
        "ece": multiclass_calibration_error(p, labels, num_classes=2, n_bins=15).item(),
    }
    right, order = (p.argmax(1) == labels).numpy(), p.max(1).values.argsort(descending=True)
    bins = [(p.max(1).values[chunk].mean() - right[chunk].mean()).abs() * len(chunk) for chunk in np.array_split(order, 15)]
    # 200 samples in 15 bins: which bins hold 14 instead of 13 is a choice.
    assert results.clean.metrics["adaptive_ece"].value == pytest.approx(float(sum(bins)) / 200, abs=0.02)
    expected |= {
        "adaptive_ece": results.clean.metrics["adaptive_ece"].value,
        "aurc": np.mean([1 - right[order[:k]].mean() for k in range(1, 201)]),
        "accuracy_at_80": right[order[:160]].mean(),
        "accuracy_at_50": right[order[:100]].mean(),
    }
    assert {name: metric.value for name, metric in results.clean.metrics.items()} == pytest.approx(expected, rel=1e-5)
    for metric in results.clean.metrics.values():
        assert metric.ci_low < metric.value < metric.ci_high


def test_flips_are_counted_along_the_curve():
    (curve,) = run(Flip([0.2, 0.5])).curves
    assert curve.flip_probability.value == pytest.approx((0.2 + 0.3) / 2)
    assert curve.flip_probability.ci_low < 0.25 < curve.flip_probability.ci_high


@pytest.mark.parametrize("mapping", [True, False])
def test_samples_that_share_a_group_are_drawn_together(mapping):
    """Every image of each of ten patients is right or wrong alike: ten observations, not a hundred."""
    labels = torch.arange(100) % 2
    images = (0.1 + 0.8 * labels.float()).view(-1, 1, 1, 1).expand(100, 1, 4, 4)
    batch = {"image": images, "label": labels, "id": range(100), "group": [f"patient {i // 10}" for i in range(100)]}
    batch = batch if mapping else namedtuple("Batch", batch)(**batch)
    suite = Suite("test", [Flip([0.5])])
    whole, alone = evaluate(bright, [batch], suite), evaluate(bright, [(images, labels)], suite)
    assert (whole.resampled_by, whole.units) == ("group", 10)
    assert (alone.resampled_by, alone.units) == ("sample", 100)
    assert [warning for warning in whole.warnings if "10 groups" in warning]
    assert not [warning for warning in alone.warnings if "groups" in warning]
    wide, narrow = (results.condition("test.flip/0.5").metrics["accuracy"] for results in (whole, alone))
    assert wide.value == narrow.value == 0.5
    # 1.96 sqrt(.25/10) = .31, in steps of .1
    assert (wide.ci_high - wide.ci_low) / 2 == pytest.approx(0.31, abs=0.06)
    assert whole.data.fingerprint != alone.data.fingerprint, "other groups are other intervals, so another run"


def test_a_sample_without_a_group_is_its_own(tmp_path):
    labels = torch.arange(6) % 2
    images = (0.1 + 0.8 * labels.float()).view(-1, 1, 1, 1).expand(6, 1, 4, 4)
    groups = ["a", "a", None, None, "b", None]
    loader = [
        {"image": images[part], "label": labels[part], "id": [str(i) for i in range(6)][part], "group": groups[part]}
        for part in (slice(0, 2), slice(2, 6))
    ]
    assert evaluate(bright, loader, Suite("test", [Flip([0.5])]), tmp_path).units == 5
    assert pq.read_table(tmp_path / "samples.parquet")["group"].to_pylist()[:6] == groups


def test_groups_that_are_too_few_are_refused(unchecked):
    batch = {"image": torch.rand(2, 1, 4, 4), "label": [0, 1], "id": ["a", "b"], "group": ["p"]}
    with pytest.raises(UsageError, match="1 groups in a batch of 2"):
        evaluate(bright, [batch], Suite("test", [Flip([0.5])]))


IMAGENET = ["n01440764", *(f"n{1440765 + index:08}" for index in range(998)), "n15075141"]


def measured(accuracy, params=None):
    """Conditions of 1,000 classes with an accuracy, and two resamples above and below it."""
    entries = [(("clean", "clean", 0.0), 1.0), *((("corruptions", *key), value) for key, value in accuracy.items())]
    return [
        from_samples._Measured(
            {"suite": suite, "condition": name, "severity": severity, "skipped": None, "classes": 1000, "params": params or {}},
            {}, value, np.array([value - 0.05, value + 0.05]),
        )
        for (suite, name, severity), value in entries
    ]  # fmt: skip


def falling():
    return {(name, float(severity)): 1 - severity / 10 for name in ALEXNET for severity in range(1, 6)}


def test_mce_is_the_mean_of_errors_over_alexnets(results):
    found = from_samples._corruption_error(measured(falling()), IMAGENET)
    # The errors are .1 to .5, and none on the clean images.
    assert found.refused is None
    assert found.mce.value == pytest.approx(np.mean([0.3 / share for share in ALEXNET.values()]))
    assert found.mce.ci_low == pytest.approx(np.mean([0.25 / share for share in ALEXNET.values()]))
    assert found.relative.value == pytest.approx(np.mean([0.3 / (share - 0.435) for share in ALEXNET.values()]))
    assert found.corruptions["fog"].value == pytest.approx(0.3 / ALEXNET["fog"])
    rows = [row for row in replace(results, mce=found).rows() if row["suite"] == "corruptions"]
    assert [(row["metric"], row["value"]) for row in rows] == [("mce", found.mce.value), ("relative_mce", found.relative.value)]


def test_mce_is_refused_where_it_means_nothing():
    refused = run(Flip([0.5])).mce
    assert "these are 2 classes" in refused.refused
    assert refused.mce.value is refused.relative.value is None
    named = from_samples._corruption_error(measured(falling()), [str(index) for index in range(1000)])
    assert "of other names" in named.refused
    some = {key: value for key, value in falling().items() if key[0] != "fog" or key[1] < 3}
    cifar = from_samples._corruption_error(measured(falling(), {"constants": "cifar"}), IMAGENET)
    assert "not measured: gaussian_noise/1" in cifar.refused
    assert "not measured: fog/3, fog/4, fog/5" in from_samples._corruption_error(measured(some), IMAGENET).refused


def test_imagenet_is_known_by_its_names_too():
    words = ["tench, Tinca tinca", *map(str, range(998)), "toilet tissue, toilet paper, bathroom tissue"]
    assert obstacle(words, 1000, falling()) is None
    assert obstacle(words[::-1], 1000, falling()) is not None, "another order is not ImageNet's"


def test_a_curve_meets_the_clean_accuracy_at_its_identity():
    results = run(Flip([0.2, 0.4]), Flip([0.6, 1.5], name="two", identity=1.0))
    one, two = results.curves
    assert (one.severities, two.severities) == ([0.0, 0.2, 0.4], [0.6, 1.0, 1.5])
    assert [point.metrics["accuracy"].value for point in results.at(one)] == [1.0, 0.8, 0.6]
    assert [point.metrics["accuracy"].value for point in results.at(two)] == [0.6, 1.0, 0.5]
    assert one.auc.value == pytest.approx(0.8)
    assert two.auc.value == pytest.approx((0.4 * 0.8 + 0.5 * 0.75) / 0.9)
    assert one.auc.ci_low < one.auc.value < one.auc.ci_high


def test_the_identity_may_be_run_itself():
    (curve,) = run(Flip([0.0, 0.5])).curves
    assert curve.severities == [0.0, 0.5]


def test_the_severity_where_it_falls_below():
    (curve,) = run(Flip([0.2, 0.6])).curves
    crossing = curve.threshold
    assert (crossing.accuracy, crossing.never_below, crossing.share_below) == (0.8, False, 1.0)
    assert crossing.severity.value == pytest.approx(0.2)
    assert crossing.severity.ci_low < 0.2 < crossing.severity.ci_high
    (curve,) = run(Flip([0.4]), threshold=0.9).curves
    assert curve.threshold.severity.value == pytest.approx(0.1)


def test_never_below_is_said_with_how_sure_that_is():
    (curve,) = run(Flip([0.1, 0.18])).curves
    assert curve.threshold.never_below
    assert curve.threshold.severity.value is None
    assert curve.threshold.severity.ci_high is None
    assert 0.1 < curve.threshold.share_below < 0.5  # accuracy .82 with a standard error of .038
    assert 0.1 < curve.threshold.severity.ci_low < 0.18
    (curve,) = run(Flip([0.01])).curves
    assert (curve.threshold.severity.ci_low, curve.threshold.share_below) == (None, 0.0)


@pytest.mark.parametrize(("slopes", "crossing"), [((2.0, 1.0), 0.9), ((1.0, 2.0), 1.1), ((0.1, 1.0), 1.2), ((1.0, 0.1), 0.8)])
def test_of_two_sides_the_nearer_crossing_counts(slopes, crossing):
    (curve,) = run(Flip([0.6, 0.8, 1.2, 1.4], identity=1.0, slopes=slopes)).curves
    severity = curve.threshold.severity
    assert severity.value == pytest.approx(crossing)
    assert severity.ci_low < crossing < severity.ci_high
    assert (severity.ci_high < 1) == (crossing < 1)


def test_where_neither_side_falls_the_likelier_counts():
    (curve,) = run(Flip([0.9, 1.1], identity=1.0, slopes=(1.8, 0.5))).curves
    assert curve.threshold.never_below
    assert curve.threshold.severity.value is curve.threshold.severity.ci_low is None
    assert 0.9 <= curve.threshold.severity.ci_high < 1
    assert 0.1 < curve.threshold.share_below < 0.5


def test_a_model_that_is_below_from_the_start_falls_at_the_identity():
    (curve,) = run(Flip([0.5]), threshold=0.999).curves
    assert curve.threshold.severity.value == pytest.approx(0.001)
    results = evaluate(
        bright, [(torch.rand(50, 1, 4, 4), torch.zeros(50, dtype=torch.long))], Suite("test", [Flip([0.5])], threshold=0.99)
    )
    assert results.curves[0].threshold.severity.value == 0.0


def test_one_class_has_no_auroc():
    results = evaluate(bright, [(torch.rand(50, 1, 4, 4), torch.zeros(50, dtype=torch.long))], Suite("test", [Flip([0.5])]))
    assert results.clean.metrics["auroc"].value is None
    assert results.clean.metrics["auroc"].ci_low is None


def test_differences_are_paired():
    """The same answers under both names differ by zero, surely; a difference on the same images is surer than either."""
    results = run(Flip([0.3, 0.5], name="x.removed"), Flip([0.3, 0.5], name="x.painted"), Flip([0.1, 0.5], name="y.removed"))
    (same,) = results.comparisons
    assert [(point.difference, point.ci_low, point.ci_high) for point in same.points] == [(0, 0, 0), (0, 0, 0)]
    results = run(Flip([0.3], name="x.removed"), Flip([0.5], name="x.painted"))
    assert results.comparisons == [], "no severity in common but the clean one"


def test_a_condition_whose_severities_do_not_come_together_is_one_curve():
    together = run(Flip([0.02, 0.3, 0.5]), Flip([0.03, 0.4], name="other"))
    apart = run(Flip([0.3, 0.5]), Flip([0.03, 0.4], name="other"), Flip([0.02]))
    assert apart.curves == together.curves
    # Many samples are wrong from the farthest severity of both on: the one that was run first is named.
    assert apart.worst == together.worst


def test_a_condition_may_be_called_clean():
    named = Flip([0.1, 0.2], name="clean")
    named.suite = "clean"
    results = run(named)
    assert [len(curve.severities) for curve in results.curves] == [3]
    assert len(results.worst.broken) == 12
