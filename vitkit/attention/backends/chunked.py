"""Attention for a few queries at a time."""

from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from vitkit.attention.backends.backend import Backend, Cost
from vitkit.attention.case import Case
from vitkit.attention.mask import allowed_of, average, logits_of
from vitkit.exporting import is_exporting

CHUNK_ELEMENTS = 2**20
"""Numbers that are held for the pairs of one chunk."""


class Chunked(Backend):
    """Plain products for a chunk of queries at a time; the backward pass computes each chunk again."""

    name = "chunked"
    summary = "plain products for some queries at a time, computed again in the backward pass"

    def serves(self, case: Case) -> str | None:  # noqa: D102
        if is_exporting():
            return "an exported graph cannot be cut into chunks of a size yet unknown"
        return None

    def cost(self, case: Case) -> Cost:  # noqa: D102
        chunk = self.rows(case) * case.scores // max(case.tokens, 1)
        samples = 1 if case.kept is None else case.batch
        bias = case.pairs * samples * (2 if case.bias_learns else 1) if case.biased else 0
        once = case.pair_flops + case.flops(1)
        # With dropout also which weights are dropped, and what is left of them.
        held = ((3 if case.gradients else 2) + (2 if case.dropout else 0)) * chunk
        memory = (held + bias) * case.exact.itemsize + case.mask
        if not case.gradients:
            return Cost(memory, once)
        # Every chunk gives keys and values a gradient of their own, which is added to what there is.
        memory += 2 * case.rows * case.head_dim * case.exact.itemsize
        laid_out = case.pairs * samples * case.exact.itemsize if case.biased else 0
        return Cost(memory, once * 4, kept=laid_out + case.mask)

    @staticmethod
    def rows(case: Case) -> int:
        """Queries of a chunk."""
        return max(CHUNK_ELEMENTS // max(case.batch * case.num_heads * case.tokens, 1), 1)

    def __call__(  # noqa: D102
        self,
        case: Case,
        q: Float[Tensor, "batch heads tokens head_dim"],
        k: Float[Tensor, "batch heads tokens head_dim"],
        v: Float[Tensor, "batch heads tokens head_dim"],
        keep: Int[Tensor, "batch kept"] | None,
    ) -> Float[Tensor, "batch heads tokens head_dim"]:
        logits, allowed = logits_of(case, keep), allowed_of(case, keep, q.device)
        with torch.autocast(q.device.type, enabled=False):
            exact_q, exact_k, values = q.to(case.exact), k.to(case.exact), v.to(case.exact)
            queries, keys = case.scorer.project(exact_q, exact_k)
            rows = self.rows(case)
            chunks = queries.split(rows, dim=2)
            run = partial(_chunk, case)
            if case.gradients:
                run = partial(checkpoint, run, use_reentrant=False, preserve_rng_state=case.dropout > 0)
            # Split rather than sliced: the gradient of a slice is as large as what it was cut from.
            biases = [None] * len(chunks) if logits is None else logits.split(rows, dim=2)
            # A row that serves every query is so in each chunk.
            masks = [None] * len(chunks) if allowed is None else allowed.expand(-1, -1, q.shape[2], -1).split(rows, dim=2)
            parts = [run(part, keys, values, *around) for part, *around in zip(chunks, biases, masks, strict=True)]
            return torch.cat(parts, dim=2).to(q.dtype)


def _chunk(case: Case, q: Tensor, k: Tensor, v: Tensor, logits: Tensor | None, allowed: Tensor | None) -> Tensor:
    return average(case.scorer.combine(q, k), v, logits, allowed, case.dropout)
