"""How much of something there is: learnt from segmentations, and classified by."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from vitkit.encoder.standardised import SLOPE, Standardised
from vitkit.encoder.tokens import Tokens


class Amount(Standardised):
    """What share of its voxels is labelled, predicted from each token's features, and logits from the sum of these shares.

    A class that depends on how much of something there is (a volume, a load of lesions) is told by one bit a scan, a mask says
    it of every place. So the shares are learnt from masks alone. Their sum enters the logits by its logarithm, standardised by
    its running mean and deviation, since whole classes may differ by a few per cent of it.

    Args:
        dim: Width of the tokens.
        num_classes: Length of the logits.
    """

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__()
        self.share = nn.Linear(dim, 1)
        self.head = nn.Linear(1, num_classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, tokens: Tokens) -> Float[Tensor, "batch classes"]:
        """What the amounts add to the logits."""
        # Labels do not move the shares: a few hundred of them are fitted by what bends the shares away from the masks.
        # And they are summed at full precision, as classes may differ by less than what a half one rounds off.
        shares = self.shares(tokens).detach().float().sigmoid()
        if tokens.real is not None:
            shares = shares * tokens.real
        amount = (shares.sum(1) / len(tokens.grid)).clamp(min=1e-6).log()
        return self.head(SLOPE * self.standardised(amount)[:, None].to(self.head.weight.dtype))

    def shares(self, tokens: Tokens) -> Float[Tensor, "batch tokens"]:
        """Logit of the share in each token."""
        return self.share(tokens.patches).squeeze(-1)

    def loss(self, tokens: Tokens, shares: Float[Tensor, "batch grid_tokens"]) -> Float[Tensor, ""]:
        """Mean binary cross entropy in nats between predicted and true shares, over the tokens that hold anything real."""
        target = shares if tokens.keep is None else shares.gather(1, tokens.keep)
        weight = None if tokens.real is None else tokens.real.float()
        loss = binary_cross_entropy_with_logits(self.shares(tokens).float(), target, weight, reduction="sum")
        return loss / (target.numel() if weight is None else weight.sum().clamp(min=1))
