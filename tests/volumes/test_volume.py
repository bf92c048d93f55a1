"""A volume's voxels stay where they are in the patient, whatever is done to it."""

from functools import partial

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from tests.volumes.headers import OBLIQUE, TURNS
from vitkit.errors import UsageError
from vitkit.volumes import Volume, read

NUMBERS = st.floats(-3, 3, allow_subnormal=False)
SPACING = st.tuples(*[st.floats(0.4, 5)] * 3)


def rotation(vector):
    return Rotation.from_rotvec(vector).as_matrix()


def volume(size=(4, 5, 6), affine=OBLIQUE, dtype=torch.float32):
    """Every voxel another number."""
    return Volume(torch.arange(int(np.prod(size)), dtype=dtype).view(1, *size), affine, "made.nii")


def ramp(size, affine, gradient=(0.5, -1.25, 2.0), constant=3.0):
    """A volume whose value is linear in world coordinates, in 64 bits."""
    world = np.moveaxis(np.indices(size), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    return Volume(torch.from_numpy(world @ gradient + constant)[None], affine, "ramp.nii")


def turned(data, affine, turn):
    """The same world image, stored with other axes; by nibabel."""
    return nib.apply_orientation(data, turn), affine @ nib.orientations.inv_ornt_aff(turn, data.shape)


@settings(max_examples=8)
@example(np.array([np.pi / 4, 0, 0]), (1.0, 1.0, 1.0))  # as near to one axis as to the other
@example(np.array([1.0, 1.0, 1.0]) * 2 * np.pi / 9, (1.0, 2.0, 3.0))  # greedy matching depends on the order here
@given(arrays(float, 3, elements=NUMBERS), SPACING)
def test_a_grid_turned_any_way_is_oriented_to_the_same_bits(vector, spacing):
    affine = np.eye(4)
    affine[:3, :3] = rotation(vector) @ np.diag(spacing)
    affine[:3, 3] = [10, -20, 30]
    data = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    first = Volume(torch.from_numpy(data)[None], affine, "").oriented()
    for turn in TURNS:
        stored, moved = turned(data, affine, turn)
        found = Volume(torch.from_numpy(stored.copy())[None], moved, "").oriented()
        assert torch.equal(found.data, first.data)
        assert found.affine[:3, :3].tobytes() == first.affine[:3, :3].tobytes()
        np.testing.assert_allclose(found.affine[:3, 3], first.affine[:3, 3], atol=1e-12 * 100)
        assert found.orientation == "RAS"


@pytest.mark.parametrize("form", ["sform", "qform"])
def test_files_turned_in_their_header_give_the_same_bits_to_a_model(scan, form):
    data = np.random.default_rng(0).normal(size=(7, 8, 9)).astype(np.float32)
    prepared = []
    for index, turn in enumerate(TURNS):
        stored, moved = turned(data, OBLIQUE, turn)
        path = scan(stored, moved, f"{index}.nii", **{{"sform": "qform", "qform": "sform"}[form] + "_code": 0})
        found = read(path).oriented().resampled((1.0, 1.7, 3.9)).cropped_or_padded((12, 8, 8))
        prepared.append(found)
    first, real = prepared[0]
    assert first.size == (12, 8, 8)
    for other, also_real in prepared[1:]:
        assert torch.equal(other.data, first.data)
        assert torch.equal(also_real, real)
        # A header's 32-bit floats put the first voxel somewhere within 1e-5 mm, a quaternion's turn a little further.
        np.testing.assert_allclose(other.affine, first.affine, atol=1e-4)


@pytest.mark.parametrize("turn", TURNS[::5], ids=str)
def test_orientation_agrees_with_nibabel_where_axes_are_plain(turn):
    data = np.arange(4 * 5 * 6).reshape(4, 5, 6)
    stored, affine = turned(data, OBLIQUE, turn)
    found = Volume(torch.from_numpy(stored.copy())[None], affine, "")
    oracle = nib.as_closest_canonical(nib.Nifti1Image(stored.astype(np.int32), affine))
    assert found.orientation == "".join(nib.aff2axcodes(affine))
    np.testing.assert_array_equal(found.oriented().data[0], np.asarray(oracle.dataobj))
    np.testing.assert_allclose(found.oriented().affine, oracle.affine, atol=1e-12)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SAR", "PIL"])
def test_every_voxel_keeps_its_place_when_turned(codes):
    before = volume()
    after = before.oriented(codes)
    assert after.orientation == codes
    for index in np.ndindex(*after.size):
        world = after.affine @ [*index, 1]
        source = np.linalg.solve(before.affine, world)[:3]
        np.testing.assert_allclose(source, source.round(), atol=1e-12)
        assert after.data[(0, *index)] == before.data[(0, *map(int, source.round()))]


@pytest.mark.parametrize("codes", ["", "RA", "RRS", "RLS", "XYZ", "ras", "RASR"])
def test_what_is_no_orientation(codes):
    with pytest.raises(UsageError, match="three letters"):
        volume().oriented(codes)


@given(SPACING, st.sampled_from(["RAS", "LIP"]))
def test_a_linear_ramp_in_the_world_stays_that_ramp(spacing, codes):
    before = ramp((9, 10, 12), OBLIQUE).oriented(codes)
    found = before.resampled(spacing)
    steps = np.linalg.norm(before.affine[:3, :3], axis=0)
    changed = [f"{new:.6g}" != f"{old:.6g}" for new, old in zip(spacing, steps, strict=True)]
    np.testing.assert_allclose(np.linalg.norm(found.affine[:3, :3], axis=0), np.where(changed, spacing, steps), rtol=2**-23)
    # Beyond the outermost voxels' centres the ramp does not go on: a sample has to lie that far inside which it is a mean over.
    inside = torch.ones(found.size, dtype=torch.bool)
    for axis, length in enumerate(found.size):
        ratio = spacing[axis] / steps[axis]
        where = (np.arange(length) - (length - 1) / 2) * ratio + (before.size[axis] - 1) / 2
        reach = max(ratio - 1, 0) / 2 + 1e-6
        good = torch.from_numpy((where - reach >= 0) & (where + reach <= before.size[axis] - 1))
        inside &= good.view([-1 if dim == axis else 1 for dim in range(3)])
    torch.testing.assert_close(found.data[0][inside], ramp(found.size, found.affine).data[0][inside], rtol=0, atol=1e-10)
    # The centre of the whole is where it was.
    old, new = (each.affine @ [*(np.array(each.size) - 1) / 2, 1] for each in (before, found))
    np.testing.assert_allclose(new, old, atol=1e-9)


def straight(size, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return Volume(torch.rand(2, *size, generator=generator, dtype=dtype), np.diag([2.0, 2.0, 2.0, 1.0]), "straight.nii")


def test_finer_is_trilinear_as_torch_does_it():
    before = straight((4, 5, 6))
    oracle = torch.nn.functional.interpolate(before.data[None], scale_factor=2, mode="trilinear", align_corners=False)[0]
    torch.testing.assert_close(before.resampled((1.0, 1.0, 1.0)).data, oracle, rtol=0, atol=1e-12)


def test_twice_as_coarse_is_the_mean_of_neighbours():
    before = straight((4, 6, 8))
    oracle = torch.nn.functional.avg_pool3d(before.data[None], 2)[0]
    torch.testing.assert_close(before.resampled((4.0, 4.0, 4.0)).data, oracle, rtol=0, atol=1e-12)


@pytest.mark.parametrize("factor", [3, 1 / 2, 1 / 3])
def test_nearest_is_torchs_nearest_exact(factor):
    before = straight((6, 9, 12))
    oracle = torch.nn.functional.interpolate(
        before.data[None], size=[round(length / factor) for length in before.size], mode="nearest-exact"
    )[0]
    assert torch.equal(before.resampled([2.0 * factor] * 3, "nearest").data, oracle)


@given(SPACING)
def test_no_voxel_is_passed_over(spacing):
    before = straight((7, 8, 9))
    data = before.data.clone().requires_grad_()
    after = Volume(data, before.affine, "").resampled(spacing)
    torch.testing.assert_close(after.data.amax() <= before.data.amax() + 1e-12, torch.tensor(True))
    after.data.sum().backward()
    assert data.grad.min() > -1e-12
    if all(new >= old for new, old in zip(spacing, before.spacing, strict=True)):
        # The field of view is rounded to whole voxels, so the outermost may be left out by less than half a new one.
        margins = [int(np.ceil(new / old / 2)) for new, old in zip(spacing, before.spacing, strict=True)]
        inner = data.grad[
            (slice(None), *(slice(margin, size - margin) for margin, size in zip(margins, before.size, strict=True)))
        ]
        assert inner.numel() == 0 or inner.min() > 1e-6


def test_the_same_spacing_changes_no_bit():
    before = volume()
    after = before.resampled(before.spacing)
    assert torch.equal(after.data, before.data)
    assert after.affine.tobytes() == before.affine.tobytes()


def test_spacing_is_read_as_the_header_means_it():
    affine = np.eye(4)
    affine[:3, :3] = rotation([0.3, 0.5, -0.2]) @ np.diag([0.7, 1.1, 0.48828125])
    stored = volume(affine=affine.astype(np.float32).astype(np.float64))
    assert stored.spacing == (0.7, 1.1, 0.488281)
    assert stored.resampled((0.7, 1.1, 0.48828125)).affine.tobytes() == stored.affine.tobytes()


def test_whole_numbers_are_not_interpolated():
    labels = volume(dtype=torch.int32)
    with pytest.raises(UsageError, match=r"made\.nii: linear interpolation of whole numbers .* interpolation=\"nearest\""):
        labels.resampled((1.0, 1.0, 1.0))
    assert set(labels.resampled((1.0, 1.0, 1.0), "nearest").data.unique().tolist()) <= set(range(120))


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (1.0, 1.0, 0.0), (1.0, -1.0, 1.0), (1.0, 1.0, float("nan"))])
def test_what_is_no_spacing(spacing):
    with pytest.raises(UsageError, match="a positive number for each of three axes"):
        volume().resampled(spacing)


