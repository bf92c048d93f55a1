from itertools import pairwise
from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vitkit.corruptions import (
    Cells,
    border_mask,
    checkerboard_mask,
    hidden_count,
    hide,
    hole_masks,
    random_orders,
    salient_orders,
)
from vitkit.errors import DataError

SHAPES = st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple)
RATIOS = st.floats(0, 0.999)
SEEDS = st.integers(0, 2**64 - 1)


def inside(box):
    """Where along each axis anything is hidden."""
    return [box.amax([other for other in range(box.ndim) if other != axis]) if box.ndim > 1 else box for axis in range(box.ndim)]


@given(SHAPES, RATIOS, RATIOS, SEEDS)
def test_holes_and_borders_are_nested(shape, first, second, seed):
    low, high = sorted([first, second])
    for centred in (True, False):
        assert not (hole_masks(shape, low, [seed], centred) & ~hole_masks(shape, high, [seed], centred)).any()
    assert not (border_mask(shape, low) & ~border_mask(shape, high)).any()


@given(SHAPES, RATIOS, SEEDS, st.booleans())
def test_a_hole_is_a_box_that_could_not_grow_by_a_row(shape, ratio, seed, centred):
    [hole] = hole_masks(shape, ratio, [seed], centred)
    lengths = [int(axis.sum()) for axis in inside(hole)]
    assert int(hole.sum()) == prod(lengths) <= hidden_count(ratio, prod(shape))
    if hole.any():
        for axis in inside(hole):  # in one piece
            assert int(axis.int().diff().abs().sum()) + int(axis[0]) + int(axis[-1]) == 2
        shares = [length / extent for length, extent in zip(lengths, shape, strict=True)]
        least = shares.index(min(shares))
        grown = prod(length + (axis == least) for axis, length in enumerate(lengths))
        assert grown > hidden_count(ratio, prod(shape))


@given(SHAPES, RATIOS)
def test_a_border_leaves_a_window_that_could_not_shrink(shape, ratio):
    window = ~border_mask(shape, ratio)
    lengths = [int(axis.sum()) for axis in inside(window)]
    assert int(window.sum()) == prod(lengths) >= max(1, prod(shape) - hidden_count(ratio, prod(shape)))
    assert all(
        (extent - length) // 2 == int(axis.int().argmax())
        for extent, length, axis in zip(shape, lengths, inside(window), strict=True)
    )


def test_a_square_hole_of_pixels_is_the_squares_that_were_published():
    """Side of a square of 5, 10, 20 and 50 % of 224 x 224, to within a row."""
    for ratio in (0.05, 0.1, 0.2, 0.5):
        side = (ratio * 224**2) ** 0.5
        lengths = [int(axis.sum()) for axis in inside(hole_masks((224, 224), ratio, [0])[0])]
        assert all(side - 1 <= length <= side + 1 for length in lengths)


def test_a_hole_is_everywhere_equally_likely():
    """Its start is uniform over 5 places: 5 standard deviations of a binomial hold but once in 350,000."""
    holes = hole_masks((9,), 5 / 9, range(2000), centred=False)
    starts = torch.bincount(holes.int().argmax(1), minlength=5) / 2000
    assert (starts - 0.2).abs().max() < 5 * (0.2 * 0.8 / 2000) ** 0.5


@given(SHAPES)
def test_a_checkerboard_is_half_and_no_two_neighbours_agree(shape):
    board = checkerboard_mask(shape)
    assert int(board.sum()) == prod(shape) // 2
    for axis in range(len(shape)):
        assert board.int().diff(dim=axis).abs().all()


@given(st.lists(st.integers(4, 12), min_size=1, max_size=2), st.floats(1, 4), st.floats(0, 4), RATIOS, RATIOS, SEEDS)
def test_by_area_the_ratio_is_met_to_within_a_cell_and_nested(size, length, offset, first, second, seed):
    cells = Cells.laid(size, [length] * len(size), [offset] * len(size))
    areas, low, high = cells.areas(), *sorted([first, second])
    orders = random_orders([seed], len(areas))
    small, large = (hide(orders, ratio, areas)[0] for ratio in (low, high))
    assert not (small & ~large).any()
    for mask, ratio in ((small, low), (large, high)):
        hidden, wanted = int(areas[mask].sum()), ratio * prod(size)
        assert wanted - int(areas.max()) < hidden <= wanted + 1e-6


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20), SEEDS)
def test_salient_orders_descend_and_nonsalient_ones_ascend(scores, seed):
    values = torch.tensor([scores])
    for descending, sign in ((True, -1), (False, 1)):
        [order] = salient_orders(values, [seed], descending)
        assert order.sort().values.tolist() == list(range(len(scores)))
        found = values[0][order].double()
        # Two that come in the wrong order differ by rounding alone: half of 1/2048 of the larger one each.
        assert all(sign * (b - a) >= -max(a, b) / 2048 for a, b in pairwise(found.tolist()))


def test_rounding_of_scores_does_not_change_the_order():
    scores = torch.rand(5, 50, generator=torch.Generator().manual_seed(0)) + 0.1
    noise = 1 + 1e-7 * torch.randn(5, 50, generator=torch.Generator().manual_seed(1))
    assert torch.equal(salient_orders(scores, range(5)), salient_orders(scores * noise, range(5)))


def test_equal_scores_come_in_the_images_own_random_order():
    mask = torch.zeros(2, 6, 6)
    mask[:, 2:4] = 1
    orders = salient_orders(mask, [3, 4])
    assert not torch.equal(orders[0], orders[1])
    for order in orders:
        assert sorted(order[:12].tolist()) == list(range(12, 24))
        assert order[:12].tolist() != list(range(12, 24))


def test_orders_do_not_depend_on_the_company():
    scores = torch.rand(3, 4, 4).round(decimals=1)
    assert torch.equal(salient_orders(scores, [1, 2, 3])[1:2], salient_orders(scores[1:2], [2]))


def test_scores_that_are_not_finite_are_refused():
    with pytest.raises(DataError, match="not finite"):
        salient_orders(torch.tensor([[float("nan"), 1.0]]), [0])
