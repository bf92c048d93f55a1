import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, roc_auc_score
from torchmetrics.functional.classification import multiclass_calibration_error

from vitkit.evaluation import Applied, Condition, Suite, evaluate


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
    assert {name: metric.value for name, metric in results.clean.metrics.items()} == pytest.approx(expected, rel=1e-5)
    for metric in results.clean.metrics.values():
        assert metric.ci_low < metric.value < metric.ci_high


def test_the_interval_of_accuracy_is_the_binomials():
    half = run(Flip([0.5])).condition("test.flip/0.5").metrics["accuracy"]
    assert half.value == 0.5
    # 1.96 sqrt(.25/100) = .098; quantiles of 1000 resamples that come in steps of .01
    assert (half.ci_high - half.ci_low) / 2 == pytest.approx(0.098, abs=0.015)


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


def test_a_run_of_many_conditions_is_resampled_in_parts(monkeypatch):
    from vitkit.evaluation import summary

    conditions = [Flip([0.1, 0.3, 0.5]), Flip([0.2, 0.4], name="other")]
    whole = run(*conditions)
    monkeypatch.setattr(summary, "_HELD", 2500)
    parts = run(*conditions)
    assert parts.curves == whole.curves
    for one, other in zip(whole.conditions, parts.conditions, strict=True):
        for name, metric in one.metrics.items():
            np.testing.assert_allclose(
                [metric.value, metric.ci_low, metric.ci_high],
                [other.metrics[name].value, other.metrics[name].ci_low, other.metrics[name].ci_high],
                rtol=1e-12,
            )