def test_what_is_no_interpolation(unchecked):
    with pytest.raises(UsageError, match="linear or nearest"):
        volume().resampled((1.0, 1.0, 1.0), "cubic")


SIZES = st.tuples(*[st.integers(1, 9)] * 3)


@given(SIZES, SIZES, st.one_of(st.none(), st.tuples(*[st.integers(-10, 10)] * 3)))
def test_a_crop_keeps_every_voxel_in_its_place_and_says_which_are_real(old, new, start):
    before = volume(old)
    after, real = before.cropped_or_padded(new, start, fill=-1.0)
    assert after.size == new
    expected = torch.full((1, *new), -1.0)
    known = torch.zeros(new, dtype=torch.bool)
    for index in np.ndindex(*new):
        source = np.linalg.solve(before.affine, after.affine @ [*index, 1])[:3]
        place = tuple(map(int, source.round()))
        np.testing.assert_allclose(source, place, atol=1e-9)
        if all(0 <= at < length for at, length in zip(place, old, strict=True)):
            expected[(0, *index)], known[index] = before.data[(0, *place)], True
    assert torch.equal(after.data, expected)
    assert torch.equal(real, known)


def test_without_a_start_the_middle_is_kept():
    after, real = volume((4, 5, 6)).cropped_or_padded((2, 2, 9))
    origin = np.linalg.solve(OBLIQUE, after.affine)[:3, 3]
    np.testing.assert_allclose(origin, [1, 1, -1], atol=1e-12)
    assert real.all(dim=0).all(dim=0).tolist() == [False] + [True] * 6 + [False] * 2


@pytest.mark.parametrize("arguments", [((0, 1, 1),), ((1, 1),), ((1, 1, 1), (0, 0))])
def test_what_is_no_crop(arguments):
    with pytest.raises(UsageError, match="a whole number for each of three axes"):
        volume().cropped_or_padded(*arguments)


@pytest.mark.parametrize(
    "affine",
    [np.zeros((4, 4)), np.diag([1.0, 0, 1, 1]), np.full((4, 4), np.nan), np.diag([1.0, 1, 1, 2]), np.eye(3)],
    ids=["zero", "singular", "nan", "last row", "three"],
)
def test_what_is_no_affine(affine, unchecked):
    with pytest.raises(UsageError, match=r"made\.nii: the affine"):
        volume(affine=affine)


def test_an_affine_cannot_be_changed_from_outside():
    affine = OBLIQUE.copy()
    made = volume(affine=affine)
    affine[0, 0] = 99
    assert made.affine[0, 0] == OBLIQUE[0, 0]
    change = partial(made.affine.__setitem__, (0, 0), 1)
    with pytest.raises(ValueError, match="read-only"):
        change()
