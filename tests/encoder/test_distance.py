"""Shapes seen by how deep inside of them a voxel lies, against the definition, and along one axis against scipy."""

from itertools import product
from math import inf, nan

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.ndimage import distance_transform_edt

from vitkit.embedding import PatchEmbed
from vitkit.encoder import Classifier, Encoder, by_distance, distance_inside
from vitkit.errors import UsageError
from vitkit.evaluation import RandomOcclusion, SalientOcclusion, Suite, evaluate
from vitkit.planning import plan
from vitkit.preprocess import Preprocess
from vitkit.tasks import ClassificationTask

SHAPES = arrays.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=9)


def exact(inside, limit, spacing=None):
    """As it is defined: the nearest box outside, of those beyond the border, too."""
    steps = np.array(spacing or [1.0] * inside.ndim)
    outside = np.argwhere(~np.pad(inside, 1)) - 1
    found = np.zeros(inside.shape)
    for place in np.argwhere(inside):
        ways = (np.abs(outside - place) - 0.5).clip(min=0) * steps
        found[tuple(place)] = np.sqrt(np.square(ways).sum(1).min())
    return found.clip(max=limit)


def close(found, expected):
    # Sums of up to three squares and a root, in 32-bit floats.
    np.testing.assert_allclose(found, expected, rtol=4 * np.finfo(np.float32).eps)


@given(
    inside=arrays.arrays(bool, SHAPES, elements=st.sampled_from([True, True, True, False])),
    limit=st.sampled_from([0.5, 1.0, 2.5, 4.0, 30.0]),
)
def test_distances_are_those_to_the_nearest_box_outside(inside, limit):
    close(distance_inside(torch.from_numpy(inside)[None], limit)[0], exact(inside, limit))


@given(inside=arrays.arrays(bool, (6, 5, 4), elements=st.sampled_from([True, True, True, False])), seed=st.integers(0, 99))
def test_distances_are_in_the_spacings_unit(inside, seed):
    spacing = np.random.default_rng(seed).uniform(0.3, 3.0, 3).tolist()
    close(distance_inside(torch.from_numpy(inside)[None], 3.7, spacing)[0], exact(inside, 3.7, spacing))


def ball(radius=6.0, size=(18, 16, 14), spacing=(1.0, 1.0, 1.0)):
    axes = [(torch.arange(length) - (length - 1) / 2) * step for length, step in zip(size, spacing, strict=True)]
    squares = sum(axis.square().view([-1 if i == j else 1 for j in range(3)]) for i, axis in enumerate(axes))
    return (squares < radius**2).float()[None, None]


def test_a_shape_in_its_box_is_the_shape_in_its_image():
    shapes = torch.cat([ball(3.0), ball(6.0), torch.zeros_like(ball()), ball().roll(5, 2)])[:, 0] > 0.5
    together = distance_inside(shapes, 9.0)
    for shape, found in zip(shapes, together, strict=True):
        assert torch.equal(distance_inside(torch.nn.functional.pad(shape, (4,) * 6)[None], 9.0)[0, 4:-4, 4:-4, 4:-4], found)
    assert not together[2].any()


@given(inside=arrays.arrays(bool, st.integers(1, 30), elements=st.sampled_from([True, True, True, False])))
def test_along_one_axis_it_is_scipys_distance_less_half_a_step(inside):
    scipys = distance_transform_edt(np.pad(inside, 1), sampling=[0.5])[1:-1]
    close(distance_inside(torch.from_numpy(inside)[None], 9.0, [0.5])[0], (scipys - 0.25).clip(min=0))


def test_a_slab_is_half_as_deep_as_it_is_thick_whatever_its_voxels():
    for axis, step in product(range(3), (1.0, 3.0)):
        slab = torch.zeros(1, 1, 15, 15, 15)
        slab.narrow(2 + axis, 4, 7).fill_(1.0)
        spacing = [1e3] * 3
        spacing[axis] = step
        depths = 100 * by_distance(slab, 100.0, spacing).movedim(2 + axis, 2)[0, 0, 4:11, 7, 7]
        assert depths.tolist() == pytest.approx([step * (0.5 + min(place, 6 - place)) for place in range(7)])


def test_the_middle_of_a_ball_is_as_deep_as_its_radius():
    seen = by_distance(ball(), scale=12.0)
    assert seen.shape == ball().shape
    assert abs(12 * float(seen.max()) - 6.0) < 3**0.5  # a voxel's diagonal
    assert torch.equal(seen > 0, ball() > 0.5)
    assert float(by_distance(ball(), scale=2.0).max()) == 1.0


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("scale", "spacing"), [(0.0, None), (-1.0, None), (nan, None), (1.0, [1.0, 2.0]), (1.0, [1.0, 0.0, 1.0])]
)
def test_what_measures_nothing_is_refused(scale, spacing):
    with pytest.raises(UsageError, match="positive numbers, one spacing for each axis"):
        by_distance(ball(), scale, spacing)


