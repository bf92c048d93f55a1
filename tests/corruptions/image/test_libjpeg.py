"""The levels of a JPEG, by torchvision's codec or in tensors, are those that Pillow reads from the file it wrote, bit for bit."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from vitkit.corruptions import compiled
from vitkit.corruptions.image import codec, jpeg, libjpeg

QUALITIES = [1, 3, 7, 10, 15, 18, 25, 50, 75, 85, 95, 100]
SIZES = [(1, 1), (2, 300), (33, 1), (8, 3), (5, 4), (5, 5), (9, 6), (17, 33), (31, 30), (50, 47), (64, 16)]


def through_a_file(levels, quality):
    """An array (channels, height, width) of bytes, written and read by Pillow."""
    file = BytesIO()
    Image.fromarray(levels[0] if len(levels) == 1 else levels.transpose(1, 2, 0)).save(file, "JPEG", quality=quality)
    read = np.asarray(Image.open(file))
    return read[None] if read.ndim == 2 else read.transpose(2, 0, 1)


@pytest.fixture(params=["codec", "codec and numpy", "tensors"])
def way(request, monkeypatch):
    """By what a JPEG is made."""
    if request.param == "codec and numpy":
        for name in ("pixels", "planes"):
            monkeypatch.setattr(compiled, name, lambda *_: False)
    if request.param == "tensors":
        monkeypatch.setattr(codec, "find", lambda: None)
    elif codec.find() is None:
        pytest.skip("torchvision has no JPEG codec, or that of another libjpeg")


def check(levels, quality):
    made = jpeg(torch.from_numpy(levels).float() / 255, quality)
    expected = np.stack([through_a_file(picture, quality) for picture in levels])
    assert torch.equal(made, torch.from_numpy(expected).float() * (1 / 255))


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("quality", QUALITIES)
@pytest.mark.parametrize("channels", [1, 3])
def test_photographs(quality, channels):
    photographs = np.stack([photograph[100:228, 200:360] for photograph in load_sample_images().images])
    check(photographs.transpose(0, 3, 1, 2)[:, :channels].copy(), quality)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_noise_of_any_size(size, channels):
    """Noise has the largest coefficients; sizes that blocks of 8 or 16 do not divide have edges that are made up."""
    draws = np.random.default_rng(0)
    for quality in QUALITIES:
        check(draws.integers(0, 256, (3, channels, *size), np.uint8), quality)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("channels", [1, 3])
def test_any_strides(channels):
    images = torch.rand(2, channels, 32, 48, generator=torch.Generator().manual_seed(0))
    wanted = jpeg(images, 50)
    for order in ((0, 1, 3, 2), (0, 2, 3, 1), (3, 2, 1, 0)):
        back = [order.index(dim) for dim in range(4)]
        assert torch.equal(jpeg(images.permute(order).contiguous().permute(back), 50), wanted)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("quality", QUALITIES)
def test_black_and_white(quality):
    """Edges as high as they can be go beyond the levels there are."""
    draws = np.random.default_rng(quality)
    check(draws.integers(0, 2, (3, 3, 40, 56), np.uint8) * np.uint8(255), quality)
    check(np.repeat(np.repeat(draws.integers(0, 2, (3, 3, 10, 14), np.uint8), 4, 2), 4, 3) * np.uint8(255), quality)


@pytest.mark.usefixtures("way")
def test_more_images_than_go_together():
    images = torch.rand(37, 3, 9, 12, generator=torch.Generator().manual_seed(0))
    assert torch.equal(jpeg(images, 15), torch.cat([jpeg(image[None], 15) for image in images]))


def test_half_precision_stays():
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    assert torch.equal(jpeg(images, 15), jpeg(images.float(), 15).to(torch.bfloat16))


def test_a_codec_of_other_levels_is_not_used(monkeypatch):
    codec.find.cache_clear()
    monkeypatch.setattr(libjpeg, "coded", lambda levels, quality: levels)
    try:
        assert codec.find() is None
    finally:
        codec.find.cache_clear()


@pytest.mark.usefixtures("way")
def test_many_threads_or_one_precision_or_another_change_nothing():
    images = torch.rand(2, 3, 64, 80, generator=torch.Generator().manual_seed(0))
    expected, threads, precision = jpeg(images, 15), torch.get_num_threads(), torch.get_float32_matmul_precision()
    try:
        torch.set_num_threads(1)
        torch.set_float32_matmul_precision("medium")
        assert torch.equal(jpeg(images, 15), expected)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(jpeg(images, 15), expected)
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu():
    images = torch.rand(2, 3, 67, 80, generator=torch.Generator().manual_seed(0))
    for quality in QUALITIES:
        assert torch.equal(jpeg(images.cuda(), quality).cpu(), jpeg(images, quality))
