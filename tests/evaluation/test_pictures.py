import numpy as np
import pytest
import torch
from PIL import Image

from vitkit.evaluation.pictures import save_strip


def strip(tmp_path, images, removed=None):
    save_strip(tmp_path / "deep" / "strip.png", images, removed)
    with Image.open(tmp_path / "deep" / "strip.png") as picture:
        return np.asarray(picture)


def test_small_images_are_enlarged_exactly(tmp_path):
    images = torch.rand(6, 1, 8, 10)
    pixels = strip(tmp_path, images)
    assert pixels.shape == (64, 6 * 80 + 5 * 4, 3)
    first = pixels[::8, :80:8, 0]
    np.testing.assert_array_equal(first, (images[0, 0] * 255).round().to(torch.uint8).numpy())
    assert (pixels[:, 80:84] == 255).all()
    assert (pixels[..., 0] == pixels[..., 1]).all()


def test_colours_are_kept_and_other_channels_show_the_first(tmp_path):
    colour = torch.tensor([1.0, 0.5, 0.0]).view(1, 3, 1, 1).expand(1, 3, 64, 64)
    assert strip(tmp_path, colour)[0, 0].tolist() == [255, 128, 0]
    assert strip(tmp_path, colour[:, :2])[0, 0].tolist() == [255, 255, 255]


def test_large_images_are_reduced(tmp_path):
    assert strip(tmp_path, torch.rand(2, 3, 224, 448)).shape == (128, 2 * 256 + 4, 3)


@pytest.mark.parametrize("size", [(8, 8), (300, 300)])
def test_removed_tokens_are_a_pattern_and_the_rest_stays(tmp_path, size):
    removed = torch.zeros(1, *size, dtype=torch.bool)
    removed[:, : size[0] // 2] = True
    pixels = strip(tmp_path, torch.zeros(1, 1, *size), removed)
    half = pixels.shape[0] // 2
    assert set(np.unique(pixels[: half - 1])) == {200, 235}
    assert (pixels[half + 1 :] == 0).all()


def test_of_a_volume_the_middle_slice_is_shown(tmp_path):
    volume = torch.zeros(1, 1, 5, 64, 64)
    volume[:, :, 2] = 1
    assert (strip(tmp_path, volume) == 255).all()


def test_a_volumes_head_is_up_and_its_front_to_the_right(tmp_path):
    volume = torch.zeros(1, 1, 5, 64, 64)
    volume[..., 48:] = 1.0
    volume[..., 60:, :] = 1.0
    shown = strip(tmp_path, volume)
    assert (shown[:16] == 255).all()
    assert (shown[:, 60:] == 255).all()
    assert not shown[16:, :60].any()


def test_the_same_images_make_the_same_file(tmp_path):
    images = torch.rand(6, 3, 16, 16)
    save_strip(tmp_path / "a.png", images)
    save_strip(tmp_path / "b.png", images)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
