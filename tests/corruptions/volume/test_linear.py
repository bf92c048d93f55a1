"""Corruptions that are linear maps of lines of voxels, against numpy, scipy and TorchIO's own definition."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from vitkit.corruptions import volume
from vitkit.corruptions.volume.fourier import modulation
from vitkit.corruptions.volume.motion import bands
from vitkit.corruptions.volume.slices import thickened, thinned


def noise(*size: int, batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, 1, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("size", [(16, 15, 12), (9, 8, 7)])
@pytest.mark.parametrize(("severity", "share"), [(1, 0.85), (3, 0.55), (5, 0.25)])
def test_gibbs_ringing_truncates_k_space(size, severity, share):
    images = noise(*size)
    spectrum = np.fft.fftn(images[0, 0].numpy())
    kept = np.ix_(*(np.abs(np.fft.fftfreq(length)) <= share / 2 + 1e-12 for length in size))
    truncated = np.zeros_like(spectrum)
    truncated[kept] = spectrum[kept]
    found = volume.gibbs_ringing(images, severity, [0])[0, 0].numpy()
    np.testing.assert_allclose(found, np.fft.ifftn(truncated).real, atol=1e-12)


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_the_energy_of_ghosts_is_that_of_the_lines_that_were_hit(severity):
    """Parseval: what is added has i² times the energy of the lines k ≡ ±1 modulo n without the centre."""
    ghosts, intensity = 2 * severity + 1, severity / 2
    for length, side in ((24, 1), (25, -1)):
        line = noise(length, 1, 1)[0, 0, :, 0, 0].numpy()
        added = modulation(length, ghosts, intensity, side) @ line - line
        frequency = np.round(np.fft.fftfreq(length) * length)
        hit = np.fft.fft(line)[((frequency - side) % ghosts == 0) & (frequency != 0)]
        assert (np.abs(added) ** 2).sum() == pytest.approx(intensity**2 * (np.abs(hit) ** 2).sum() / length)


def test_ghosts_are_copies_at_equal_distances():
    """Where n divides the size, a point comes back n times, i / n as bright, and itself by 1 - i / n."""
    ghosts, intensity, length = 5, 1.0, 25
    line = np.abs(modulation(length, ghosts, intensity, 1) @ np.eye(length)[3])
    expected = np.where((np.arange(length) - 3) % 5 == 0, intensity / ghosts, 0)
    expected[3] = 1 - intensity / ghosts
    np.testing.assert_allclose(line, expected, atol=1e-12)


def test_ghosting_is_the_modulated_k_space_along_one_axis():
    images = noise(15, 14, 6, batch=16)
    found = volume.ghosting(images, 2, range(16))
    used = set()
    for image, mine in zip(images[:, 0].numpy(), found[:, 0].numpy(), strict=True):
        for axis in (0, 1):
            length = image.shape[axis]
            frequency = np.round(np.fft.fftfreq(length) * length)
            for side in (1, -1):
                gain = np.where((frequency - side) % 5 == 0, 0.0, 1.0)  # 1 - intensity is 0 at severity 2
                shape = [-1 if other == axis else 1 for other in range(3)]
                made = np.abs(np.fft.ifft(np.fft.fft(image, axis=axis) * gain.reshape(shape), axis=axis))
                if np.allclose(made, mine, atol=1e-12):
                    used.add((axis, side))
    assert used == {(0, 1), (0, -1), (1, 1), (1, -1)}


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 1.5, 3.0)])
def test_smoothing_is_a_gaussian_in_mm(spacing):
    images = noise(14, 11, 9)
    sigma = [2.4 / step for step in spacing]
    expected = ndimage.gaussian_filter(images[0, 0].numpy(), sigma, mode="nearest", truncate=4.0)
    found = volume.smoothing(images, 3, [0], spacing=spacing)[0, 0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize(("length", "thickness"), [(24, 4.0), (20, 5.0)])
def test_thick_slices_are_means(length, thickness):
    matrix, slices = thickened(length, thickness), int(length / thickness)
    line = noise(length, 1, 1)[0, 0, :, 0, 0].numpy()
    means = line.reshape(slices, -1).mean(1)
    centres = (np.arange(slices) + 0.5) * thickness - 0.5
    np.testing.assert_allclose(matrix @ line, np.interp(np.arange(length), centres, means), atol=1e-12)


@pytest.mark.parametrize("spacing", [1.0, 3.0])
def test_slices_are_thicker_than_a_voxel_by_what_is_stated(spacing):
    images = noise(3, 4, 30)
    matrix = thickened(30, (spacing + 6) / spacing)
    found = volume.thick_slices(images, 3, [0], spacing=(1.0, 1.0, spacing))
    np.testing.assert_allclose(found[0, 0].numpy(), images[0, 0].numpy() @ matrix.T, atol=1e-12)


@pytest.mark.parametrize("length", [1, 2, 7, 31])
@pytest.mark.parametrize("amount", [1.0, 1.3, 2.8, 10.0, 50.0])
def test_maps_of_slices_keep_what_is_constant(length, amount):
    for matrix in (thickened(length, amount), thinned(length, amount)):
        np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-12)
        assert matrix.min() >= -1e-15


@pytest.mark.parametrize(("length", "factor"), [(30, 10.0), (32, 6.4), (96, 2.8)])
def test_downsampling_interpolates_between_planes_that_are_kept(length, factor):
    matrix = thinned(length, factor)
    kept = np.flatnonzero((matrix == np.eye(length)).all(1))
    assert len(kept) == round(length / factor)
    assert np.ptp(np.diff(kept)) <= 1
    line = noise(length, 1, 1)[0, 0, :, 0, 0].numpy()
    np.testing.assert_allclose(matrix @ line, np.interp(np.arange(length), kept, line[kept]), atol=1e-12)


def test_downsampling_thins_one_axis_and_each_of_the_three():
    images = noise(20, 20, 20, batch=12)
    found, used = volume.downsampling(images, 5, range(12)), set()
    for image, mine in zip(images[:, 0].numpy(), found[:, 0].numpy(), strict=True):
        for axis in range(3):
            made = np.moveaxis(np.tensordot(thinned(20, 10.0), image, (1, axis)), 0, axis)
            if np.allclose(made, mine, atol=1e-12):
                used.add(axis)
    assert used == {0, 1, 2}


@pytest.mark.parametrize("length", [5, 24, 33])
@pytest.mark.parametrize("movements", [0, 2, 10])
def test_the_bands_of_a_motion_make_up_all_of_k_space(length, movements):
    found = bands(length, movements)
    np.testing.assert_allclose(sum(band for band, _ in found), np.eye(length), atol=1e-12)
    assert len(found) == movements + 1
    assert sum(still for _, still in found) == 1
    centre = next(band for band, still in found if still)
    np.testing.assert_allclose(centre @ np.ones(length), 1, atol=1e-12)
