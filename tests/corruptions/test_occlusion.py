from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vitkit.corruptions import area_of, edges, hidden_count, kept, paint, random_masks
from vitkit.errors import UsageError
from vitkit.grid import Grid

GRIDS = st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple)
RATIOS = st.floats(0, 0.999)


@given(GRIDS, RATIOS, RATIOS, st.integers(0, 2**64 - 1))
def test_masks_are_nested(shape, first, second, seed):
    low, high = sorted([first, second])
    small, large = random_masks([seed], Grid(shape), low), random_masks([seed], Grid(shape), high)
    assert (small & ~large).sum() == 0


@given(GRIDS, RATIOS)
def test_every_image_hides_the_same_number(shape, ratio):
    grid = Grid(shape)
    masks = random_masks(range(5), grid, ratio)
    assert masks.shape == (5, *shape)
    assert masks.flatten(1).sum(1).tolist() == [hidden_count(ratio, len(grid))] * 5


@given(st.integers(0, 99), st.integers(1, 400))
def test_the_count_is_the_floor_of_the_exact_product(percent, cells):
    assert hidden_count(percent / 100, cells) == int(Fraction(percent, 100) * cells)


def test_a_mask_depends_on_its_own_seed_alone():
    grid = Grid((7, 7))
    together = random_masks([3, 1, 2**64 - 1], grid, 0.4)
    for index, seed in enumerate([3, 1, 2**64 - 1]):
        assert torch.equal(random_masks([seed], grid, 0.4)[0], together[index])
    assert not torch.equal(together[0], together[1])


def test_every_cell_is_hidden_equally_often():
    """The share of hiding a cell is binomial: 5 standard deviations hold for all 16 cells but once in 100,000."""
    share = random_masks(range(4000), Grid((4, 4)), 0.25).float().mean(0)
    assert (share - 0.25).abs().max() < 5 * (0.25 * 0.75 / 4000) ** 0.5


@given(GRIDS, RATIOS, st.integers(0, 1000))
def test_kept_is_what_the_mask_leaves(shape, ratio, seed):
    masks = random_masks([seed, seed + 1], Grid(shape), ratio)
    for row, mask in zip(kept(masks), masks.flatten(1), strict=True):
        assert row.tolist() == [index for index, hidden in enumerate(mask) if not hidden]


def test_kept_refuses_rows_of_other_lengths():
    with pytest.raises(UsageError, match="between 1 and 2 cells"):
        kept(torch.tensor([[True, False], [False, False]]))


@pytest.mark.parametrize("size", [(8, 12), (4, 8, 6)])
@pytest.mark.parametrize("spacing", [None, 0.7, 1.3])
def test_painted_cells_are_the_cells_that_are_removed(size, spacing):
    grid = Grid(tuple(length // 2 for length in size), spacing=(2 * (spacing or 1.0),) * len(size))
    masks = random_masks([11, 12, 13], grid, 0.5)
    images = torch.ones(3, 1, *size)
    painted = paint(images, area_of(masks, size, grid, spacing and (spacing,) * len(size)), "zero")
    # Cut into patches of 2 independently of the code that painted.
    cells = torch.nn.functional.avg_pool2d if len(size) == 2 else torch.nn.functional.avg_pool3d
    values = cells(painted, 2).flatten(1)
    assert set(values.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(values.bool().nonzero()[:, 1].view(3, -1), kept(masks))


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 16))
def test_cells_cover_the_axis_and_none_is_empty(length, cells, spacing):
    if cells > length:
        with pytest.raises(UsageError, match="at most one cell a pixel"):
            edges(length, cells, float(spacing))
        return
    marks = edges(length, cells, float(spacing))
    assert (len(marks), marks[0], marks[-1]) == (cells + 1, 0, length)
    assert all(low < high for low, high in pairwise(marks))


@pytest.mark.parametrize(
    ("length", "cells", "spacing", "marks"),
    [
        (30, 4, 8.0, [0, 8, 16, 24, 30]),  # a padded token is clipped at the border
        (230, 14, 16.0, [*range(0, 224, 16), 230]),  # pixels that no token covers belong to the last
        (9, 3, 0.7, [0, 3, 6, 9]),  # millimetres say nothing about pixels
        (11, 3, 1.0, [0, 3, 7, 11]),
    ],
)
def test_cells_lie_where_the_tokens_lie(length, cells, spacing, marks):
    assert edges(length, cells, spacing) == marks


def test_cells_in_mm_lie_where_tokens_lie_that_the_patch_does_not_divide():
    mask = torch.zeros(1, 8, dtype=torch.bool)
    mask[0, -1] = True
    # Patches of 4 voxels of 0.7 mm on 30 voxels: the last one has two of them.
    area = area_of(mask, (30,), Grid((8,), spacing=(4 * 0.7,)), (0.7,))
    assert area[0].nonzero().flatten().tolist() == [28, 29]


@pytest.mark.parametrize("fill", ["zero", "mean", 0.25])
def test_painting_twice_is_painting_once_and_the_rest_stays(fill):
    images = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    area = random_masks([0, 1], Grid((6, 6)), 0.5)
    once = paint(images, area, fill)
    outside = ~area[:, None].expand_as(images)
    assert torch.equal(once[outside], images[outside])
    if fill != "mean":  # whose value is that of the image before
        assert torch.equal(paint(once, area, fill), once)
    wanted = {"zero": torch.zeros(2, 3), "mean": images.mean((2, 3)), 0.25: torch.full((2, 3), 0.25)}[fill]
    inside = once.masked_select(~outside).view(2, 3, -1)
    assert torch.equal(inside, wanted[..., None].expand_as(inside))


def test_nothing_is_painted_where_nothing_is_hidden():
    images = torch.rand(2, 1, 4, 4)
    assert torch.equal(paint(images, area_of(random_masks([0, 1], Grid((2, 2)), 0.0), (4, 4), Grid((2, 2)))), images)


@pytest.mark.parametrize("ratio", [-0.1, 1.0, float("nan")])
def test_a_ratio_outside_its_range_is_refused(ratio):
    with pytest.raises(UsageError, match=r"expected a share of the area in \[0, 1\)"):
        hidden_count(ratio, 4)


def test_other_mistakes_are_refused():
    with pytest.raises(UsageError, match=r"fill 1\.5"):
        paint(torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2, dtype=torch.bool), 1.5)
    with pytest.raises(UsageError, match="as many axes"):
        area_of(torch.zeros(1, 2, dtype=torch.bool), (4, 4), Grid((2,)))
