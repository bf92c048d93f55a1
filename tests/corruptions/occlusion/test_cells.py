from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vitkit.corruptions import Cells
from vitkit.errors import UsageError

SIZES = st.lists(st.integers(2, 11), min_size=1, max_size=2)


@given(SIZES, st.floats(1, 5), st.floats(0, 9))
def test_cells_cover_every_pixel_once(size, length, offset):
    cells = Cells.laid(size, [length] * len(size), [offset] * len(size))
    assert cells.size == tuple(size)
    assert all(low < high for cuts in cells.cuts for low, high in pairwise(cuts))
    number = torch.arange(len(cells.areas())).view(1, *cells.shape)
    assert torch.equal(torch.bincount(cells.spread(number).flatten()), cells.areas())


@given(SIZES, st.floats(1, 5), st.floats(0, 9))
def test_borders_lie_half_a_pixel_from_where_they_were_asked_for_at_most(size, length, offset):
    for cuts in Cells.laid(size, [length] * len(size), [offset] * len(size)).cuts:
        for cut in cuts[1:-1]:
            steps = (cut - offset) / length
            assert abs(steps - round(steps)) * length <= 0.5 + 1e-6


def test_cells_of_so_many_mm_are_as_large_in_every_direction():
    spacing = (1.2, 1.2, 3.0)
    cells = Cells.laid((40, 40, 16), [12 / step for step in spacing])
    assert cells.shape == (4, 4, 4)
    assert cells.areas().unique().tolist() == [10 * 10 * 4]


def test_half_a_patch_to_the_side_lies_across_four_tokens():
    cells = Cells.laid((224, 224), (16.0, 16.0), (8.0, 8.0))
    assert cells.shape == (15, 15)
    assert cells.cuts[0][:3] == (0, 8, 24)
    assert cells.cuts[0][-2:] == (216, 224)


@given(SIZES, st.floats(1, 5))
def test_pooling_is_the_mean_over_each_cell(size, length):
    cells = Cells.laid(size, [length] * len(size))
    values = torch.rand(2, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    number = cells.spread(torch.arange(len(cells.areas())).view(1, *cells.shape)).flatten()
    for image, pooled in zip(values.flatten(1), cells.pool(values).flatten(1), strict=True):
        means = torch.bincount(number, weights=image) / cells.areas()
        torch.testing.assert_close(pooled, means, rtol=0, atol=1e-12)  # sums of at most 11² doubles below 1


def test_mistakes_are_refused():
    with pytest.raises(UsageError, match="a pixel at least"):
        Cells.laid((8, 8), (0.4, 2.0))
    with pytest.raises(UsageError, match="a number per axis"):
        Cells.laid((8, 8), (2.0,))
    with pytest.raises(UsageError, match="images' own size"):
        Cells.laid((8, 8), (2.0, 2.0)).pool(torch.zeros(1, 4, 4))
