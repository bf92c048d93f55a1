import pytest
import torch
from timm.layers import build_sincos2d_pos_embed, resample_abs_pos_embed

from vitkit.embedding import LearnedPosition, NoPosition, SinCosPosition
from vitkit.errors import UsageError
from vitkit.grid import Grid


def added(position, grid, dim):
    return position(torch.zeros(1, len(grid), dim), grid)[0]


def test_sincos_agrees_with_timm_in_2d():
    grid = Grid((5, 7))
    oracle = build_sincos2d_pos_embed([5, 7], dim=32, temperature=10_000.0)
    found = added(SinCosPosition(), grid, 32)
    # Each is a set of sines and cosines of the same angles; they differ in the order of channels.
    order = [int((found - oracle[:, [channel]]).abs().sum(0).argmin()) for channel in range(32)]
    assert sorted(order) == list(range(32))
    torch.testing.assert_close(found[:, order], oracle, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("shape", "dim"), [((9,), 8), ((3, 4), 10), ((2, 3, 4), 64)])
def test_sincos_tells_all_positions_apart_and_knows_displacement(shape, dim):
    """The product of two positions depends on their displacement alone."""
    position = added(SinCosPosition(), Grid(shape), dim)
    gram = (position @ position.T).view(*shape, *shape)
    inner = tuple(slice(0, n - 1) if n > 1 else slice(None) for n in shape)
    outer = tuple(slice(1, None) if n > 1 else slice(None) for n in shape)
    torch.testing.assert_close(gram[inner + inner], gram[outer + outer], rtol=0, atol=1e-4)
    assert torch.unique(position, dim=0).shape[0] == len(Grid(shape))


def test_sincos_on_another_grid_covers_the_same_extent():
    position = SinCosPosition(shape=(4,))
    fine = added(position, Grid((8,)), 16)
    whole = added(SinCosPosition(), Grid((4,)), 16)
    assert torch.equal(added(position, Grid((4,)), 16), whole)
    # The first two of eight tokens stand at -0.25 and 0.25 of the four-token grid, around its first.
    rates = 10_000.0 ** -(torch.arange(8) / 8)
    torch.testing.assert_close(fine[:2, :8], torch.tensor([[-0.25], [0.25]]).mul(rates).sin(), rtol=0, atol=1e-6)


def test_learned_is_resampled_as_in_timm():
    position = LearnedPosition(16, (14, 14), std=1.0)
    for shape in ((7, 7), (20, 11)):
        oracle = resample_abs_pos_embed(position.embedding.flatten(0, 1)[None], shape, old_size=(14, 14), num_prefix_tokens=0)
        torch.testing.assert_close(added(position, Grid(shape), 16), oracle[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_learned_resampling_keeps_a_constant(ndim):
    position = LearnedPosition(4, (4,) * ndim)
    position.embedding.data = torch.full_like(position.embedding, 0.3)
    torch.testing.assert_close(added(position, Grid((7,) * ndim), 4), torch.full((7**ndim, 4), 0.3))


def test_learned_on_its_own_grid_is_its_parameter():
    position = LearnedPosition(8, (3, 4))
    assert torch.equal(added(position, Grid((3, 4)), 8), position.embedding.flatten(0, 1))


def test_none_adds_nothing():
    x = torch.randn(2, 6, 8)
    assert NoPosition()(x, Grid((2, 3))) is x


def test_a_learned_position_of_another_width():
    with pytest.raises(UsageError, match="width 8 on 2 axes for tokens of width 16"):
        LearnedPosition(8, (2, 3))(torch.zeros(1, 6, 16), Grid((2, 3)))


def test_too_narrow_for_its_axes():
    with pytest.raises(UsageError, match="width 4 on 3 axes"):
        SinCosPosition()(torch.zeros(1, 8, 4), Grid((2, 2, 2)))
