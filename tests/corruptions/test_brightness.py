import colorsys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vitkit.corruptions import contrast, gain, gamma, hsv_value, shift
from vitkit.errors import UsageError

EPS = torch.finfo(torch.float32).eps


def images(*size: int) -> torch.Tensor:
    return torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("operation", "identity"), [(gain, 1.0), (shift, 0.0), (gamma, 1.0), (hsv_value, 0.0), (contrast, 1.0)])
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
        (hsv_value, -1.5, "an amount of HSV value of -1.5"),
        (hsv_value, float("nan"), "an amount of HSV value of nan"),
        (contrast, 0.0, "a contrast of 0.0"),
        (shift, float("nan"), "a shift of nan"),
    ],
)
def test_an_amount_outside_its_range_is_refused(operation, amount, message):
    with pytest.raises(UsageError, match=message):
        operation(images(2, 2), amount)


@pytest.mark.parametrize("amount", [-1.0, -0.3, 0.1, 0.5, 1.0])
def test_hsv_value_is_pythons_own_hsv_with_another_value(amount):
    given = images(6, 5).double()
    given[0, :, 0, 0], given[0, :, 0, 1] = 0.0, 1.0  # black, which has no hue, and white
    expected, cut = torch.empty_like(given), torch.zeros(2)
    for sample in range(2):
        for row in range(6):
            for column in range(5):
                hue, saturation, value = colorsys.rgb_to_hsv(*given[sample, :, row, column].tolist())
                lifted = min(max(value + amount, 0), 1)
                expected[sample, :, row, column] = torch.tensor(colorsys.hsv_to_rgb(hue, saturation, lifted), dtype=torch.float64)
                cut[sample] += (value + amount != lifted) / 30
    changed, clipped = hsv_value(given, amount)
    torch.testing.assert_close(changed, expected, rtol=0, atol=1e-15 * 8)  # of some ten roundings of numbers below one
    torch.testing.assert_close(clipped, cut)


@given(st.floats(-1, 1))
def test_hsv_value_is_a_gain_for_each_pixel_and_a_shift_where_all_is_grey(amount):
    given = images(4, 4).double()
    changed, _ = hsv_value(given, amount)
    factors = changed / given
    torch.testing.assert_close(factors, factors[:, :1].expand_as(factors))
    grey, clipped = hsv_value(given[:, :1], amount)
    torch.testing.assert_close(grey, shift(given[:, :1], amount)[0])
    assert torch.equal(clipped, shift(given[:, :1], amount)[1])


@given(st.floats(0.01, 5))
def test_contrast_scales_the_spread_about_the_mean_and_leaves_the_mean(factor):
    given = 0.4 + 0.2 * images(8, 7).double()
    changed, clipped = contrast(given, factor)
    if float(clipped.max()) == 0:
        torch.testing.assert_close(changed.mean((2, 3)), given.mean((2, 3)))
        torch.testing.assert_close(changed.std((2, 3)), factor * given.std((2, 3)))
    exact = factor * given + (1 - factor) * given.mean((2, 3), keepdim=True)
    torch.testing.assert_close(changed, exact.clamp(0, 1))


@pytest.mark.parametrize(("operation", "amount"), [(gain, 0.7), (shift, 0.1), (gamma, 0.8), (hsv_value, 0.1), (contrast, 0.6)])
def test_an_image_alone_is_what_it_is_in_a_batch_whatever_the_threads(operation, amount):
    given = torch.rand(3, 1, 256, 256, generator=torch.Generator().manual_seed(1))
    together, threads = operation(given, amount)[0], torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        alone = torch.cat([operation(image[None], amount)[0] for image in given])
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(alone, together)
