"""How much of something there is: learnt from segmentations, and classified by."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from vitkit.encoder.tokens import Tokens

_SLOPE = 4.0
"""Logits for a deviation at a weight of one, which would else leave every class likely where the amount decides."""


class Amount(nn.Module):
    """What share of its voxels is labelled, predicted from each token's features, and logits from the sum of these shares.

    A class that depends on how much of something there is (a volume, a load of lesions) is told by one bit a scan, a mask says
    it of every place. So the shares are learnt from masks alone. Their sum enters the logits by its logarithm, standardised by
    its running mean and deviation, since whole classes may differ by a few per cent of it.

    Args:
        dim: Width of the tokens.
        num_classes: Length of the logits.
    """

    mean: Tensor
    variance: Tensor
    batches: Tensor

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__()
        self.share = nn.Linear(dim, 1)
        self.head = nn.Linear(1, num_classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("variance", torch.ones(()))
        self.register_buffer("batches", torch.zeros(()))

    def forward(self, tokens: Tokens) -> Float[Tensor, "batch classes"]:
        """What the amounts add to the logits."""
        # Labels do not move the shares: a few hundred of them are fitted by what bends the shares away from the masks.
        shares = self.shares(tokens).detach().sigmoid()
        if tokens.real is not None:
            shares = shares * tokens.real
        amount = (shares.sum(1) / len(tokens.grid)).clamp(min=1e-6).log()
        if self.training:
            self._follow(amount)
        return self.head(_SLOPE * ((amount - self.mean) / (self.variance + 1e-6).sqrt())[:, None])

    @torch.no_grad()
    def _follow(self, amount: Float[Tensor, " batch"]) -> None:
        """Move the running mean and variance: at first a mean over all batches, then one over the last fifty or so."""
        self.batches += 1
        rate = torch.clamp(1 / self.batches, min=0.02)
        self.variance.lerp_((amount - self.mean).square().mean().to(self.variance), rate)
        self.mean.lerp_(amount.mean().to(self.mean), rate)

    def shares(self, tokens: Tokens) -> Float[Tensor, "batch tokens"]:
        """Logit of the share in each token."""
        return self.share(tokens.patches).squeeze(-1)

    def loss(self, tokens: Tokens, shares: Float[Tensor, "batch grid_tokens"]) -> Float[Tensor, ""]:
        """Mean binary cross entropy in nats between predicted and true shares, over the tokens that hold anything real."""
        target = shares if tokens.keep is None else shares.gather(1, tokens.keep)
        weight = None if tokens.real is None else tokens.real.float()
        loss = binary_cross_entropy_with_logits(self.shares(tokens).float(), target, weight, reduction="sum")
        return loss / (target.numel() if weight is None else weight.sum().clamp(min=1))
