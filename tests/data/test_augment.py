"""Random changes of volumes: what they may and may not change."""

import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from vitkit.data.augment import RandomAffine3d, RandomFlip, RandomIntensity, RandomShift
from vitkit.errors import UsageError


def volume(size=(6, 5, 4), channels=2):
    return torch.rand(channels, *size, generator=torch.Generator().manual_seed(0))


def draws(transform, count=40):
    torch.manual_seed(0)
    return [transform(volume()) for _ in range(count)]


def test_left_and_right_are_never_exchanged_unasked():
    flips = [(dims, volume().flip(dims)) for dims in ([], [2], [3], [2, 3])]
    found = [next(tuple(dims) for dims, flipped in flips if torch.equal(flipped, drawn)) for drawn in draws(RandomFlip())]
    assert len(set(found)) == 4  # and no other, or next would have found none


def test_what_is_listed_is_flipped():
    assert torch.equal(RandomFlip(["R"], p=1.0)(volume()), volume().flip(1))
    assert torch.equal(RandomFlip(["S", "R"], p=1.0)(volume()), volume().flip(1, 3))
    assert torch.equal(RandomFlip(["A"], p=0.0)(volume()), volume())


def test_a_shift_moves_voxels_and_changes_none():
    one = torch.zeros(1, 9, 9, 9)
    one[0, 4, 4, 4] = 0.7
    torch.manual_seed(0)
    places = torch.stack([RandomShift((3, 1, 0))(one).nonzero()[0] - 4 for _ in range(60)])[:, 1:]
    assert places.min(0).values.tolist() == [-3, -1, 0]
    assert places.max(0).values.tolist() == [3, 1, 0]
    assert RandomShift(2)(one).sum() == one.sum()


def test_an_affine_of_nothing_is_the_identity_and_a_half_turn_two_flips():
    nothing = RandomAffine3d(degrees=0.0, scale=(1.0, 1.0))
    torch.testing.assert_close(nothing(volume()), volume())
    turned = nothing.changed(volume(), False, angles=[torch.pi, 0.0, 0.0], factor=1.0, shift=[0.0] * 3)
    torch.testing.assert_close(turned, volume().flip(2, 3), rtol=0, atol=1e-5)  # rounding of cosines over a few voxels


def test_the_nearest_makes_no_new_values_and_is_what_a_mask_gets():
    shape = (volume() > volume().median()).float()
    drawn = {"angles": [0.3, -0.2, 0.1], "factor": 1.1, "shift": [0.4, 0.0, -0.7]}
    linear, nearest = (RandomAffine3d(interpolation=mode) for mode in ("linear", "nearest"))
    assert set(nearest.changed(shape, False, **drawn).unique().tolist()) == {0.0, 1.0}
    assert len(linear.changed(shape, False, **drawn).unique()) > 2
    torch.testing.assert_close(nearest.changed(shape, False, **drawn), linear.changed(shape, True, **drawn))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_an_affine_shifts_by_voxels_and_scales_about_the_middle(axis):
    made = RandomAffine3d()
    shift = [0.0, 0.0, 0.0]
    shift[axis] = 1.0
    moved = made.changed(volume(), False, angles=[0.0] * 3, factor=1.0, shift=shift)
    torch.testing.assert_close(moved.narrow(1 + axis, 1, 3), volume().narrow(1 + axis, 0, 3), rtol=0, atol=1e-5)
    ramp = torch.linspace(-1, 1, 9).view(-1, 1, 1).expand(9, 9, 9).movedim(0, axis)[None]
    twice = made.changed(ramp, False, angles=[0.0] * 3, factor=2.0, shift=[0.0] * 3)
    torch.testing.assert_close(twice, ramp / 2, rtol=0, atol=1e-6)


def test_a_turn_is_one_in_mm():
    # A bar along the second axis, turned by a right angle, lies along the third: half as many voxels of twice the length.
    bar = torch.zeros(1, 1, 16, 16)
    bar[..., 4:12, 7:9] = 1
    made = RandomAffine3d(spacing=(1.0, 1.0, 2.0))
    turned = made.changed(bar, False, angles=[torch.pi / 2, 0.0, 0.0], factor=1.0, shift=[0.0] * 3)
    length, width = ((turned[0, 0] > 0.5).any(1 - axis).sum() for axis in (1, 0))
    assert (int(length), int(width)) == (4, 4)


def test_an_affine_draws_within_its_bounds():
    made = RandomAffine3d(degrees=10.0, scale=(0.5, 2.0), shift=3.0)
    torch.manual_seed(0)
    drawn = [made.make_params([]) for _ in range(200)]
    degrees = torch.tensor([params["angles"] for params in drawn]).rad2deg()
    factors = torch.tensor([params["factor"] for params in drawn])
    assert 9 < degrees.max() <= 10
    assert -10 <= degrees.min() < -9
    assert 0.5 <= factors.min() < 0.6 < 1.8 < factors.max() <= 2
    assert torch.tensor([params["shift"] for params in drawn]).abs().max() <= 3


def test_intensities_stay_in_range_and_in_order():
    for drawn in draws(RandomIntensity(0.3, 0.3, 0.5)):
        assert 0 <= drawn.min() <= drawn.max() <= 1
        order = volume().flatten().argsort()
        assert (drawn.flatten()[order].diff() >= 0).all()
    assert torch.equal(RandomIntensity(0.0, 0.0)(volume()), volume())


@pytest.mark.parametrize("transform", [
    RandomFlip(["R", "A", "S"]), RandomShift(2), RandomAffine3d(20.0, (0.8, 1.2), 1.0), RandomIntensity(),
    v2.RandomOrder([RandomFlip(), RandomShift(1)]), v2.RandomApply([RandomShift(2)]),
])  # fmt: skip
def test_a_mask_goes_where_its_volume_goes(transform):
    inside = torch.zeros(1, 6, 5, 4)
    inside[:, 1:4, 1:, 2:] = 1
    for seed in range(10):
        torch.manual_seed(seed)
        image, mask = transform(tv_tensors.Image(inside), tv_tensors.Mask(inside.to(torch.uint8)))
        assert isinstance(image, tv_tensors.Image)
        assert isinstance(mask, tv_tensors.Mask)
        assert mask.dtype == torch.uint8
        torch.manual_seed(seed)
        if isinstance(transform, RandomIntensity):
            assert torch.equal(mask, inside.to(torch.uint8))
        elif not isinstance(transform, RandomAffine3d):
            assert torch.equal(image, mask.float())
        else:
            assert ((image >= 0.5) == mask.bool()).float().mean() > 0.9  # linear against nearest


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("make", "said"), [
    (lambda: RandomFlip(["L"]), "axes"),
    (lambda: RandomFlip(p=1.5), "p=1.5"),
    (lambda: RandomShift(-1), "voxels=-1"),
    (lambda: RandomShift((1, 2)), "voxels"),
    (lambda: RandomAffine3d(degrees=-1.0), "degrees=-1.0"),
    (lambda: RandomAffine3d(scale=(1.2, 1.1)), "scale"),
    (lambda: RandomAffine3d(spacing=(1.0, 1.0, 0.0)), "spacing"),
    (lambda: RandomAffine3d(interpolation="cubic"), "interpolation=cubic"),
    (lambda: RandomIntensity(gain=-0.1), "gain=-0.1"),
    (lambda: RandomShift(1)(torch.zeros(1, 8, 8)), "a volume of shape"),
])  # fmt: skip
def test_what_cannot_be(make, said):
    with pytest.raises(UsageError, match=said):
        make()
