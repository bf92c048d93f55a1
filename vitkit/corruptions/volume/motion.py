"""A patient who moves while the scanner fills k-space."""

from collections.abc import Sequence
from itertools import pairwise
from math import radians

import numpy as np
import torch

from vitkit.corruptions.volume.along import along, circulant
from vitkit.corruptions.volume.rigid import euler, moved
from vitkit.corruptions.volume.scale import Scans, amount, signs, steps

DEGREES, MM, MOVEMENTS = 5.0, 10.0, 10.0
AXIS = 1  # lines of k-space follow each other along anterior


def motion(images: Scans, severity: int, seeds: Sequence[int], spacing: Sequence[float] | None = None) -> Scans:
    r"""2, 4, 6, 8, 10 movements, each by 1, 2, 3, 4, 5 degrees about every axis and 2, 4, 6, 8, 10 mm along it.

    .. math::
        \left| \sum_m P_m \, T_m x \right|

    where :math:`T_m` is the m-th position and :math:`P_m` keeps the band of k-space, along anterior, that was read in it. Bands
    are equally wide, one more than there are movements, and the one with the centre is read unmoved, so that the anatomy stays
    where it is. The seed draws which way each angle and each shift goes. A scanner shows magnitudes.

    Args:
        images: A batch.
        severity: 1 to 5.
        seeds: One for each image.
        spacing: Distance between voxels in mm; 1 if not given.

    Source:
        Shaw et al. 2019, as in TorchIO's random motion; ROOD-MRI (Boone et al. 2023) for the amounts.
    """
    count, step = round(amount(severity, MOVEMENTS)), steps(spacing)
    sides = signs(seeds, count, 6).double()
    angles, shifts = sides[..., :3] * radians(amount(severity, DEGREES)), sides[..., 3:] * amount(severity, MM)
    movement = 0
    real, imaginary = torch.zeros_like(images), torch.zeros_like(images)
    for band, still in bands(images.shape[AXIS + 2], count):
        if still:
            there = images
        else:
            there = moved(images, euler(angles[:, movement]), shifts[:, movement], step)
            movement += 1
        real += along(there, AXIS, band.real)
        imaginary += along(there, AXIS, band.imag)
    return torch.hypot(real, imaginary)


def bands(length: int, movements: int) -> list[tuple[np.ndarray, bool]]:
    """For each band of frequencies the complex matrix that keeps it, and whether it holds the centre of k-space."""
    edges = [length * index // (movements + 1) for index in range(movements + 2)]
    frequencies, found = np.arange(length), []
    for low, high in pairwise(edges):
        read = (frequencies >= low) & (frequencies < high)
        found.append((circulant(np.fft.ifft(np.fft.ifftshift(read).astype(float))), bool(read[length // 2])))
    return found
