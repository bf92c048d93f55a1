"""What is compiled gives torch's and numpy's numbers, bit for bit."""

import numpy as np
import pytest
import torch

from vitkit.corruptions import compiled, random
from vitkit.corruptions.image import blur, codec, filters, weather
from vitkit.corruptions.image.spatter import _mean, distance, rims

SEEDS = [0, 1, -5, 2**70]
pytestmark = pytest.mark.skipif(not compiled.draw("uniform", [(1, 2)], torch.empty(1, 1)), reason="needs a C++ compiler")


def in_torch(monkeypatch):
    monkeypatch.setattr(compiled, "_run", lambda *_: False)


def pictures(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("draw", [random.bits, random.uniform, random.normal])
@pytest.mark.parametrize("shape", [(0,), (1,), (3, 7), (2, 2**12), (2**18 + 3,)])
@pytest.mark.parametrize("stream", [0, 5])
def test_draws(draw, shape, stream, monkeypatch):
    found = draw(SEEDS, shape, stream=stream)
    in_torch(monkeypatch)
    wanted = draw(SEEDS, shape, stream=stream)
    assert found.shape == wanted.shape == (len(SEEDS), *shape)
    assert found.dtype == wanted.dtype
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("draw", [random.bits, random.uniform, random.normal])
def test_threads_change_nothing(draw):
    wanted, threads = draw([3, 4], (20_001,)), torch.get_num_threads()
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            assert torch.equal(draw([3, 4], (20_001,)), wanted)
    finally:
        torch.set_num_threads(threads)


def test_pixels_and_planes(monkeypatch):
    """Every level, what lies between levels, and the halves between them."""
    steps = torch.cat([torch.arange(511) / 510, pictures(3 * 171 - 511)])
    images = torch.stack([steps, steps.flip(0)]).view(2, 3, 9, 19)
    found = codec._pixels(images)
    back = torch.empty(3, 9, 19)
    assert compiled.planes(found[0], back)
    in_torch(monkeypatch)
    assert torch.equal(codec._pixels(images), found)
    assert np.array_equal(back.numpy(), found[0].permute(2, 0, 1).numpy() * np.float32(1 / 255))


def test_what_does_not_lie_as_it_must_is_left_to_numpy():
    pixels = torch.empty(4, 5, 3, dtype=torch.uint8)
    assert not compiled.pixels(torch.rand(3, 5, 4).transpose(1, 2), pixels)
    assert not compiled.pixels(torch.rand(1, 4, 5), pixels[..., :1])


@pytest.mark.parametrize("most", [0.0, 3.9, 12.0, 200.0])
@pytest.mark.parametrize("shape", [(0,), (1,), (3, 7), (5, 20_001)])
def test_events(shape, most, monkeypatch):
    """Of rates below 4, of larger ones, and of both."""
    rates = pictures(len(SEEDS), *shape) * most
    found = random.poisson(SEEDS, rates, stream=3)
    in_torch(monkeypatch)
    assert torch.equal(found, random.poisson(SEEDS, rates, stream=3))


@pytest.mark.parametrize("edge", ["nearest", "mirror", "reflect"])
@pytest.mark.parametrize("sigma", [1, 0.1, (2.5, 0.1), (0.1, 2.5), (0.0, 3.0)])
@pytest.mark.parametrize("shape", [(2, 3, 33, 40), (1, 25, 26), (26, 25), (0, 3, 30, 30)])
def test_blurs(shape, sigma, edge, monkeypatch):
    x = pictures(*shape)
    found = filters.gaussian(x, sigma, edge)
    in_torch(monkeypatch)
    assert torch.equal(found, filters.gaussian(x, sigma, edge))


@pytest.mark.parametrize("size", [(40, 41), (9, 30), (3, 5)])
@pytest.mark.parametrize("severity", [1, 3, 5])
def test_a_lens_out_of_focus(severity, size, monkeypatch):
    """Also of images that are smaller than its blur."""
    x = pictures(2, 3, *size)
    found = blur.defocus_blur(x, severity)
    in_torch(monkeypatch)
    assert torch.equal(found, blur.defocus_blur(x, severity))


@pytest.mark.parametrize("coloured", [False, True])
def test_needles_of_frost(coloured, monkeypatch):
    found = weather.pane(SEEDS, (40, 53), coloured, "cpu")
    in_torch(monkeypatch)
    assert torch.equal(found, weather.pane(SEEDS, (40, 53), coloured, "cpu"))


@pytest.mark.parametrize("shape", [(3, 1, 60, 61), (2, 1, 12, 40), (1, 1, 1, 5), (1, 1, 5, 1), (0, 1, 6, 6)])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.2])
def test_lit_drops(shape, share, monkeypatch):
    """Rims of blurred noise at levels about those that count, distances to few and to many edges, and means."""
    levels = (pictures(*shape) * 255).round()
    smooth = filters.gaussian(levels, 1.5).floor() * 2
    edges = pictures(*shape) < share

    def found():
        return [rims(levels), rims(smooth), distance(edges), _mean(levels)]

    mine = found()
    assert shape != (3, 1, 60, 61) or 0.01 < mine[1].float().mean() < 0.5
    in_torch(monkeypatch)
    for one, other in zip(mine, found(), strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


def test_no_seeds_and_no_number():
    assert random.poisson([], torch.zeros(0, 3, 4)).shape == (0, 3, 4)
    found = random.poisson([1], torch.tensor([[float("nan"), 1.0, 9.0]]))
    assert found.isnan().tolist() == [[True, False, False]]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.uint8])
def test_other_types_are_left_to_torch(dtype, monkeypatch):
    """Read as float32, they would be other numbers, beyond the end of what is there."""
    levels = (filters.gaussian(pictures(1, 1, 30, 30), 1.0) * 255).to(dtype)

    def found():
        if dtype == torch.uint8:
            return [distance(levels > 100)]
        return [rims(levels), _mean(levels)]

    mine = found()
    in_torch(monkeypatch)
    assert all(torch.equal(one, other) for one, other in zip(mine, found(), strict=True))
    assert not compiled.mean(levels, torch.empty_like(levels), [filters.around(30, 1, "mirror")] * 2)


def test_what_has_gradients_is_left_to_torch():
    x = pictures(1, 1, 30, 30).requires_grad_()
    assert not compiled.mean(x, torch.empty_like(x), [filters.around(30, 1, "mirror")] * 2)
    with torch.no_grad():
        assert compiled.mean(x, torch.empty_like(x), [filters.around(30, 1, "mirror")] * 2)


def test_what_does_not_lie_as_it_must_is_left_to_torch():
    x = pictures(2, 3, 40, 40).transpose(2, 3)
    assert not compiled.blur(x, torch.empty_like(x), [[1.0], [1.0]], [filters.around(40, 0, "nearest")] * 2)
    torch.testing.assert_close(filters.gaussian(x, 2.0), filters.gaussian(x.contiguous(), 2.0))
