"""The noise of a magnitude image."""

from collections.abc import Sequence

import torch

from vitkit.corruptions.random import normal
from vitkit.corruptions.volume.scale import Scans, amount

LIMIT = 0.8


def rician_noise(images: Scans, severity: int, seeds: Sequence[int]) -> Scans:
    r"""Rician noise, of 0.16, 0.32, 0.48, 0.64, 0.8 standard deviations of the image's own channel.

    .. math::
        \sqrt{(x + \sigma n_1)^2 + (\sigma n_2)^2}, \qquad n_1, n_2 \sim \mathcal{N}(0, 1)

    The deviation is that of all voxels, those of padding among them.

    Source:
        Gudbjartsson and Patz 1995; ROOD-MRI (Boone et al. 2023) for the limit, relative to the deviation there, too.
    """
    share = amount(severity, LIMIT)
    # In float64, so that what the number of threads does to a sum's last bits is rounded away.
    deviation = images.double().var(dim=(2, 3, 4), correction=0, keepdim=True).sqrt().to(images.dtype) * share
    drawn = normal(seeds, [2, *images.shape[1:]], images.device).to(images.dtype)
    first, second = (drawn * deviation.unsqueeze(1)).unbind(1)
    return torch.sqrt((images + first).square_() + second.square_())
