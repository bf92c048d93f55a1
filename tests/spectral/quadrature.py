"""Numerical inverse Fourier transforms, in which the densities' own closed forms have no part.

Both rules are double exponential: their error falls like exp(-c N / log N) even where a density has a heavy tail or is
infinite, though integrable, at zero.
"""

import math
from functools import cache

import numpy as np
import torch


@cache
def cosine_rule(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes x and weights w with Σ w f(x) = ∫₀^∞ f(x) cos(x) dx (Ooura and Mori 1999, eq. 3.1 to 3.3)."""
    step = 6.6 / nodes
    m = math.pi / step
    beta = 0.25
    alpha = beta / math.sqrt(1 + m * math.log1p(m) / (4 * math.pi))
    t = (np.arange(-nodes, nodes) + 0.5) * step
    inner = -2 * t - alpha * -np.expm1(-t) - beta * np.expm1(t)
    slope = -2 - alpha * np.exp(-t) - beta * np.exp(t)
    # t / (1 - exp(inner)) and its derivative, with exp kept from overflowing.
    grown = np.exp(np.clip(inner, -700, 300))
    denominator = -np.expm1(np.clip(inner, -700, 300))
    phi = t / denominator
    phi_slope = 1 / denominator + t * grown * slope / denominator**2
    # Far out phi(t) = t + small, and cos(m t) is exactly zero: take the difference, which is not rounded away.
    small = t * grown / denominator
    sign = np.where(np.arange(-nodes, nodes) % 2 == 0, -1.0, 1.0)
    cosine = np.where(t > 0, sign * np.sin(m * small), np.cos(m * phi))
    keep = phi > 1e-300
    return m * phi[keep], (math.pi * phi_slope * cosine)[keep]


@cache
def line_rule(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights for the integral over the whole line of a function that is smooth but for zero: x = ±exp(π/2 sinh t)."""
    t, step = np.linspace(-3.6, 3.6, nodes // 2, retstep=True)
    x = np.exp(math.pi / 2 * np.sinh(t))
    weights = step * math.pi / 2 * np.cosh(t) * x
    return np.concatenate([-x, x]), np.concatenate([weights, weights])


def inverse_transform(density, displacement, nodes: int = 160) -> np.ndarray:
    """b(r) = (2π)⁻ⁿ ∫ S(k) exp(ik·r) dk for each head, at one displacement that is not zero.

    Along the displacement's direction the integral oscillates; over the plane across it, which comes first, it does not.
    """
    r = torch.as_tensor(displacement, dtype=torch.float64)
    ndim, distance = len(r), r.norm()
    # An orthonormal frame: the displacement, then the first head's axes as far as they are across it, where ridges may be.
    axes = torch.eye(ndim, dtype=torch.float64) if density.rotation is None else density.rotation[0].detach().T
    frame = torch.linalg.qr(torch.cat([r[:, None], axes[:, (r @ axes).abs().argsort()]], dim=1))[0]
    along, along_weights = (torch.from_numpy(part) for part in cosine_rule(nodes))
    across, across_weights = (torch.from_numpy(part) for part in line_rule(nodes))
    one = torch.ones(1, dtype=torch.float64)
    planes = torch.cartesian_prod(one, *[across] * (ndim - 1)).view(-1, ndim)[:, 1:]
    plane_weights = torch.cartesian_prod(one, *[across_weights] * (ndim - 1)).view(-1, ndim).prod(-1)
    total = 0.0
    for k, weight in zip((along / distance).split(32), (along_weights / distance).split(32), strict=True):
        points = torch.cat([k[:, None, None].expand(-1, len(planes), 1), planes.expand(len(k), -1, -1)], dim=-1)
        with torch.no_grad():
            total = total + torch.einsum("hab,a,b->h", density.density(points @ frame.T), weight, plane_weights)
    return (2 * total / (2 * math.pi) ** ndim).numpy()
