"""Numbers that describe a sample as a whole, standardised by what they are in training."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

SLOPE = 4.0
"""Logits for a deviation at a weight of one, which would else leave every class likely where such a number decides."""


class Standardised(nn.Module):
    """Running mean and deviation of numbers per sample, which change in training alone.

    Args:
        *shape: Of the numbers of one sample.
    """

    mean: Tensor
    variance: Tensor
    batches: Tensor

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("variance", torch.ones(shape))
        self.register_buffer("batches", torch.zeros(()))

    def standardised(self, values: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *shape"]:
        """The numbers less their mean, over their deviation."""
        if self.training:
            self._follow(values)
        return (values - self.mean) / (self.variance + 1e-6).sqrt()

    @torch.no_grad()
    def _follow(self, values: Float[Tensor, "batch *shape"]) -> None:
        """Move the running mean and variance: at first a mean over all batches, then one over the last fifty or so."""
        self.batches += 1
        rate = torch.clamp(1 / self.batches, min=0.02)
        values = values.to(self.mean)
        moved = values.mean(0) - self.mean
        self.variance.lerp_(values.var(0, correction=0) + (1 - rate) * moved.square(), rate)
        self.mean += rate * moved
