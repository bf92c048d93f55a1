"""Attention along each axis on views of the tokens."""

from math import prod

from jaxtyping import Float, Int
from torch import Tensor

from vitkit.attention import compiled
from vitkit.attention.axial import axial_attention
from vitkit.attention.backends.backend import Backend, Cost
from vitkit.attention.case import Case
from vitkit.attention.lines import Lines
from vitkit.attention.patterns import Axial
from vitkit.attention.tiles import CPU_ELEMENTS, DEVICE_ELEMENTS
from vitkit.bias import Bias
from vitkit.exporting import is_exporting
from vitkit.grid import Grid


class AxialViews(Backend):
    """:func:`~vitkit.attention.axial.axial_attention`: time and memory grow with the sum of the axes' lengths."""

    name = "axial"
    summary = "each axis as a view of the tokens, with all gradients added into the same three tensors"
    composite = True

    def serves(self, case: Case) -> str | None:  # noqa: D102
        if case.product is None:
            return f"{type(case.scorer).__name__} scores are no dot product"
        if not isinstance(case.pattern, Axial):
            return f"{type(case.pattern).__name__} is not axial"
        if case.biased and not case.bias.stationary:
            return f"{type(case.bias).__name__} depends on more than the displacement"
        if not case.batch:
            return "there are no tokens"
        if case.prefix:
            return "prefix tokens stand on no line"
        if case.kept is not None:
            return "tokens were removed, so lines have holes"
        if case.dropout:
            return "it has no dropout"
        if is_exporting():
            return "an exported graph cannot be cut into tiles of a size yet unknown"
        if any(length % part for length, part in zip(case.grid.shape, case.pattern.lengths(case.grid), strict=True)):
            return "a window that does not divide its axis leaves lines of several lengths"
        return None

    def cost(self, case: Case) -> Cost:  # noqa: D102
        assert isinstance(case.pattern, Axial)
        lengths = case.pattern.lengths(case.grid)
        rows = case.batch * case.num_heads * case.tokens
        flops = 2 * rows * sum(lengths) * case.head_dim * (7 if case.gradients else 2)
        bias = case.num_heads * sum(length**2 for length in lengths) * case.exact.itemsize if case.biased else 0
        if compiled.serves(case.device, case.dtype, Lines(case.grid.shape, lengths)):
            return Cost(bias, flops)
        if case.device != "cpu" and not case.bias_learns and case.real is None:
            return self._fused_cost(case, lengths, bias, flops)
        most = CPU_ELEMENTS if case.device == "cpu" else DEVICE_ELEMENTS
        # A tile's tokens and its scores: so many problems, one of a single head at least.
        problems = [(max(min(rows // length, most // (length * max(length, case.head_dim))), 1), length) for length in lengths]
        tokens = max(count * length * case.head_dim for count, length in problems)
        scores = max(count * length**2 for count, length in problems)
        tiles = 4 * tokens + 3 * scores if case.gradients else 3 * tokens + scores
        return Cost(tiles * case.exact.itemsize + bias, flops)

    @staticmethod
    def _fused_cost(case: Case, lengths: tuple[int, ...], bias: int, flops: int) -> Cost:
        """Of torch's own kernels, each of which keeps its output, its log-sum-exp and, for the lines it takes at once, a mask."""
        size, axes, gated = case.dtype.itemsize, len(lengths), case.gates is not None
        out = case.rows * case.head_dim * size
        laid_out = [case.num_heads * prod(case.grid.shape[axis + 1 :]) * length**2 for axis, length in enumerate(lengths)]
        masks = [numbers * size if case.biased else 0 for numbers in laid_out]
        # Two of what an axis finds, its sum with the others' and, backward, its three gradients; with a gate one more. The sum
        # takes the place of the output, and so do the gradients. Of a single axis nothing is added up.
        work = (2 if axes > 1 else 0) * out + (out if gated else 0)
        if not case.gradients:
            return Cost(bias + work + max(masks), flops)
        outputs = out * axes if axes > 1 or gated else 0
        kept = outputs + sum(masks)
        return Cost(bias + work + kept, flops, kept=kept, copies=axes * case.lse)

    def __call__(  # noqa: D102
        self,
        case: Case,
        q: Float[Tensor, "batch heads tokens head_dim"],
        k: Float[Tensor, "batch heads tokens head_dim"],
        v: Float[Tensor, "batch heads tokens head_dim"],
        keep: Int[Tensor, "batch kept"] | None,
    ) -> Float[Tensor, "batch heads tokens head_dim"]:
        assert case.product is not None
        assert isinstance(case.pattern, Axial)
        lengths = case.pattern.lengths(case.grid)
        queries, keys = case.product.project(q.to(case.exact), k.to(case.exact))
        biases = [_logits(case.bias, case.grid, axis, length) for axis, length in enumerate(lengths)]
        if not case.bias_learns:
            biases = [None if bias is None else bias.detach() for bias in biases]
        out = axial_attention(
            queries.to(q.dtype).transpose(1, 2),
            keys.to(q.dtype).transpose(1, 2),
            v.transpose(1, 2),
            case.grid.shape,
            lengths,
            biases,
            case.gates,
            case.real,
            case.product.scale(q.shape[-1]),
        )
        return out.transpose(1, 2)


def _logits(bias: Bias, grid: Grid, axis: int, length: int) -> Float[Tensor, "heads length length"] | None:
    """Logits along an axis between as many neighbours."""
    logits = bias.axis(grid, axis)
    return None if logits is None else logits[:, :length, :length]
