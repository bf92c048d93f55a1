"""Where curves cross the threshold, against the bootstrap that the results are made by."""

from dataclasses import replace

import numpy as np
import pytest

from vitkit.evaluation import Suite
from vitkit.evaluation.results import Interval
from vitkit.metrics import bootstrap_means, percentile_interval
from vitkit.metrics import first_below as first_below_of_rows
from vitkit.report.scale import Scale, scale_of
from vitkit.report.track import first_below, tracks


@pytest.mark.parametrize("name", ["full", "volume"])  # full has all that the others have
def test_every_unit_of_the_bundled_suites_has_words_of_its_own(name):
    for unit in {condition.unit for condition in Suite.load(name).conditions}:
        assert scale_of(unit) != Scale(unit, "the severity is ", f" ({unit})"), unit


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_the_crossings_of_the_metrics(seed):
    generator = np.random.default_rng(seed)
    severities, values = np.sort(generator.random(8)), generator.random((1, 8))
    (expected,) = first_below_of_rows(severities, values, 0.3)
    found = first_below(severities.tolist(), values[0].tolist(), 0.3)
    assert found == pytest.approx(expected) if np.isfinite(expected) else found is None


def test_second_side_has_the_interval_that_the_bootstrap_gives(empty, builders):
    """Samples that fail for good at a severity of their own: accuracy falls steadily in every resample."""
    line, _ = builders
    step = 0.02
    severities = np.arange(0, 1 + step / 2, step)
    fails_at = np.random.default_rng(0).random(200)
    right = (severities <= fails_at[:, None]).astype(float)
    resampled = bootstrap_means(right)
    lows, highs = percentile_interval(resampled)
    low, high = percentile_interval(first_below_of_rows(severities, resampled, 0.8))

    clean = replace(empty.conditions[0], metrics={"accuracy": Interval(1.0, 1.0, 1.0)})
    points = {round(float(s), 2): v for s, v in zip(severities[1:], right.mean(0)[1:], strict=True)}
    # The given crossing is on the other side, so this one has to be found from the points.
    made = line(replace(empty, conditions=[clean]), "a", "b", points | {-1.0: 0.1}, Interval(-0.1, -0.2, -0.05), unit="x")
    bounds = {round(float(s), 2): (lo, hi) for s, lo, hi in zip(severities, lows, highs, strict=True)}
    conditions = [
        replace(c, metrics={"accuracy": Interval(c.metrics["accuracy"].value, *map(float, bounds[c.severity]))})
        if c.severity in bounds else c
        for c in made.conditions
    ]  # fmt: skip
    (track,) = tracks(replace(made, conditions=conditions))
    below, above = track.crossings()
    assert (below.at, below.near, below.far) == pytest.approx((-0.1, -0.05, -0.2))
    # Between two severities the quantile of straight lines is not the straight line of quantiles, hence a step's tolerance.
    assert above.near == pytest.approx(low, abs=step)
    assert above.far == pytest.approx(high, abs=step)
    assert above.near <= above.at <= above.far


def test_curves_without_an_accuracy_are_left_out(results):
    conditions = [replace(c, metrics={"accuracy": Interval(None)}) if c.condition == "gain" else c for c in results.conditions]
    assert [track.curve.condition for track in tracks(replace(results, conditions=conditions))] == [
        "random.painted",
        "random.removed",
    ]
