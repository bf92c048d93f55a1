"""Classifying shapes by how deep inside of them their voxels lie."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitkit.encoder.standardised import SLOPE, Standardised

SHARES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""Depths, as distances over the model's, of which the share of voxels that lie deeper is told."""


class Depths(Standardised):
    """Logits from how the depths of a shape's voxels are distributed.

    How thick a shape is on the whole stands in no token, and a mean over tokens weighs one that holds a corner of the shape as
    much as one that is full of it. These numbers are of the voxels of the shape, each counted once: mean and root mean square of
    their depths, the logarithm of how many there are, and the shares that lie deeper than each of :data:`SHARES`.

    Args:
        num_classes: Length of the logits.

    >>> shape = torch.zeros(1, 9, 9)
    >>> shape[:, 2:7, 2:7] = 0.5
    >>> Depths(num_classes=2).eval()(shape).shape
    torch.Size([1, 2])
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__(3 + len(SHARES))
        self.head = nn.Linear(3 + len(SHARES), num_classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, depths: Float[Tensor, "batch *size"]) -> Float[Tensor, "batch classes"]:
        """What they add to the logits.

        Args:
            depths: Distances to the surface over the model's, 0 outside (:func:`~vitkit.encoder.by_distance`).
        """
        return self.head(SLOPE * self.standardised(self.describe(depths)).to(self.head.weight.dtype))

    def describe(self, depths: Float[Tensor, "batch *size"]) -> Float[Tensor, "batch numbers"]:
        """The numbers of each shape; of one without a voxel they are 0."""
        each = depths.float().flatten(1)
        count = (each > 0).sum(1).clamp(min=1).float()
        numbers = [each.sum(1) / count, (each.square().sum(1) / count).sqrt(), count.log()]
        return torch.stack(numbers + [(each > share).sum(1) / count for share in SHARES], dim=1)
