"""Plain trees, as JSON holds them: back to the dataclass one came from, and where two differ."""

import types
import typing
from collections.abc import Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from vitkit.errors import DataError


def read_tree(kind: Any, tree: Any, where: str) -> Any:
    """A plain tree as the dataclass it came from, every key and type checked; ``where`` names the file in errors."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return tree
    if is_dataclass(kind) and isinstance(tree, dict):
        expected = {item.name for item in fields(kind)}
        # What has a default was added later, and older files are without it.
        optional = {item.name for item in fields(kind) if item.default is not MISSING}
        if not expected - optional <= set(tree) <= expected:
            difference = ", ".join(sorted((expected - optional) - set(tree) | (set(tree) - expected)))
            keys = ", ".join(sorted(expected))
            raise DataError(
                f"{where}: missing or unknown {difference}", f"the keys {keys}", "Evaluate again into an empty folder."
            )
        kinds = typing.get_type_hints(kind)
        return typing.cast("type[Any]", kind)(**{key: read_tree(kinds[key], tree[key], f"{where}: {key}") for key in tree})
    if origin is types.UnionType:
        return None if tree is None else read_tree(arguments[0], tree, where)
    if origin is list and isinstance(tree, list):
        return [read_tree(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(tree)]
    if origin is dict and isinstance(tree, dict):
        return {key: read_tree(arguments[1], item, f"{where}.{key}") for key, item in tree.items()}
    if kind is float and isinstance(tree, int) and not isinstance(tree, bool):
        return float(tree)
    if isinstance(kind, type) and isinstance(tree, kind) and isinstance(tree, bool) == (kind is bool):
        return tree
    raise DataError(f"{where} is {tree!r:.60}", f"{getattr(kind, '__name__', kind)}", "Evaluate again into an empty folder.")


def first_difference(one: Any, other: Any) -> tuple[str, ...] | None:
    """Where two plain trees first differ, as keys and indices; None if they are equal.

    >>> first_difference({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]})
    ('a', '1', 'b')
    """
    if one == other:
        return None
    if isinstance(one, dict) and isinstance(other, dict):
        for key in [*one, *(key for key in other if key not in one)]:
            if key not in one or key not in other:
                return (str(key),)
            if (path := first_difference(one[key], other[key])) is not None:
                return (str(key), *path)
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, pair in enumerate(zip(one, other, strict=True)):
            if (path := first_difference(*pair)) is not None:
                return (str(index), *path)
    return ()


def at(tree: Any, path: Sequence[str]) -> Any:
    """What stands there in a plain tree; "absent" if nothing does."""
    for key in path:
        if isinstance(tree, dict):
            if key not in tree:
                return "absent"
            tree = tree[key]
        else:
            tree = tree[int(key)]
    return tree
