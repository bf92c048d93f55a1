"""A bias that a small network computes from log-spaced coordinates."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitkit.bias.bias import StationaryBias
from vitkit.errors import UsageError
from vitkit.grid import Grid


class LogCPBBias(StationaryBias):
    r"""Log-spaced continuous position bias of Swin Transformer V2 (Liu et al. 2022, section 3.3).

    .. math::
        b(r) = 16 \operatorname{sigmoid}(W_2 \operatorname{relu}(W_1 \hat r + c)), \qquad
        \hat r_i = \operatorname{sign}(x_i) \log_8(1 + |x_i|), \qquad x_i = 8 r_i / e_i

    with the extent :math:`e_i` of the grid it is trained on. Here it is a comparator: the logits are positive, neither even nor
    a covariance, and beyond the extent they are what the network makes of it.

    Args:
        num_heads: Heads, each with an output of the network.
        ndim: Axes of the grid.
        hidden_dim: Width of the network.
        extent: Distance between the first and the last token along each axis of the grid it is trained on, in the grid's unit.
            None takes the extent of whatever grid is met, so that the bias follows the field of view and not the distance.

    Raises:
        UsageError: No head or axis, or an extent that is not one positive number per axis.

    >>> LogCPBBias(num_heads=3, ndim=2, extent=(208.0, 208.0))(Grid((4, 5), (16.0, 16.0))).shape
    torch.Size([3, 20, 20])
    """

    def __init__(self, num_heads: int, ndim: int, hidden_dim: int = 512, extent: Sequence[float] | None = None) -> None:
        super().__init__()
        for name, count in (("num_heads", num_heads), ("ndim", ndim), ("hidden_dim", hidden_dim)):
            if count < 1:
                raise UsageError(f"{name}={count} in LogCPBBias", "at least one", f"Correct {name}.")
        self.extent = None if extent is None else tuple(extent)
        if self.extent is not None and (len(self.extent) != ndim or not all(0 < length < math.inf for length in self.extent)):
            raise UsageError(f"extent {self.extent} in LogCPBBias", f"{ndim} positive finite numbers", "Give one per axis.")
        self.num_heads, self.ndim = num_heads, ndim
        self.fc1 = nn.Linear(ndim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, num_heads, bias=False)

    def reset_parameters(self) -> None:
        """Draw the network's weights anew."""
        self.fc1.reset_parameters()
        self.fc2.reset_parameters()

    def table(self, grid: Grid) -> Float[Tensor, "heads *displacements"]:
        """The network's logits at every displacement.

        Raises:
            UsageError: A grid of another number of axes.
        """
        if grid.ndim != self.ndim:
            raise UsageError(
                f"a LogCPBBias of {self.ndim} axes on a grid of {grid.ndim}, {grid.shape}",
                "as many axes in both",
                f"Set its ndim to {grid.ndim}.",
            )
        weight = self.fc1.weight
        own = [max(length - 1, 1) * spacing for length, spacing in zip(grid.shape, grid.spacing, strict=True)]
        extent = torch.tensor(self.extent or own, device=weight.device, dtype=torch.promote_types(weight.dtype, torch.float32))
        x = 8 * grid.displacements(device=extent.device, dtype=extent.dtype) / extent
        spaced = (x.sign() * x.abs().log1p() / math.log(8)).to(weight.dtype)
        return (16 * self.fc2(self.fc1(spaced).relu()).sigmoid()).movedim(-1, 0)
