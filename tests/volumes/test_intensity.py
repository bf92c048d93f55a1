"""Intensities in [0, 1] do not depend on what a scanner's gain, shift and sparks are."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vitkit.errors import DataError, UsageError
from vitkit.recipe import build, recipe
from vitkit.volumes import Percentile, Volume, Window


def volume(data):
    return Volume(data, np.eye(4), "made.nii")


def tissue(seed=0, size=(1, 20, 20, 20)):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)) * 40 + 200


@given(st.integers(-8, 8), st.integers(0, 9))
def test_a_gain_of_a_power_of_two_changes_no_bit(power, seed):
    data = tissue(seed)
    assert torch.equal(Percentile()(volume(data * 2.0**power)).data, Percentile()(volume(data)).data)


@given(st.floats(1e-3, 1e6), st.floats(-1e3, 1e3), st.integers(0, 9))
def test_gain_and_shift_do_not_matter(gain, shift, seed):
    data = tissue(seed).double()
    scaled = data * gain + shift * gain
    # 64-bit numbers of up to 1500 times the range's hundredth.
    torch.testing.assert_close(Percentile()(volume(scaled)).data, Percentile()(volume(data)).data, rtol=0, atol=2**-22)


def test_the_order_of_intensities_is_kept():
    data = tissue()
    scaled = Percentile()(volume(data)).data.flatten()[data.flatten().argsort()]
    assert (scaled.diff() >= 0).all()
    assert (scaled.min(), scaled.max()) == (0, 1)


@pytest.mark.parametrize("value", [1e9, -1e9])
def test_outliers_below_the_percentile_are_resisted(value):
    data = tissue()
    spoilt = data.clone()
    spoilt.view(-1)[torch.randperm(8000, generator=torch.Generator().manual_seed(1))[:20]] = value  # a quarter of a per cent
    clean, found = Percentile()(volume(data)).data, Percentile()(volume(spoilt)).data
    same = spoilt == data
    # The percentile moves by a quarter of a per cent of the voxels at most: to a neighbour in rank.
    bounds = np.percentile(data, [0.25, 0.5, 0.75, 99.25, 99.5, 99.75])
    moved = max(np.diff(bounds)[[0, 1, 3, 4]]) / (bounds[4] - bounds[1])
    assert (clean - found)[same].abs().max() <= 2 * moved
    assert moved < 0.1


def test_percentiles_are_numpys():
    data = tissue()
    low, high = np.percentile(data.double(), [2, 90])
    expected = ((data.double() - low) / (high - low)).clamp(0, 1)
    torch.testing.assert_close(Percentile(2.0, 90.0)(volume(data)).data, expected.float(), rtol=0, atol=2**-23)


def test_each_channel_is_scaled_by_itself():
    data = torch.cat([tissue(0), tissue(1) * 1000])
    both = Percentile()(volume(data)).data
    assert torch.equal(both[1:], Percentile()(volume(data[1:])).data)
    assert torch.equal(both[:1], Percentile()(volume(data[:1])).data)


def test_nothing_between_the_percentiles():
    data = torch.zeros(1, 10, 10, 10)
    data[0, 0, 0, 0] = 1
    with pytest.raises(DataError, match=r"made\.nii: both percentiles 0\.5 and 99\.5 .* are 0; .*Percentile\(0\.0, 100\.0\)"):
        Percentile()(volume(data))
    assert torch.equal(Percentile(0.0, 100.0)(volume(data)).data, data)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("intensity", [Window(-150.0, 250.0), Percentile()])
def test_one_nan_does_not_spoil_all_others_in_silence(intensity, value):
    data = tissue()
    data[0, 3, 4, 5] = value
    with pytest.raises(DataError, match=r"made\.nii: 1 voxels are NaN or infinite; .*nonfinite='fill'"):
        intensity(volume(data))


@given(st.floats(-2000, 2000))
def test_a_window_is_the_same_for_every_scan(value):
    data = torch.tensor([value, -1e9, 1e9]).view(1, 3, 1, 1)
    found = Window(-150.0, 250.0)(volume(data)).data.flatten().tolist()
    assert found == pytest.approx([min(max((value + 150) / 400, 0), 1), 0, 1], abs=2**-22)


@pytest.mark.parametrize("ends", [(1.0, 1.0), (2.0, 1.0), (0.0, float("inf")), (float("nan"), 1.0)])
def test_windows_that_cannot_be(ends):
    with pytest.raises(UsageError, match="two finite numbers, the lower one first"):
        Window(*ends)


@pytest.mark.parametrize(("lower", "upper"), [(50.0, 50.0), (-1.0, 50.0), (1.0, 101.0), (99.0, 1.0)])
def test_percentiles_that_cannot_be(lower, upper):
    with pytest.raises(UsageError, match="numbers from 0 to 100"):
        Percentile(lower, upper)


@pytest.mark.parametrize("intensity", [Window(-150.0, 250.0), Percentile(1.0, 99.0)])
def test_they_travel_with_a_config(intensity):
    assert recipe(intensity)["class_path"].startswith("vitkit.volumes.")
    assert build(recipe(intensity)) == intensity
    made = intensity(volume(tissue()))
    assert made.data.dtype == torch.float32
    assert (made.affine == np.eye(4)).all()
