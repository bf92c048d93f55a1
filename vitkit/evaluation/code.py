"""What tells one function from another: its code and what it holds on to, not its name."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from hashlib import sha256
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_LIBRARIES = ("builtins", "abc", "typing", "torch", "torchvision", "timm", "monai", "lightning", "numpy", "vitkit")


def fingerprint_of(function: Callable[..., Any]) -> str:
    """Hash of a function's instructions and constants, its defaults, and the values that it holds on to or finds in its module.

    Values are numbers, text, arrays, tensors, modules' weights, other functions, and what is made of these; of any other value,
    and of functions that are not written in Python, the type's or the function's name alone. A callable object is its class's
    code and its attributes. Instructions are those of one version of Python.

    >>> fingerprint_of(lambda x: x + 1) == fingerprint_of(lambda x: x + 1), fingerprint_of(lambda x: x + 2) == fingerprint_of(abs)
    (True, False)
    """
    digest = sha256()
    for part in _parts(function, {}):
        digest.update(len(part).to_bytes(8, "little") + part)
    return f"sha256:{digest.hexdigest()}"


def _parts(value: Any, seen: dict[int, Any]) -> Iterator[bytes]:
    kind = f"{type(value).__module__}.{type(value).__qualname__}".encode()
    if isinstance(value, (int, float, complex, str, bytes, bool, type(None))):
        yield kind + repr(value).encode()
        return
    if id(value) in seen:  # a function that calls itself, say
        return
    seen[id(value)] = value  # kept, or another value could get its id
    match value:
        case CodeType():
            yield value.co_code + repr(value.co_names).encode()
            for constant in value.co_consts:
                yield from _parts(constant, seen)
        case FunctionType():
            yield from _function(value, seen)
        case MethodType():
            yield from _parts(value.__func__, seen)
            yield from _parts(value.__self__, seen)
        case partial():
            yield from _parts([value.func, value.args, value.keywords], seen)
        case Tensor():
            raw = value.detach().cpu().contiguous()
            yield f"{raw.dtype} {tuple(raw.shape)}".encode()
            yield raw.reshape(-1).view(torch.uint8).numpy().tobytes()
        case np.ndarray():
            yield f"{value.dtype} {value.shape}".encode() + np.ascontiguousarray(value).tobytes()
        case nn.Module():
            yield kind + repr(value).encode()
            yield from _parts(value.state_dict(), seen)
        case Mapping():
            yield f"{len(value)} keys".encode()
            for key, item in value.items():
                yield from _parts(key, seen)
                yield from _parts(item, seen)
        case set() | frozenset():
            yield repr(sorted(map(repr, value))).encode()
        case list() | tuple():
            yield f"{len(value)} items".encode()
            for item in value:
                yield from _parts(item, seen)
        case type():
            yield from _class(value, seen)
        case _ if type(value).__module__ == "builtins" or not hasattr(value, "__dict__"):
            yield kind + str(getattr(value, "__qualname__", "")).encode()
        case _:
            yield kind
            yield from _class(type(value), seen)
            yield from _parts(vars(value), seen)


def _function(function: FunctionType, seen: dict[int, Any]) -> Iterator[bytes]:
    yield from _parts(function.__code__, seen)
    yield from _parts([function.__defaults__, function.__kwdefaults__], seen)
    for cell in function.__closure__ or ():
        try:
            yield from _parts(cell.cell_contents, seen)
        except ValueError:  # not filled yet
            yield b"empty"
    # Of its module what it names, and neither whole libraries nor their classes.
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        if isinstance(value, FunctionType) and value.__module__ != function.__module__:
            yield f"{value.__module__}.{value.__qualname__}".encode()
        elif isinstance(value, (int, float, str, bytes, list, tuple, dict, Tensor, np.ndarray, nn.Module, FunctionType, partial)):
            yield from _parts(value, seen)


def _class(owner: type, seen: dict[int, Any]) -> Iterator[bytes]:
    yield f"{owner.__module__}.{owner.__qualname__}".encode()
    for base in owner.__mro__:
        for name, member in sorted(vars(base).items()) if is_own(base) else ():
            value = isinstance(member, (int, float, str, tuple)) and not name.startswith("__")
            if value or isinstance(member, FunctionType):
                yield name.encode()
                yield from _parts(member, seen)


def is_own(owner: Any) -> bool:
    """Whether a class or function is a user's, and of no library that results state the version of."""
    return str(getattr(owner, "__module__", "")).partition(".")[0] not in _LIBRARIES
