"""Learning from segmentations while learning to classify."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from vitkit.encoder import Tokens


class MaskHead(nn.Module):
    """What share of its voxels is labelled, predicted from each token's features.

    A class that depends on how much of something there is (a volume, a load of lesions) is told by few bits a scan. A mask says
    it of every place, so the encoder learns what to count.

    Args:
        dim: Width of the tokens.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim, 1)

    def forward(self, tokens: Tokens) -> Float[Tensor, "batch tokens"]:
        """Logit of the share in each token."""
        return self.proj(tokens.patches).squeeze(-1)

    def loss(self, tokens: Tokens, shares: Float[Tensor, "batch grid_tokens"]) -> Float[Tensor, ""]:
        """Mean binary cross entropy in nats between predicted and true shares, over the tokens that hold anything real."""
        target = shares
        if tokens.keep is not None:
            target = target.gather(1, tokens.keep)
        weight = None if tokens.real is None else tokens.real.float()
        loss = binary_cross_entropy_with_logits(self(tokens).float(), target, weight, reduction="sum")
        return loss / (target.numel() if weight is None else weight.sum().clamp(min=1))
