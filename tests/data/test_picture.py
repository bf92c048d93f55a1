import io

import numpy as np
import pytest
import torch
from PIL import Image

from vitkit.data.picture import read_picture
from vitkit.errors import DataError

RAMP = np.linspace(0, 255, 48).astype(np.uint8).reshape(6, 8)
COLOUR = np.stack([RAMP, RAMP[::-1], 255 - RAMP], axis=-1)


def written(tmp_path, image, name="a.png", **options):
    path = tmp_path / name
    image.save(path, **options)
    return read_picture(path)


def test_grey_and_colour_come_back_as_they_were(tmp_path):
    grey, colour = written(tmp_path, Image.fromarray(RAMP)), written(tmp_path, Image.fromarray(COLOUR))
    assert (grey.mode, colour.mode) == ("L", "RGB")
    np.testing.assert_array_equal(np.asarray(grey), RAMP)
    np.testing.assert_array_equal(np.asarray(colour), COLOUR)


def test_a_palette_is_looked_up(tmp_path):
    image = Image.fromarray(COLOUR).quantize(48)
    np.testing.assert_array_equal(np.asarray(written(tmp_path, image)), np.asarray(image.convert("RGB")))


def test_one_bit_becomes_black_and_white(tmp_path):
    image = written(tmp_path, Image.fromarray(RAMP > 100))
    assert image.mode == "L"
    np.testing.assert_array_equal(np.asarray(image), np.where(RAMP > 100, 255, 0))


def test_cmyk_becomes_the_colour_it_prints(tmp_path):
    image = written(tmp_path, Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "a.jpg", quality=100)
    assert image.mode == "RGB"
    np.testing.assert_allclose(np.asarray(image), np.broadcast_to([255, 0, 0], (8, 8, 3)), atol=3)  # JPEG at its finest


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_transparent_pixels_lie_over_white(tmp_path, mode):
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    if mode in ("LA", "RGBA"):
        read = written(tmp_path, image.convert(mode))
    else:
        palette = Image.new("P", (2, 1))
        palette.putpalette([0, 0, 0, 9, 9, 9])
        palette.putpixel((1, 0), 1)
        read = written(tmp_path, palette, transparency=1)
    np.testing.assert_array_equal(np.asarray(read.convert("L")), [[0, 255]])


def test_half_transparent_is_half_white(tmp_path):
    read = written(tmp_path, Image.new("RGBA", (1, 1), (0, 0, 0, 128)))
    np.testing.assert_allclose(np.asarray(read), 127, atol=1)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_16_bit_grey_keeps_its_depth(tmp_path, name):
    values = np.array([[0, 1, 256, 65535]], dtype=np.uint16)
    image = Image.fromarray(values.astype(np.int32)) if name == "a.pgm" else Image.fromarray(values)
    read = written(tmp_path, image, name)
    assert read.dtype == torch.float32
    torch.testing.assert_close(read, torch.tensor([[[0, 1 / 65535, 256 / 65535, 1]]]))


def test_big_endian_16_bit(tmp_path):
    (tmp_path / "a.pgm").write_bytes(b"P5 2 1 65535\n" + np.array([258, 65535], dtype=">u2").tobytes())
    torch.testing.assert_close(read_picture(tmp_path / "a.pgm"), torch.tensor([[[258 / 65535, 1]]]))


def test_exif_orientation_is_applied(tmp_path):
    image = Image.fromarray(RAMP)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it a quarter clockwise
    np.testing.assert_array_equal(np.asarray(written(tmp_path, image, exif=exif)), np.rot90(RAMP, -1))


@pytest.mark.parametrize("values", [np.full((2, 2), 70000, np.int32), np.full((2, 2), 0.5, np.float32)])
def test_pixels_of_unknown_range_are_refused(tmp_path, values):
    with pytest.raises(DataError, match=r"a\.tif cannot be read: its pixels"):
        written(tmp_path, Image.fromarray(values), "a.tif")


def test_more_than_one_picture_in_a_file(tmp_path):
    with pytest.raises(DataError, match=r"a\.tif holds 2 frames"):
        written(tmp_path, Image.fromarray(RAMP), "a.tif", save_all=True, append_images=[Image.fromarray(RAMP)])


def encoded(kind):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("cut.jpg", encoded("JPEG")[:1500], "truncated"),
        ("cut.png", encoded("PNG")[:1500], "truncated"),
        ("cut.webp", encoded("WEBP")[:1500], "cannot be read"),
        ("empty.png", b"", "is empty"),
        ("text.png", b"no picture at all", "is not a picture"),
    ],
)
def test_broken_files_are_named(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        read_picture(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_went_away(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        read_picture(tmp_path / "gone.png")
