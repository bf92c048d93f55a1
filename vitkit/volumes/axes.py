"""Which way the axes of a voxel grid run in the patient."""

from collections.abc import Sequence
from itertools import permutations

import numpy as np
from jaxtyping import Float64

from vitkit.errors import UsageError

LETTERS = ("LR", "PA", "IS")
"""Where the two directions of each world axis lead: left or right, posterior or anterior, inferior or superior."""

Axes = list[tuple[int, int]]
"""For each voxel axis the world axis (0, 1, 2) that it runs along, and whether upwards (1) or downwards (-1)."""


def parse_codes(codes: str) -> Axes:
    """Axes from letters: ``"RAS"`` is ``[(0, 1), (1, 1), (2, 1)]``.

    Raises:
        UsageError: Not three letters, one of each of L or R, P or A, I or S.
    """
    axes = [(world, 2 * pair.index(code) - 1) for code in codes for world, pair in enumerate(LETTERS) if code in pair]
    if len(codes) != 3 or sorted(world for world, _ in axes) != [0, 1, 2]:
        raise UsageError(
            f"the orientation {codes!r}", "three letters, one each of L or R, P or A, and I or S", 'Write "RAS", for example.'
        )
    return axes


def write_codes(axes: Axes) -> str:
    """Letters from axes."""
    return "".join(LETTERS[world][(sign + 1) // 2] for world, sign in axes)


def nearest_axes(affine: Float64[np.ndarray, "4 4"]) -> Axes:
    """The world axes that the voxel axes of an affine run along, or nearly so where the scan is oblique.

    Of the six ways to match axes, that with the largest sum of cosines. Unlike a match of one axis after another it does not
    depend on the order in which the file stores them, nor do the rules that break a tie: so a scan whose header is permuted or
    flipped comes out of an orientation as the same array, however oblique it is.
    """
    columns = (affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)).T.round(6).tolist()

    def rank(order: Sequence[int]) -> tuple[float, list[list[float]]]:
        """The sum of cosines, and all of them, once every axis is turned to run upwards."""
        chosen = [(world, columns[axis]) for world, axis in enumerate(order)]
        turned = [[-cosine for cosine in column] if column[world] < 0 else column for world, column in chosen]
        return round(sum(turned[world][world] for world in range(3)), 6), turned

    best = max(permutations(range(3)), key=rank)
    axes = [(0, 1)] * 3
    for world, axis in enumerate(best):
        axes[axis] = (world, -1 if columns[axis][world] < 0 else 1)
    return axes


def moves(source: Axes, target: Axes) -> tuple[list[int], list[bool]]:
    """For each target axis the source axis it is, and whether that has to be flipped."""
    order = [[world for world, _ in source].index(world) for world, _ in target]
    return order, [source[axis][1] != sign for axis, (_, sign) in zip(order, target, strict=True)]
