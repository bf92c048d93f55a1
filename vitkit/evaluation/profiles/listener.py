"""Listening to a model while it runs, without changing it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import multi_head_attention_forward, scaled_dot_product_attention, softmax
from torch.overrides import TorchFunctionMode

from vitkit.evaluation.profiles.layers import Layers

ROWS = 256  # queries whose attention is kept, spread evenly: all of a picture of 16 x 16 tokens
_SOFTMAX = {softmax, torch.softmax, Tensor.softmax}


class Heard:
    """What one pass of a model let through: features and attention of each layer, by its name, on the model's device."""

    def __init__(self) -> None:
        self.features: dict[str, Tensor] = {}
        self.attention: dict[str, list[Tensor]] = {}


@contextmanager
def listening(layers: Layers) -> Iterator[Heard]:
    """Within this context what the layers return, and how they attend, is kept; afterwards nothing of it is left on the model.

    Attention is seen where torch is asked for it: by ``scaled_dot_product_attention``, by a softmax over the last of four or more
    axes, or by torch's own multi-head attention.
    """
    heard = Heard()
    mode = _Attention(heard)
    with ExitStack() as stack:
        stack.enter_context(mode)
        if layers.embedding is not None:
            name, module = layers.embedding
            stack.callback(module.register_forward_hook(_keep(heard, name)).remove)
        elif layers.chain:
            name, module = layers.chain[0]
            stack.callback(module.register_forward_pre_hook(_keep_input(heard, f"before {name}")).remove)
        for name, module in layers.chain:
            stack.callback(module.register_forward_pre_hook(mode.enter(name)).remove)
            stack.callback(module.register_forward_hook(_keep(heard, name)).remove)
            stack.callback(module.register_forward_hook(mode.leave).remove)
        yield heard


def _keep(heard: Heard, name: str) -> Callable[[nn.Module, Any, Any], None]:
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        if (found := _tensor(output)) is not None:
            heard.features[name] = found.detach().clone()  # what follows may work in place

    return hook


def _keep_input(heard: Heard, name: str) -> Callable[[nn.Module, Any], None]:
    def hook(module: nn.Module, inputs: Any) -> None:
        if (found := _tensor(inputs)) is not None:
            heard.features[name] = found.detach().clone()

    return hook


def _tensor(output: Any) -> Tensor | None:
    """The first tensor of floating point in what a layer returns."""
    if isinstance(output, Tensor):
        return output if output.is_floating_point() and output.ndim > 1 else None
    parts = output.values() if isinstance(output, Mapping) else output if isinstance(output, (tuple, list)) else ()
    return next((found for part in parts if (found := _tensor(part)) is not None), None)


class _Attention(TorchFunctionMode):
    """Keeps how queries attend within a layer."""

    def __init__(self, heard: Heard) -> None:
        super().__init__()
        self._heard, self._layer = heard, ""

    def enter(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any) -> None:
            self._layer = name

        return hook

    def leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._layer = ""

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        keywords = keywords or {}
        made = function(*arguments, **keywords)
        if not self._layer:
            return made
        if function is scaled_dot_product_attention:
            self._add(_weights(*arguments, **keywords))
        elif function is multi_head_attention_forward:
            self._add(function(*arguments, **{**keywords, "need_weights": True, "average_attn_weights": False})[1])
        elif function in _SOFTMAX and made.ndim > 3 and _axis(arguments, keywords) in (-1, made.ndim - 1):
            self._add(made)
        return made

    def _add(self, weights: Tensor | None) -> None:
        if weights is None:
            return
        rows = weights.shape[-2]
        chosen = weights if rows <= ROWS else weights[..., _spread(rows, weights), :]
        self._heard.attention.setdefault(self._layer, []).append(chosen.detach().nan_to_num(0.0).clone())


def _axis(arguments: Any, keywords: Any) -> Any:
    return keywords.get("dim", arguments[1] if len(arguments) > 1 else None)


def _spread(rows: int, like: Tensor) -> Tensor:
    return torch.arange(ROWS, device=like.device) * rows // ROWS


def _weights(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """The weights that ``scaled_dot_product_attention`` does not return, of some queries."""
    rows, keys = query.shape[-2], key.shape[-2]
    chosen = torch.arange(rows, device=query.device) if rows <= ROWS else _spread(rows, query)
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], dim=-3)
    exact = torch.promote_types(query.dtype, torch.float32)
    scores = query[..., chosen, :].to(exact) @ key.to(exact).transpose(-2, -1)
    scores = scores * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        scores = scores.masked_fill(torch.arange(keys, device=query.device) > chosen[:, None], float("-inf"))
    if attn_mask is not None:
        mask = attn_mask if attn_mask.shape[-2] == 1 else attn_mask[..., chosen, :]
        scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(-1)
