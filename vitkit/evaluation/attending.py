"""How a model attends, seen while it runs and without editing it."""

import inspect
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import multi_head_attention_forward, scaled_dot_product_attention, softmax
from torch.overrides import TorchFunctionMode

_SOFTMAX = {softmax, torch.softmax, Tensor.softmax}


@dataclass(frozen=True)
class Attended:
    """One attention that a model just computes.

    Args:
        queries: How many there are.
        keys: How many each can attend to.
        weights: Computes (..., heads, queries, keys), of all queries or of so many that are spread evenly over them. Who needs no
            weights pays for none.
        keep: Which tokens of the grid there are, if some were left out.
        told: Whether the model tells its weights, at some cost, and not torch.
    """

    queries: int
    keys: int
    weights: Callable[[int | None], Tensor]
    keep: Tensor | None = None
    told: bool = False


@contextmanager
def attending(modules: Iterable[nn.Module], take: Callable[[Attended], None]) -> Iterator[None]:
    """While this is open, every attention is given to ``take``; afterwards nothing of it is left on the model.

    What has a method ``weights``, as vitkit's :class:`~vitkit.attention.Attention`, is asked for them. All else is seen where
    torch is asked for it: by ``scaled_dot_product_attention``, by its own multi-head attention, or by a softmax over the last of
    four or more axes.

    Args:
        modules: Among which those are that tell their weights.
        take: Called before the attention is used.
    """
    mode = _Overhearing(take)
    with ExitStack() as stack:
        for part in modules:
            if callable(getattr(part, "weights", None)):
                # It may itself call what the others are heard at.
                stack.callback(part.register_forward_pre_hook(mode.rest).remove)
                stack.callback(part.register_forward_pre_hook(partial(_ask, take), with_kwargs=True).remove)
                stack.callback(part.register_forward_hook(mode.resume).remove)
        stack.enter_context(mode)
        yield


def _ask(take: Callable[[Attended], None], module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    given = inspect.signature(module.forward).bind(*args, **kwargs).arguments
    tokens = math.prod(next(iter(given.values())).shape[1:-1])

    def weights(rows: int | None) -> Tensor:
        return _some(module.weights(*args, **kwargs), rows)  # type: ignore[operator]

    take(Attended(tokens, tokens, weights, given.get("keep"), told=True))


class _Overhearing(TorchFunctionMode):
    """Hears the calls of torch's functions that attend."""

    def __init__(self, take: Callable[[Attended], None]) -> None:
        super().__init__()
        self._take, self._resting = take, 0

    def rest(self, module: nn.Module, inputs: Any) -> None:
        self._resting += 1

    def resume(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._resting -= 1

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        made = function(*args, **kwargs)
        if self._resting:
            return made
        if function is scaled_dot_product_attention:
            call = _CALL.bind(*args, **kwargs).arguments
            self._take(Attended(call["query"].shape[-2], call["key"].shape[-2], lambda rows: _softmax(**call, rows=rows)))
        elif function is multi_head_attention_forward:
            call = _CALL_OF_MANY_HEADS.bind(*args, **kwargs).arguments | {"need_weights": True, "average_attn_weights": False}
            # The length is the first axis, with and without a batch.
            self._take(
                Attended(len(call["query"]), len(call["key"]), lambda rows: _some(cast("Tensor", function(**call)[1]), rows))
            )
        elif function in _SOFTMAX and made.ndim > 3 and _axis(args, kwargs) in (-1, made.ndim - 1):
            self._take(Attended(made.shape[-2], made.shape[-1], partial(_some, made)))
        return made


def _axis(args: Any, kwargs: Any) -> Any:
    return kwargs.get("dim", args[1] if len(args) > 1 else None)


def _spread(length: int, rows: int | None, like: Tensor) -> Tensor:
    if rows is None or length <= rows:
        return torch.arange(length, device=like.device)
    return torch.arange(rows, device=like.device) * length // rows


def _some(weights: Tensor, rows: int | None) -> Tensor:
    length = weights.shape[-2]
    return weights if rows is None or length <= rows else weights[..., _spread(length, rows, weights), :]


def _softmax(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    rows: int | None = None,
) -> Tensor:
    """The weights that ``scaled_dot_product_attention`` does not return; it is called alike."""
    chosen = _spread(query.shape[-2], rows, query)
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], dim=-3)
    exact = torch.promote_types(query.dtype, torch.float32)
    scores = query[..., chosen, :].to(exact) @ key.to(exact).transpose(-2, -1)
    scores = scores * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        scores = scores.masked_fill(torch.arange(key.shape[-2], device=query.device) > chosen[:, None], float("-inf"))
    if attn_mask is not None:
        mask = attn_mask if attn_mask.shape[-2] == 1 else attn_mask[..., chosen, :]
        scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(-1)


_CALL, _CALL_OF_MANY_HEADS = inspect.signature(_softmax), inspect.signature(multi_head_attention_forward)
