"""What is compiled gives torch's and numpy's numbers, bit for bit."""

import numpy as np
import pytest
import torch

from vitkit.corruptions import compiled, random
from vitkit.corruptions.compiled import _function
from vitkit.corruptions.image import codec

SEEDS = [0, 1, -5, 2**70]
pytestmark = pytest.mark.skipif(_function("bits") is None, reason="needs a C++ compiler")


def in_torch(monkeypatch):
    for name in ("draw", "pixels", "planes"):
        monkeypatch.setattr(compiled, name, lambda *_: False)


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
    steps = torch.cat([torch.arange(511) / 510, torch.rand(3 * 171 - 511, generator=torch.Generator().manual_seed(0))])
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
