"""Other libraries' kernels at a density's scales."""

import numpy as np
import torch


def gpytorch_covariance(kernel, density, points):
    """What a GPyTorch kernel gives between points and the origin, for each head by its scales."""
    kernel = kernel.double()
    found = []
    for length, scale in zip(density.lengthscale.detach(), density.outputscale.detach(), strict=True):
        kernel.lengthscale = length
        found.append(scale * kernel(points, torch.zeros_like(points[:1])).to_dense()[:, 0].detach())
    return torch.stack(found)


def sklearn_covariance(kernel, density, points):
    """What a scikit-learn kernel, made from a head's length scales, gives between points and the origin."""
    lengths, scales = density.lengthscale.detach(), density.outputscale.detach()
    rows = [kernel(length.numpy())(points.numpy(), points.numpy()[:1] * 0)[:, 0] for length in lengths]
    return scales[:, None] * torch.from_numpy(np.stack(rows))
