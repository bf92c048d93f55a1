import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vitkit.errors import UsageError
from vitkit.grid import Grid

AXES = st.lists(st.tuples(st.integers(1, 5), st.floats(0.01, 100)), min_size=1, max_size=3)


def make(axes):
    return Grid(tuple(length for length, _ in axes), tuple(step for _, step in axes))


@given(AXES)
def test_displacements_are_the_differences_of_coordinates(axes):
    grid = make(axes)
    points = grid.coordinates(dtype=torch.float64)
    differences = (points[:, None] - points[None]).flatten(0, 1)
    table = grid.displacements(dtype=torch.float64).flatten(0, -2)
    nearest = torch.cdist(differences, table, compute_mode="donot_use_mm_for_euclid_dist").min(dim=1).values
    # Each is a difference of products below 500, so they agree to a few units in the last place of 500.
    assert nearest.max() <= 500 * 2**-50
    assert len(table) == math.prod(2 * n - 1 for n in grid.shape)


@given(AXES)
def test_offsets_are_odd_and_ascend(axes):
    grid = make(axes)
    for axis in range(grid.ndim):
        offsets = grid.offsets(axis, dtype=torch.float64)
        assert torch.equal(offsets, -offsets.flip(0))
        assert (offsets.diff() > 0).all()


def test_spacing_defaults_to_one():
    assert Grid((2, 3)) == Grid((2, 3), (1.0, 1.0))
    assert hash(Grid((2, 3))) == hash(Grid((2, 3), ()))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((), ()),
        ((0, 3), ()),
        ((2, -1), ()),
        ((2.5, 3), ()),
        ((2, 3), (1.0,)),
        ((2,), (0.0,)),
        ((2,), (-1.0,)),
        ((2,), (math.nan,)),
        ((2,), (math.inf,)),
    ],
)
def test_grids_that_cannot_be(shape, spacing):
    with pytest.raises(UsageError, match="expected"):
        Grid(shape, spacing)
