"""Padding that nobody sees, in kernels that take no mask: as one more feature of queries and keys."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from vitkit.attention.case import Case


class Hiding:
    """Makes queries and keys longer by a number whose product is 0 for a key that may be seen, and far below any logit otherwise.

    A weight of a hidden key is then exactly 0, and the others are what they are without it. A mask for each sample and query
    would have to be laid out beside a bias that all samples share.

    Args:
        case: What there is to compute; without ``real`` nothing is changed.
    """

    def __init__(self, case: Case) -> None:
        self.real = None if case.real is None else pad(case.real, (case.prefix, 0), value=True)
        # Where a query sees nothing, what it sees makes no difference: undone, its output is 0.
        self.some = None if self.real is None or case.prefix else self.real.any(1)

    def __call__(
        self,
        q: Float[Tensor, "batch heads queries dim"],
        k: Float[Tensor, "batch heads keys dim"],
        v: Float[Tensor, "batch heads keys width"],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values that are longer by one."""
        if self.real is None:
            return q, k, v
        seen = self.real if self.some is None else self.real | ~self.some[:, None]
        far = torch.zeros_like(k[:, :, :, :1]).masked_fill(~seen[:, None, :, None], -torch.finfo(k.dtype).max / 4)
        return torch.cat([q, torch.ones_like(q[..., :1])], dim=-1), torch.cat([k, far], dim=-1), pad(v, (0, 1))

    def undo(self, out: Float[Tensor, "batch heads queries longer"]) -> Float[Tensor, "batch heads queries width"]:
        """The output at its own width."""
        if self.real is None:
            return out
        out = out[..., :-1]
        return out if self.some is None else out.masked_fill(~self.some[:, None, None, None], 0)
