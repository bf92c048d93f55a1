"""Turns, movements and mirrored axes, against scipy."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation

from vitkit.corruptions import volume
from vitkit.corruptions.volume.rigid import euler, moved, turned


def blob(*size: int) -> np.ndarray:
    """Smooth, lopsided, and nothing at the border."""
    places = np.moveaxis(np.indices(size), 0, -1) - (np.array(size) - 1) / 2
    near = np.exp(-(((places - [1, 2, -1]) / [4.5, 5, 3]) ** 2).sum(-1))
    return near - 0.5 * np.exp(-(((places - [-3, 0, -2]) / [2.5, 3, 2.5]) ** 2).sum(-1))


def transformed(values: np.ndarray, turn: np.ndarray, shift: np.ndarray, step: np.ndarray, order: int) -> np.ndarray:
    """By scipy: every voxel from where it was before the turn and the shift, in mm about the middle."""
    back = np.diag(1 / step) @ turn.T @ np.diag(step)
    middle = (np.array(values.shape) - 1) / 2
    offset = middle - back @ middle - (turn.T @ shift) / step
    return ndimage.affine_transform(values, back, offset, order=order, mode="grid-constant")


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("step", [(1.0, 1.0, 1.0), (1.0, 1.3, 0.7)])
def test_a_turn_is_scipys(axis, step):
    values, angle = blob(26, 29, 24), 0.4
    turn = Rotation.from_rotvec(angle * np.eye(3)[axis]).as_matrix()
    expected = transformed(values, turn, np.zeros(3), np.array(step), order=1)
    found = turned(torch.from_numpy(values)[None, None], axis, angle, step)[0, 0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_rotation_is_by_the_stated_angle_about_each_axis_to_both_sides():
    images = torch.from_numpy(blob(14, 15, 16))[None, None].expand(48, -1, -1, -1, -1)
    found, used = volume.rotation(images, 4, range(48)), set()
    for mine in found:
        for axis in range(3):
            for angle in (24, -24):
                if torch.allclose(turned(images[:1], axis, np.radians(angle), (1.0, 1.0, 1.0))[0], mine, atol=1e-12):
                    used.add((axis, angle))
    assert len(used) == 6


def test_angles_turn_about_r_then_a_then_s():
    angles = np.array([[0.1, -0.2, 0.3], [0.5, 0.0, -0.4]])
    expected = Rotation.from_euler("xyz", angles).as_matrix()
    np.testing.assert_allclose(euler(torch.from_numpy(angles)).numpy(), expected, atol=1e-15)


@pytest.mark.parametrize("step", [(1.0, 1.0, 1.0), (1.0, 1.2, 1.6)])
def test_two_passes_move_as_one_does(step):
    """By far less than the error that linear interpolation has in either way, against splines."""
    values, shift = blob(30, 33, 28), np.array([3.0, -4.0, 2.0])
    turn = Rotation.from_euler("xyz", [5, -5, 5], degrees=True).as_matrix()
    one = transformed(values, turn, shift, np.array(step), order=1)
    spline = transformed(values, turn, shift, np.array(step), order=3)
    images = torch.from_numpy(np.stack([values, values]))[None]
    found = moved(images, torch.from_numpy(turn)[None], torch.from_numpy(shift)[None], step)[0].numpy()
    assert np.abs(found - one).max() < 0.1 * np.abs(one - spline).max()
    assert np.array_equal(found[0], found[1])


@pytest.mark.parametrize("axis", range(3))
def test_a_shift_by_whole_voxels_moves_them(axis):
    images = torch.rand(2, 1, 7, 8, 9, dtype=torch.float64)
    shift = torch.zeros(2, 3, dtype=torch.float64)
    shift[1, axis] = 4.0
    found = moved(images, torch.eye(3, dtype=torch.float64).expand(2, 3, 3), shift, (2.0, 2.0, 2.0))
    expected = images[1].roll(2, axis + 1)
    expected.narrow(axis + 1, 0, 2).zero_()
    torch.testing.assert_close(found[0], images[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(found[1], expected, rtol=0, atol=1e-12)


def test_motion_keeps_what_does_not_vary_along_the_lines():
    """A movement leaves a body alone that is the same along every axis, but for the border: so the middle stays as it was."""
    images = torch.full((1, 1, 64, 64, 64), 0.6, dtype=torch.float64)
    still = volume.motion(images, 1, [3])
    assert (still[..., 24:40, 24:40, 24:40] - 0.6).abs().max() < 0.05
    assert (still - 0.6).abs().max() > 0.05


def test_mirrored_axes_are_exact():
    images = torch.rand(2, 2, 3, 4, 5)
    flipped = [volume.orientation_flip(images, severity, [0, 1]) for severity in (1, 2, 3)]
    assert torch.equal(flipped[0][:, :, 0], images[:, :, 2])
    assert torch.equal(flipped[1], images.flip(2, 3))
    assert torch.equal(flipped[2].flip(2, 3, 4), images)
