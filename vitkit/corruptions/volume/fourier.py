"""What goes wrong while a scanner fills k-space: too few lines, lines that are modulated, a point that is hit."""

from collections.abc import Sequence

import numpy as np
import torch

from vitkit.corruptions.random import uniform
from vitkit.corruptions.volume.along import along, circulant, each_along
from vitkit.corruptions.volume.scale import Scans, amount, axes_of, signs

KEPT = 0.25
GHOSTS, INTENSITY = 11.0, 2.5
SPIKE = 1.0


def gibbs_ringing(images: Scans, severity: int, seeds: Sequence[int]) -> Scans:
    """K-space without what lies beyond 0.85, 0.7, 0.55, 0.4, 0.25 of the highest frequency of each axis, filled up with zeros.

    Edges ring, as those of a scan do whose matrix is enlarged by zero filling.

    Args:
        images: A batch.
        severity: 1 to 5.
        seeds: Not used: nothing is random.
    """
    share = amount(severity, KEPT, identity=1.0)
    for axis, length in enumerate(images.shape[2:]):
        images = along(images, axis, low_pass(length, share))
    return images


def low_pass(length: int, share: float) -> np.ndarray:
    """The matrix that keeps the frequencies up to a share of ``length / 2`` cycles."""
    return circulant(np.fft.ifft(np.abs(np.fft.fftfreq(length)) <= share / 2 + 1e-9).real)


def ghosting(images: Scans, severity: int, seeds: Sequence[int]) -> Scans:
    r"""3, 5, 7, 9, 11 ghosts of intensity 0.5, 1, 1.5, 2, 2.5, along right or anterior, which the seed draws.

    .. math::
        \left| F^{-1} m \, F x \right|, \qquad m_k = 1 - i \text{ for } k \equiv \pm 1 \bmod n, \quad 1 \text{ elsewhere}

    Every n-th line of k-space is multiplied by 1 - intensity, as a motion with a period of n lines does; the image is repeated n
    times, each i / n as bright. They are counted from the line beside the centre, at the side that the seed draws: the centre
    keeps the mean, and what a severity does is no matter of how n divides the size. A scanner shows magnitudes.

    Source:
        The amounts are ROOD-MRI's (Boone et al. 2023), after TorchIO's random ghosting, whose lines begin at the border instead.
    """
    ghosts = round(amount(severity, GHOSTS, identity=1.0))
    intensity = amount(severity, INTENSITY)
    sides = signs(seeds).tolist()
    # A side is a seed's as an axis is: 0 and 1 are the axes at one side, 2 and 3 at the other.
    places = [axis + (0 if side < 0 else 2) for axis, side in zip(axes_of(seeds, (0, 1)), sides, strict=True)]

    def change(part: Scans, place: int) -> Scans:
        axis, side = place % 2, 1 if place >= 2 else -1
        matrix = modulation(part.shape[axis + 2], ghosts, intensity, side)
        return torch.hypot(along(part, axis, matrix.real), along(part, axis, matrix.imag))

    return each_along(images, places, change)


def modulation(length: int, ghosts: int, intensity: float, side: int) -> np.ndarray:
    """The complex matrix that multiplies the frequencies k ≡ side modulo ``ghosts``, but not 0, by 1 - intensity."""
    frequency = np.round(np.fft.fftfreq(length) * length).astype(int)
    hit = ((frequency - side) % ghosts == 0) & (frequency != 0)
    return circulant(np.fft.ifft(np.where(hit, 1 - intensity, 1.0)))


def spikes(images: Scans, severity: int, seeds: Sequence[int]) -> Scans:
    r"""A point of k-space, and its mirror image, raised by 0.1, 0.2, 0.3, 0.4, 0.5 of its largest value, the sum.

    .. math::
        x + a\, \bar{x} \cos(2 \pi\, k \cdot v / L + \varphi), \qquad a = 0.2, 0.4, 0.6, 0.8, 1

    These are stripes all over the image, oblique in all three axes, of 4 to 16 voxels a wave along each. The seed draws frequency
    and phase; all channels share them.

    Source:
        The limit is where TorchIO's random spike begins; it goes on to three times as much, where only stripes are left.
    """
    ratio = amount(severity, SPIKE)
    drawn = uniform(seeds, [7]).double()
    sides = torch.where(drawn[:, 4:] < 0.5, -1.0, 1.0)
    size = torch.tensor(images.shape[2:], dtype=torch.float64)
    frequency = sides * (size * (1 / 16 + (1 / 4 - 1 / 16) * drawn[:, 1:4])).round().clamp(min=1)
    waves = []
    for axis, length in enumerate(images.shape[2:]):
        angle = 2 * torch.pi * torch.arange(length, dtype=torch.float64) * frequency[:, axis, None] / length
        waves.append(torch.polar(torch.ones_like(angle), angle + (2 * torch.pi * drawn[:, :1] if axis == 0 else 0)))
    plane = (waves[0][:, :, None] * waves[1][:, None]).unsqueeze(-1)
    line = waves[2][:, None, None]
    real = [part.to(images.device, images.dtype) for part in (plane.real, plane.imag, line.real, line.imag)]
    # cos(α + β) = cos α cos β - sin α sin β, so that no cosine of the whole volume is needed.
    stripes = (real[0] * real[2] - real[1] * real[3]).unsqueeze(1)
    mean = images.double().mean(dim=(2, 3, 4), keepdim=True).to(images.dtype)
    return images + (ratio * mean) * stripes
