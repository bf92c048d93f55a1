import numpy as np
import pytest
import torch
from PIL import Image

from vitkit.errors import UsageError
from vitkit.preprocess import Preprocess
from vitkit.recipe import build, recipe

RGB = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)}


@pytest.fixture
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8))


def test_a_picture_of_the_right_size_is_its_pixels(picture):
    found = Preprocess((37, 53), **RGB)(picture)
    assert torch.equal(found, torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("crop", [1.0, 0.875])
def test_size_and_range(picture, interpolation, crop):
    found = Preprocess((16, 16), **RGB, interpolation=interpolation, crop=crop)(picture)
    assert found.shape == (3, 16, 16)
    assert 0 <= found.min() <= found.max() <= 1


def test_one_channel_makes_a_picture_grey(picture):
    assert Preprocess((8, 8))(picture).shape == (1, 8, 8)


def test_a_volume_is_resized_along_every_axis():
    flat = torch.full((1, 6, 7, 8), 0.25)
    assert torch.equal(Preprocess((3, 9, 8))(flat), torch.full((1, 3, 9, 8), 0.25))


def test_normalising_gives_mean_zero_and_std_one():
    images = torch.randn(500, 3, 8, 8) * torch.tensor(RGB["std"]).view(3, 1, 1) + torch.tensor(RGB["mean"]).view(3, 1, 1)
    found = Preprocess((8, 8), **RGB).normalise(images)
    # Five standard errors of the mean of 32,000 standard normal numbers, and of their standard deviation.
    torch.testing.assert_close(found.mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=5 / 32_000**0.5)
    torch.testing.assert_close(found.std((0, 2, 3)), torch.ones(3), rtol=0, atol=5 / 64_000**0.5)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": ()}, "preprocess.size"),
        ({"size": (0, 8)}, "preprocess.size"),
        ({"size": (8, 8), "std": (0.0,)}, "preprocess.std"),
        ({"size": (8, 8), "mean": (0.5, 0.5)}, "one number per channel"),
        ({"size": (8, 8), "crop": 0.0}, "preprocess.crop"),
        ({"size": (8, 8, 8), "crop": 0.875}, r"preprocess.crop 0.875 for volumes of 3 axes; expected 1"),
        ({"size": (8, 8), "interpolation": "lanczos"}, "preprocess.interpolation 'lanczos'"),
        ({"size": (8, 8), "spacing": (1.0,)}, r"preprocess.spacing \(1.0,\); expected 2 positive numbers of mm"),
        ({"size": (8, 8), "spacing": (1.0, 0.0)}, "preprocess.spacing"),
        ({"size": (8, 8), "spacing": (1.0, float("nan"))}, "preprocess.spacing"),
    ],
)
def test_what_cannot_be(arguments, message):
    with pytest.raises(UsageError, match=message):
        Preprocess(**arguments)


def test_a_tensor_of_other_channels_or_axes():
    with pytest.raises(UsageError, match="an image of shape"):
        Preprocess((8, 8), **RGB)(torch.zeros(1, 8, 8))
    with pytest.raises(UsageError, match="an image of shape"):
        Preprocess((8, 8))(torch.zeros(1, 8, 8, 8))


def test_spacing_travels_and_is_not_missed_where_it_was_not_known_yet():
    described = recipe(Preprocess((8, 8, 8), spacing=(1.0, 1.5, 2.0)))
    assert build(described).spacing == (1.0, 1.5, 2.0)
    del described["init_args"]["spacing"]  # as checkpoints were before volumes had one
    assert build(described).spacing is None
