"""Shapes seen by how deep inside of them a voxel lies, against scipy's exact transform."""

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
from vitkit.planning import plan
from vitkit.preprocess import Preprocess
from vitkit.tasks import ClassificationTask

SHAPES = arrays.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=9)


def exact(inside, limit, spacing=None):
    """What lies beyond the border is outside."""
    padded = np.pad(inside, 1)
    return distance_transform_edt(padded, sampling=spacing)[(slice(1, -1),) * inside.ndim].clip(max=limit)


def close(found, expected):
    # Sums of up to three squares and a root, in 32-bit floats.
    np.testing.assert_allclose(found, expected, rtol=4 * np.finfo(np.float32).eps)


@given(
    inside=arrays.arrays(bool, SHAPES, elements=st.sampled_from([True, True, True, False])),
    limit=st.sampled_from([0.5, 1.0, 2.5, 4.0, 30.0]),
)
def test_distances_are_scipys_up_to_the_limit(inside, limit):
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


def test_the_middle_of_a_ball_is_as_deep_as_its_radius():
    seen = by_distance(ball(), scale=12.0)
    assert seen.shape == ball().shape
    assert abs(12 * float(seen.max()) - 6.0) < 3**0.5  # a voxel's diagonal
    assert torch.equal(seen > 0, ball() > 0.5)
    assert float(by_distance(ball(), scale=2.0).max()) == 1.0
    mm = (3.0, 1.5, 2.0)
    assert abs(40 * float(by_distance(ball(20.0, spacing=mm), 40.0, mm).max()) - ball_depth(mm)) < 1e-4


def ball_depth(spacing):
    """Of a ball of 20 mm in an image that cuts it off."""
    return exact(ball(20.0, spacing=spacing)[0, 0].numpy() > 0.5, 100.0, spacing).max() - min(spacing) / 2


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
    task = ClassificationTask(encoder, num_classes=2, preprocess=Preprocess(size=(18, 16, 14)), distance=3.0)
    assert (
        plan(task, 2).peak
        > plan(ClassificationTask(encoder, num_classes=2, preprocess=Preprocess(size=(18, 16, 14))), 2).peak / 2
    )


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("options", [{"distance": 0.0}, {"distance": -1.0}, {"distance": float("nan")}, {"channels": 2}])
def test_mistakes_are_refused(options):
    with pytest.raises(UsageError, match="distance="):
        model(**options)