def model(distance=3.0, channels=1, spacing=None, background=0.0):
    torch.manual_seed(0)
    encoder = Encoder(PatchEmbed(ndim=3, patch_size=2, in_chans=channels, dim=32), depth=1, num_heads=2)
    preprocess = Preprocess(size=(18, 16, 14), mean=(0.1,) * channels, std=(0.3,) * channels, spacing=spacing)
    return Classifier(encoder, 2, preprocess, background, distance=distance).eval()


def test_a_classifier_sees_distances_in_place_of_the_shape():
    shapes = torch.cat([ball(4.0), ball(6.0)])
    plain = model(distance=None)
    torch.testing.assert_close(model()(shapes), plain(by_distance(shapes, 3.0)))
    # Soft edges are the same shape, and a gain moves nothing until it crosses one half.
    assert torch.equal(model()(shapes * 0.9 + 0.04), model()(shapes))
    assert not model().brightness_certificate().family


def test_distances_are_in_mm_where_the_preprocess_has_a_spacing():
    shapes = torch.cat([ball(4.0), ball(6.0)])
    torch.testing.assert_close(model(6.0, spacing=(2.0, 2.0, 2.0))(shapes), model(3.0)(shapes))


def test_a_graph_and_a_plan_of_it_can_be_made():
    shapes = torch.cat([ball(4.0), ball(6.0)])
    exported = torch.export.export(model(background=None), (shapes,))
    torch.testing.assert_close(exported.module()(shapes), model(background=None)(shapes))
    encoder = Encoder(PatchEmbed(ndim=3, patch_size=2, in_chans=1, dim=32), depth=1, num_heads=2)
    preprocess = Preprocess(size=(18, 16, 14))
    near, plain = (ClassificationTask(encoder, num_classes=2, preprocess=preprocess, distance=each) for each in (3.0, None))
    assert plan(near, 2).peak >= plan(plain, 2).peak


@pytest.mark.usefixtures("unchecked")  # a graph of checked shapes cannot be made
def test_it_compiles_to_one_graph():
    shapes = torch.cat([ball(4.0), ball(6.0)])
    compiled = torch.compile(lambda images: by_distance(images, 3.0), fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(shapes), by_distance(shapes, 3.0))


def test_what_is_no_real_voxel_is_outside_of_every_shape():
    shapes, real = torch.cat([ball(4.0), ball(6.0)]), torch.ones(2, 18, 16, 14, dtype=torch.bool)
    real[:, :9] = False
    other = torch.where(real[:, None], shapes, 1.0)
    assert torch.equal(model()(shapes, real=real), model()(other, real=real))
    assert torch.equal(model()(shapes, real=real), model()(shapes * real[:, None], real=real))


def test_a_long_reach_costs_no_more_than_the_image_is_long():
    assert torch.equal(distance_inside(ball()[:, 0] > 0.5, 1e9), distance_inside(ball()[:, 0] > 0.5, 30.0))


def test_removing_tokens_would_not_hide_them():
    suite = Suite("one", [RandomOcclusion("removed", [0.5]), SalientOcclusion("painted", [0.5], by="gradient")])
    shapes = torch.cat([ball(3.0), ball(6.0)])
    results = evaluate(model(), [(shapes, torch.tensor([0, 1]))], suite, guard=False)
    skipped = {condition.id: condition.skipped for condition in results.conditions if condition.skipped}
    assert "what is removed would still show" in skipped["occlusion.random.removed/0.5"]
    assert any("no gradient with respect to the image" in reason for reason in skipped.values())


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "options", [*({"distance": wrong} for wrong in (0.0, -1.0, inf, nan)), {"channels": 2}, {"background": 1.0}]
)
def test_mistakes_are_refused(options):
    with pytest.raises(UsageError, match="distance="):
        model(**options)


def test_shapes_are_not_mixed():
    encoder = Encoder(PatchEmbed(ndim=3, patch_size=2, in_chans=1, dim=32), depth=1, num_heads=2)
    with pytest.raises(UsageError, match=r"model\.distance=3.0 with mixup"):
        ClassificationTask(encoder, num_classes=2, preprocess=Preprocess(size=(18, 16, 14)), distance=3.0, mixup=0.2)
