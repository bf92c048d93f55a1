"""Listening to a model while it runs, without changing it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from vitkit.evaluation.attending import Attended, attending
from vitkit.evaluation.profiles.layers import Layers

ROWS = 256  # queries whose attention is kept, spread evenly: all of a picture of 16 x 16 tokens
TOLD = 784
"""Queries up to which a model is asked for weights that it tells at some cost: as many as in a picture of 28 x 28 tokens."""


class Heard:
    """What one pass of a model let through: features and attention of each layer, by its name, on the model's device."""

    def __init__(self) -> None:
        self.features: dict[str, Tensor] = {}
        self.attention: dict[str, list[Tensor]] = {}
        self.layer = ""

    def enter(self, name: str) -> Callable[..., None]:
        """A hook that says in which layer the model is."""

        def hook(module: nn.Module, inputs: Any) -> None:
            self.layer = name

        return hook

    def leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        """A hook that says that it is in none."""
        self.layer = ""

    def take(self, seen: Attended) -> None:
        """Keep how queries attend within a layer."""
        if self.layer and not (seen.told and seen.queries > TOLD):
            weights = seen.weights(ROWS).detach().nan_to_num(0.0)
            self.attention.setdefault(self.layer, []).append(weights.clone())


@contextmanager
def listening(layers: Layers) -> Iterator[Heard]:
    """Within this context what the layers return, and how they attend, is kept; afterwards nothing of it is left on the model.

    Attention is that which :func:`~vitkit.evaluation.attending.attending` sees.
    """
    heard = Heard()
    inside = dict.fromkeys(part for _, module in layers.chain for part in module.modules())  # each once
    with ExitStack() as stack:
        if layers.embedding is not None:
            name, module = layers.embedding
            stack.callback(module.register_forward_hook(_keep(heard, name)).remove)
        elif layers.chain:
            name, module = layers.chain[0]
            stack.callback(module.register_forward_pre_hook(_keep_input(heard, f"before {name}")).remove)
        for name, module in layers.chain:
            stack.callback(module.register_forward_pre_hook(heard.enter(name)).remove)
            stack.callback(module.register_forward_hook(_keep(heard, name)).remove)
            stack.callback(module.register_forward_hook(heard.leave).remove)
        stack.enter_context(attending(inside, heard.take))
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
