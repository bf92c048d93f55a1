"""Taking tokens away inside a stock vision transformer, without editing it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn


class TokenRemoval(nn.Module):
    """Stands in a slot between a transformer's position embedding and its first block; the identity until told otherwise.

    It has no parameters, so the model's state dict stays the library's.

    Args:
        prefix: Class and register tokens in front, which are always kept.
        with_indices: Return the kept indices too, as timm's ``Eva`` wants in this slot to gather its rotary embedding.

    >>> removal = TokenRemoval(prefix=1)
    >>> tokens = torch.arange(5.0).view(1, 5, 1)
    >>> with removal.keeping(torch.tensor([[0, 3]])):
    ...     removal(tokens).flatten().tolist()
    [0.0, 1.0, 4.0]
    """

    def __init__(self, prefix: int, with_indices: bool = False) -> None:
        super().__init__()
        self.prefix, self.with_indices = prefix, with_indices
        self._keep: Tensor | None = None
        self._calls = 0

    @contextmanager
    def keeping(self, keep: Tensor | None) -> Iterator[None]:
        """Within this context the slot lets only these grid tokens (batch, kept) through.

        Raises:
            RuntimeError: The model never reached the slot, so nothing was removed.
        """
        self._keep, self._calls = keep, 0
        try:
            yield
        finally:
            self._keep = None
        if keep is not None and not self._calls:
            raise RuntimeError("the model's forward does not pass through the slot for token removal")

    def forward(self, tokens: Float[Tensor, "batch tokens dim"]) -> Tensor | tuple[Tensor, Tensor | None]:
        """The prefix and the kept tokens (batch, prefix + kept, dim), in the order of the indices."""
        keep, self._calls = self._keep, self._calls + 1
        if keep is not None:
            patches = tokens[:, self.prefix :].gather(1, keep[..., None].expand(-1, -1, tokens.shape[-1]))
            tokens = torch.cat([tokens[:, : self.prefix], patches], dim=1)
        return (tokens, keep) if self.with_indices else tokens
