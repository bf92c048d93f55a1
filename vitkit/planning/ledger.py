"""Counting the bytes that are alive, and the work that is done, while tensors are made: real ones or fake."""

import weakref
from collections import defaultdict
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

# torch has formulas of what gives a new tensor only.
_FORMULAS = {**flop_registry, torch.ops.aten.addmm_: flop_registry[torch.ops.aten.addmm]}


class Ledger(TorchDispatchMode):
    """Within this context, how many bytes of tensors are alive that were made in it, and how many were at most.

    Every storage counts once, from the operation that makes it until its last reference is gone, as an allocator without any
    waste would see it. What an operation holds inside its own kernel is not seen.

    >>> with Ledger() as ledger:
    ...     x = torch.ones(256)
    ...     y = (x + 1).sum()
    >>> ledger.peak
    2052
    >>> ledger.live
    1028
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        self.peak = 0
        self.traffic = 0
        """Bytes that operations without products have read and written."""
        self.flops: dict[str, int] = defaultdict(int)
        """Floating-point operations of products, by kind."""
        self.kinds = [""]
        """What the work that comes next is counted as: the last of them."""
        self._alive: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and write down what it makes."""
        kwargs = kwargs or {}
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        there = {x.untyped_storage()._cdata for x in given}
        out = func(*args, **kwargs)
        made = [x for x in tree_leaves(out) if isinstance(x, Tensor)]
        new = sum(self._watch(x) for x in made if x.untyped_storage()._cdata not in there)
        self.peak = max(self.peak, self.live)
        if (formula := _FORMULAS.get(func._overloadpacket)) is not None:
            self.flops[self.kinds[-1]] += int(formula(*args, **kwargs, out_val=out))
        elif new or func._schema.name.endswith("_"):  # a view moves nothing, an operation in place does
            self.traffic += sum(x.nbytes for x in (*made, *given))
        return out

    def _watch(self, x: Tensor) -> int:
        """Count a tensor's storage from now on; returns its bytes if it was not known."""
        storage = x.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if not size or key in self._alive:
            return 0
        self._alive[key] = weakref.ref(storage, partial(_end, weakref.ref(self), key, size))
        self.live += size
        return size

    def start(self) -> None:
        """Forget the peak so far."""
        self.peak = self.live


def _end(ledger: "weakref.ref[Ledger]", key: int, size: int, _: Any) -> None:
    """A storage is gone; the ledger may be, too."""
    if (found := ledger()) is not None and found._alive.pop(key, None) is not None:
        found.live -= size


class Kept:
    """What the forward pass keeps for the backward pass, by the kind of work that keeps it.

    Args:
        ledger: Whose kinds are meant.
        known: Tensors that are there anyway, such as parameters.
    """

    def __init__(self, ledger: Ledger, known: list[Tensor]) -> None:
        self.ledger = ledger
        self.bytes: dict[str, int] = defaultdict(int)
        self._seen = {x.untyped_storage()._cdata for x in known}

    def recording(self) -> AbstractContextManager[Any]:
        """A context in which to run the forward pass."""
        return torch.autograd.graph.saved_tensors_hooks(self._pack, lambda x: x)

    def _pack(self, x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage._cdata not in self._seen:
            self._seen.add(storage._cdata)
            self.bytes[self.ledger.kinds[-1]] += storage.nbytes()
        return x.detach()  # itself would be a reference to its own maker
