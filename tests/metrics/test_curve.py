import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import auc

from vitkit.errors import UsageError
from vitkit.metrics import area_under_curve, first_below

CURVES = st.lists(st.tuples(st.floats(0.01, 1), st.floats(0, 1)), min_size=2, max_size=8)


def unpack(curve):
    steps, values = zip(*curve, strict=True)
    return np.cumsum(steps), np.array(values)


@given(CURVES)
def test_the_area_is_a_mean_and_agrees_with_scikit_learn(curve):
    severities, values = unpack(curve)
    area = area_under_curve(severities, values).item()
    assert values.min() - 1e-9 <= area <= values.max() + 1e-9
    assert area == pytest.approx(auc(severities, values) / (severities[-1] - severities[0]), rel=1e-9, abs=1e-12)


@given(CURVES, st.floats(0, 1))
def test_a_constant_curve_has_its_own_value_as_area(curve, level):
    severities, values = unpack(curve)
    assert area_under_curve(severities, np.full_like(values, level)).item() == pytest.approx(level, abs=1e-12)


@given(CURVES, st.floats(0, 1))
def test_the_curve_is_at_the_threshold_where_it_is_crossed(curve, threshold):
    severities, values = unpack(curve)
    crossing = first_below(severities, values[None], threshold)[0]
    if not (values < threshold).any():
        assert crossing == np.inf
    elif values[0] < threshold:
        assert crossing == severities[0]
    else:
        assert severities[0] <= crossing <= severities[-1]
        assert (values[severities < crossing - 1e-9] >= threshold).all()
        steepest = np.abs(np.diff(values) / np.diff(severities)).max()
        assert np.interp(crossing, severities, values) == pytest.approx(threshold, abs=1e-9 * (1 + steepest * severities[-1]))


def test_rows_are_curves_of_their_own():
    severities = np.array([0.0, 1.0, 2.0])
    values = np.array([[1.0, 0.9, 0.5], [0.4, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
    np.testing.assert_allclose(first_below(severities, values, 0.7), [1.5, 0.0, 0.3, np.inf])
    np.testing.assert_allclose(area_under_curve(severities, values), [0.825, 0.85, 0.5, 1.0])


@pytest.mark.parametrize("severities", [[0.0], [0.0, 0.0], [1.0, 0.0]])
def test_severities_that_do_not_ascend_are_refused(severities):
    with pytest.raises(UsageError, match="ascending"):
        area_under_curve(np.array(severities), np.zeros(len(severities)))
