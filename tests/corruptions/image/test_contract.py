"""What every corruption of images promises: each image's result is its own, in [0, 1], stronger with the severity."""

import pytest
import torch
from sklearn.datasets import load_sample_images

from vitkit.corruptions import image
from vitkit.corruptions.image import blur, filters, pieces
from vitkit.corruptions.image.constants import CIFAR, IMAGENET
from vitkit.errors import UsageError
from vitkit.evaluation import Context, Suite, bundled_suites

EVERY = image.COMMON + image.EXTRA
PLAIN = {
    "defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression", "gaussian_blur", "saturate",
}  # fmt: skip
SEEDS = [11, 2**64 - 1, 12, 13, 14]


@pytest.fixture(scope="module")
def photographs():
    """Five cuts of 48 x 40 pixels."""
    found = load_sample_images().images
    cuts = [found[index % 2][150 + 20 * index :, 200 + 20 * index :][:48, :40] for index in range(5)]
    return torch.stack([torch.tensor(cut).permute(2, 0, 1) / 255 for cut in cuts])


@pytest.mark.parametrize("function", EVERY, ids=lambda function: function.__name__)
def test_an_image_is_corrupted_alike_in_any_company(function, photographs, monkeypatch):
    before = photographs.clone()
    for severity, constants in ((1, "imagenet"), (3, "imagenet"), (5, "imagenet"), (3, "cifar")):
        together = function(photographs, severity, SEEDS, constants=constants)
        assert torch.equal(photographs, before)
        assert together.shape == photographs.shape
        assert 0 <= together.min() <= together.max() <= 1
        assert not torch.equal(together, photographs)
        assert torch.equal(function(photographs[2:3], severity, SEEDS[2:3], constants=constants), together[2:3])
        turned = function(photographs.flip(0), severity, SEEDS[::-1], constants=constants)
        assert torch.equal(turned.flip(0), together)
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    assert torch.equal(function(photographs, 3, SEEDS, constants="cifar"), together)
    torch.set_num_threads(threads)
    monkeypatch.setattr(pieces, "_PIECE", 1)
    again = function(photographs, 3, [0, *SEEDS[1:]], constants="cifar")
    assert torch.equal(again[1:], together[1:])
    assert torch.equal(again[0], together[0]) == (function.__name__ in PLAIN)


@pytest.mark.parametrize("function", EVERY, ids=lambda function: function.__name__)
def test_grey_half_precision_and_nothing_at_all(function, photographs):
    grey = photographs[:2, :1]
    made = function(grey, 4, SEEDS[:2])
    assert made.shape == grey.shape
    assert bool(made.isfinite().all())
    half = function(photographs[:1].half(), 2, SEEDS[:1])
    assert half.dtype == torch.float16
    assert torch.allclose(half.float(), function(photographs[:1].half().float(), 2, SEEDS[:1]), atol=1e-3)
    assert function(photographs[:0], 3, []).shape == (0, 3, 48, 40)
    small = function(photographs[:1, :, :8, :8], 5, SEEDS[:1])
    assert bool(small.isfinite().all())
    for level in (0.0, 1.0):
        flat = function(torch.full((1, 3, 32, 32), level), 5, [3])
        assert bool(flat.isfinite().all())


@pytest.mark.parametrize("function", EVERY, ids=lambda function: function.__name__)
@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_corrupted_is_refused(function):
    images, name = torch.rand(2, 3, 16, 16), function.__name__
    for severity in (0, 6, 2.5):
        with pytest.raises(UsageError, match=f"{name} at severity {severity}"):
            function(images, severity, [1, 2])
    with pytest.raises(UsageError, match="mnist"):
        function(images, 1, [1, 2], constants="mnist")
    with pytest.raises(UsageError, match=r"\(2, 3, 4, 16, 16\)"):
        function(torch.rand(2, 3, 4, 16, 16), 1, [1, 2])
    if name not in PLAIN:
        with pytest.raises(UsageError, match="1 seeds for 2 images"):
            function(images, 1, [1])
    if name in {"snow", "brightness", "saturate", "spatter", "jpeg_compression"}:
        with pytest.raises(UsageError, match="4 channels"):
            function(torch.rand(2, 4, 16, 16), 1, [1, 2])


def test_saved_is_the_corruption_and_then_a_jpeg(photographs):
    plain = image.fog(photographs, 3, SEEDS, constants="cifar")
    assert torch.equal(image.saved(photographs, 3, SEEDS, "fog", constants="cifar"), image.jpeg(plain, 85))
    # The finest tables of JPEG lose next to nothing of a smooth grey image.
    smooth = torch.linspace(0.2, 0.8, 64).expand(1, 1, 64, 64)
    assert (image.jpeg(smooth, 100) - smooth).abs().max() < 3 / 255
    with pytest.raises(UsageError, match="frog"):
        image.saved(photographs, 3, SEEDS, "frog")
    with pytest.raises(UsageError, match="quality 0"):
        image.jpeg(photographs, 0)


def test_constants_are_complete_and_the_suite_holds_all():
    names = [function.__name__ for function in EVERY]
    assert len(set(names)) == 19
    assert set(IMAGENET) == set(CIFAR) == set(names)
    assert all(len(table[name]) == 5 for table in (IMAGENET, CIFAR) for name in names)
    suite = Suite.load(bundled_suites()["corruptions"])
    assert [condition.function for condition in suite.conditions] == list(EVERY)
    assert all(condition.severities == [1, 2, 3, 4, 5] for condition in suite.conditions)
    images = torch.rand(2, 3, 32, 32)
    applied = suite.conditions[0].apply(images, 2.0, Context(["a", "b"]))
    assert torch.equal(
        applied.images, image.gaussian_noise(images, 2, Context(["a", "b"]).seeds("corruptions", "gaussian_noise", 2.0))
    )


def test_pixels_of_glass_are_found_by_following_as_by_moving_one_after_the_other(monkeypatch):
    """Against the loops that the formula is written in."""
    height, width, reach, rounds = 13, 11, 2, 3
    drawn = torch.randint(-(2**31), 2**31, (1, rounds, height * width), generator=torch.Generator().manual_seed(0)).int()
    monkeypatch.setattr(blur, "bits", lambda *_: drawn)
    found = blur.shuffled([1], (height, width), reach, rounds, torch.device("cpu"))[0]
    colours = list(range(height * width))
    for each in drawn[0].tolist():
        for row in range(height - reach, reach, -1):
            for column in range(width - reach, reach, -1):
                here = row * width + column
                across, down = ((half * 2 * reach >> 16) - reach for half in (each[here] & 0xFFFF, (each[here] >> 16) & 0xFFFF))
                colours[here] = colours[(row + down) * width + column + across]
    assert found.tolist() == colours


def test_a_wide_gaussian_is_the_same_by_its_matrix():
    x = torch.rand(2, 1, 9, 9, generator=torch.Generator().manual_seed(1))
    for edge in ("nearest", "mirror", "reflect"):
        weights = filters.gaussian_weights(4.0, 3.0)
        summed = filters.correlate(filters.correlate(x, weights, -2, edge), weights, -1, edge)
        assert torch.allclose(filters.gaussian(x, 4.0, edge, 3.0), summed, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("function", EVERY, ids=lambda function: function.__name__)
def test_a_gpu_makes_the_same_pictures(function, photographs):
    here = function(photographs, 3, SEEDS)
    there = function(photographs.cuda(), 3, SEEDS).cpu()
    # A value on the border of a threshold may fall to the other side, in very few pixels.
    assert ((here - there).abs() > 1e-3).float().mean() < 2e-3
