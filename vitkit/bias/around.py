"""Prefix tokens around a grid's: their rows and columns, in front of those of the grid."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad


def logits_around(
    logits: Float[Tensor, "*batch heads tokens tokens"], around: Float[Tensor, "heads 3"] | None, prefix: int
) -> Float[Tensor, "*batch heads more more"]:
    """Logits between all tokens: those of the grid, and before them those of the prefix.

    Args:
        logits: Of the grid.
        around: Of a grid's query to a prefix key, of a prefix query to a grid's key, and among the prefix; None means zero.
        prefix: How many there are.
    """
    if around is None or not prefix:
        return pad(logits, (prefix, 0, prefix, 0)) if prefix else logits
    *batch, heads, tokens, _ = logits.shape
    to, of, among = (
        around[:, index, None, None].expand(*batch, heads, *shape)
        for index, shape in enumerate(((tokens, prefix), (prefix, tokens), (prefix, prefix)))
    )
    return torch.cat([torch.cat([among, of], dim=-1), torch.cat([to, logits], dim=-1)], dim=-2)


def features_around(
    q: Float[Tensor, "*batch heads tokens rank"],
    k: Float[Tensor, "*batch heads tokens rank"],
    around: Float[Tensor, "heads 3"] | None,
    prefix: int,
) -> tuple[Float[Tensor, "*batch heads more wide"], Float[Tensor, "*batch heads more wide"]]:
    """Features whose dot products are :func:`logits_around` of those of the grid's."""
    q, k = (torch.cat([part.new_zeros(*part.shape[:-2], prefix, part.shape[-1]), part], dim=-2) for part in (q, k))
    if around is None:
        return q, k
    first = torch.arange(q.shape[-2], device=q.device) < prefix
    to, of, among = around[..., None].unbind(1)
    where = torch.stack([first, ~first], dim=-1).to(q.dtype).expand(*q.shape[:-1], 2)
    logits = torch.stack([torch.where(first, among, of), torch.where(first, to, 0)], dim=-1).expand(*k.shape[:-1], 2)
    return torch.cat([q, where], dim=-1), torch.cat([k, logits], dim=-1)
