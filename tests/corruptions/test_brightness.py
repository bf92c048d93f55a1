import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vitkit.corruptions import gain, gamma, shift
from vitkit.errors import UsageError

EPS = torch.finfo(torch.float32).eps


def images(*size: int) -> torch.Tensor:
    return torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("operation", "identity"), [(gain, 1.0), (shift, 0.0), (gamma, 1.0)])
@pytest.mark.parametrize("size", [(5, 4), (3, 4, 5)])
def test_the_identity_changes_nothing(operation, identity, size):
    changed, clipped = operation(images(*size), identity)
    assert torch.equal(changed, images(*size))
    assert clipped.tolist() == [0.0, 0.0]


@given(st.sampled_from([(gain, 0.05, 20.0), (shift, -1.0, 1.0), (gamma, 0.05, 20.0)]), st.floats(0, 1))
def test_values_stay_in_range_and_the_clipped_share_is_counted(case, position):
    operation, low, high = case
    amount = low + position * (high - low)
    changed, clipped = operation(images(8, 8), amount)
    assert changed.min() >= 0
    assert changed.max() <= 1
    exact = {gain: images(8, 8) * amount, shift: images(8, 8) + amount, gamma: images(8, 8) ** amount}[operation]
    assert clipped.tolist() == pytest.approx(((exact < 0) | (exact > 1)).float().mean((1, 2, 3)).tolist(), abs=EPS)


@given(st.floats(0.1, 1))
def test_gain_is_undone_by_its_inverse_where_nothing_was_cut(factor):
    darker, clipped = gain(images(4, 4), factor)
    assert clipped.max() == 0
    # Three roundings, of 1/factor and of two products, each by half an eps.
    torch.testing.assert_close(gain(darker, 1 / factor)[0], images(4, 4), rtol=2 * EPS, atol=0)


@given(st.floats(0.3, 3))
def test_gamma_is_undone_by_its_inverse(exponent):
    # Rounding of x**g by eps is magnified by 1/g, and both roots are computed to a few eps.
    torch.testing.assert_close(gamma(gamma(images(4, 4), exponent)[0], 1 / exponent)[0], images(4, 4), rtol=40 * EPS, atol=1e-6)


def test_brighter_is_brighter():
    for operation, amounts in [(gain, [0.2, 0.5, 1.0, 2.0]), (shift, [-0.5, -0.1, 0.0, 0.3]), (gamma, [3.0, 2.0, 1.0, 0.5])]:
        means = [float(operation(images(8, 8), amount)[0].mean()) for amount in amounts]
        assert means == sorted(means)


@pytest.mark.parametrize(
    ("operation", "amount", "message"),
    [
        (gain, 0.0, "a gain of 0.0"),
        (gain, float("inf"), "a gain of inf"),
        (gamma, -1.0, "a gamma of -1.0"),
        (gamma, float("nan"), "a gamma of nan"),
        (shift, 1.5, "a shift of 1.5"),
        (shift, float("nan"), "a shift of nan"),
    ],
)
def test_an_amount_outside_its_range_is_refused(operation, amount, message):
    with pytest.raises(UsageError, match=message):
        operation(images(2, 2), amount)
