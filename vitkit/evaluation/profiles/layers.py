"""Where to listen to a model: its embedding and its blocks or stages, found without knowing its class."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from torch import nn

_CHAINS = ("blocks", "stages", "layers", "features")
_SIBLINGS = ("block", "stage", "layer")
_EMBEDDINGS = ("embed", "patch_embed", "patch_embedding", "embeddings", "conv_proj", "stem")
_HALF = 0.5  # share of the model's parameters that a chain holds whose name says nothing
_NEARLY_ALL = 0.9  # share of its parameters from which a chain's child is the model and the chain a wrapper


class Layers(NamedTuple):
    """The embedding, if a module of its own makes it, and the blocks or stages, each with its name."""

    embedding: tuple[str, nn.Module] | None
    chain: list[tuple[str, nn.Module]]


class _Chain(NamedTuple):
    path: str
    children: list[tuple[str, nn.Module]]
    known: bool


def layers_of(model: nn.Module) -> Layers:
    """The embedding and the longest way through a model.

    The way is a ``ModuleList`` or ``Sequential`` called blocks, stages, layers or features, or numbered siblings such as
    ``layer1`` to ``layer4``; where there are several, the one with the most parameters. Where there is none it is any
    ``ModuleList`` or ``Sequential`` that holds half of the model's parameters, and failing that the model's own children. The
    embedding is the first module outside of it that is called like one, such as ``patch_embed`` or ``stem``.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> [name for name, _ in layers_of(model).chain]
    ['Flatten 0', 'Linear 1', 'ReLU 2', 'Linear 3']
    """
    chains = list(_chains(model))
    if not chains:
        return Layers(None, [])
    chosen = max(chains, key=_rank)
    inside = {module for _, child in chosen.children for module in child.modules()}
    named = ((path.rpartition(".")[2], module) for path, module in model.named_modules())
    embedding = next(((name, module) for name, module in named if name in _EMBEDDINGS and module not in inside), None)
    return Layers(embedding, [(_label(chosen.path, index, *child), child[1]) for index, child in enumerate(chosen.children)])


def _chains(model: nn.Module) -> Iterator[_Chain]:
    whole = _size(model)
    for path, module in model.named_modules():
        children = list(module.named_children())
        if isinstance(module, (nn.ModuleList, nn.Sequential)):
            known = path.rpartition(".")[2] in _CHAINS
            if len(children) > 1 and (known or _size(module) >= _HALF * whole):
                yield _Chain(path, children, known)
            continue
        siblings: dict[str, list[tuple[str, nn.Module]]] = {}
        for name, child in children:
            if found := re.fullmatch(r"([A-Za-z_]+?)_?\d+", name):
                siblings.setdefault(found[1], []).append((name, child))
        yield from (_Chain(path, group, True) for name, group in siblings.items() if name in _SIBLINGS and len(group) > 1)
    while len(children := list(model.named_children())) == 1:
        model = children[0][1]
    if len(children) > 1:
        yield _Chain("", children, known=False)


def _rank(chain: _Chain) -> tuple[bool, bool, bool, int]:
    sizes = [_size(child) for _, child in chain.children]
    wrapper = max(sizes) > _NEARLY_ALL * sum(sizes)
    return chain.known, not wrapper, bool(chain.path), sum(sizes)


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _label(path: str, index: int, name: str, child: nn.Module) -> str:
    if not name.isdigit():
        return name
    container = path.rpartition(".")[2]
    return f"{container}.{index}" if container and not container.isdigit() else f"{type(child).__name__} {index}"
