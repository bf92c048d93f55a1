"""jsonargparse's nested messages in one line: which key, what was found, what was expected, what was probably meant."""

import inspect
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from vitkit.errors import UsageError

_NOISE = (
    "Does not validate against any of the Union subtypes",
    "Subtypes:",
    "Errors:",
    "Given value type:",
    "Expected a <class 'NoneType'>",
    "Expected a path but",
)
_TYPES = re.compile(r"Expected an? (?P<type>.+?)(?:\. Got value: (?P<value>.*))?$")


def explain(error: Exception, roots: Mapping[str, type], known: Iterable[str]) -> UsageError:
    """The innermost reason of a parser's error.

    Args:
        error: What jsonargparse raised.
        roots: The class behind each first part of a key: ``{"model": ClassificationTask, ...}``.
        known: Keys of the parser, in dots.
    """
    keys: list[str] = []
    path = ""
    reasons: list[str] = []
    given = ""
    for line in str(error).splitlines():
        text = line.strip().removeprefix("- ")
        while header := re.match(r'Parser key "([^"]+)":\s*', text):
            keys.append(header[1])
            text = text[header.end() :]
        if header := re.match(r"Problem with given class_path '([^']+)':\s*", text):
            path = header[1]
            text = text[header.end() :]
        if text.startswith("Given value: "):
            given = text.removeprefix("Given value: ")
        elif text and not text.startswith(_NOISE):
            reasons.append(text)
    key = ".".join(keys)
    owner = _find(path) or roots.get(key.split(".")[0])
    return _reason(key, path, owner, list(dict.fromkeys(reasons)) or [str(error)], given, list(known))


def _reason(key: str, path: str, owner: type | None, reasons: list[str], given: str, known: list[str]) -> UsageError:
    reason = reasons[0]
    match reason:
        case _ if found := re.match(r"Option '(.+)' is not accepted", reason):
            options = [name for name in inspect.signature(owner.__init__).parameters if name != "self"] if owner else []  # type: ignore[misc]
            return _unknown(f"{key}.{found[1]}", found[1], options)
        case _ if found := re.match(r"Subcommand '\w+' does not accept option '(.+)'", reason):
            return _unknown(found[1], found[1], known)
        case _ if found := re.match(r"unrecognized arguments: (?:--)?([^\s=]+)", reason):
            return _unknown(found[1], found[1], known)
        case _ if found := re.match(r"the following arguments are required: (.+)", reason):
            names = [f"{key}.{name}".strip(".") for name in re.sub(r"\b(fit|validate|test|predict)\.", "", found[1]).split(", ")]
            return UsageError(f"no {' and no '.join(names)}", "a value", "Give it in the config or on the command line.")
        case _ if found := re.match(r"Expected a dot import path string: (.+)", reason):
            return _no_class(key, found[1], _expected(key, owner))
        case _ if found := re.match(r"Import path (\S+) does not correspond to a subclass of (\w+)", reason):
            return _no_class(key, found[1], _expected(key, owner), found[2])
        case _ if found := re.match(r"module '(\S+)' has no attribute '(\w+)'", reason):
            return _no_class(key, path, _expected(key, owner if owner is not _find(path) else None))
        case _ if found := re.match(r"No module named '(\S+)'", reason):
            return _no_class(key, path or found[1], _expected(key, owner))
        case _ if all(_TYPES.match(other) for other in reasons):
            wanted = [_TYPES.match(other) for other in reasons]
            value = next((match["value"] for match in wanted if match and match["value"]), given)
            names = [_type(match["type"]) for match in wanted if match]
            return UsageError(f"{key} is {value}", " or ".join(dict.fromkeys(names)), f"Correct {key}.")
        case _:
            return UsageError(f"{key}: {' '.join(reasons)}".removeprefix(": ").rstrip("."), "something else", "Correct it.")


def _unknown(key: str, last: str, options: Iterable[str]) -> UsageError:
    close = get_close_matches(last, options, n=1, cutoff=0.5)
    prefix = key.removesuffix(last)
    remedy = f"Did you mean {prefix}{close[0]}?" if close else "`vitkit fit --help` lists them all."
    return UsageError(f"unknown key {key}", "a key that the command knows", remedy)


def _no_class(key: str, name: str, base: type | None, base_name: str = "") -> UsageError:
    known = [cls.__name__ for cls in _subclasses(base)] if base else []
    close = get_close_matches(name.rpartition(".")[2], known, n=1)
    expected = f"a {base.__name__ if base else base_name or 'class'}"
    if known:
        expected += f": {', '.join(known[:8])}{', ...' if len(known) > 8 else ''}"
    return UsageError(
        f"{key} is {name}", expected, f"Did you mean {close[0]}?" if close else "Give its name, or the path it is imported from."
    )


def _expected(key: str, owner: type | None) -> type | None:
    """The class that the last part of a key has to be, as its owner's constructor says."""
    if owner is None:
        return None
    name = key.rpartition(".")[2]
    hint = owner if "." not in key else typing.get_type_hints(owner.__init__).get(name)  # type: ignore[misc]
    candidates = [hint, *_nested(hint)]
    return next((item for item in candidates if inspect.isclass(item) and item.__module__ != "builtins"), None)


def _nested(hint: Any) -> Iterator[Any]:
    for argument in typing.get_args(hint):
        yield argument
        yield from _nested(argument)


def _subclasses(base: type) -> list[type]:
    """Public concrete classes below and including a class, that are imported already."""
    found: list[type] = [cls for sub in base.__subclasses__() for cls in _subclasses(sub)]
    own = [] if inspect.isabstract(base) or base.__name__.startswith("_") else [base]
    return list(dict.fromkeys(own + found))


def _find(path: str) -> type | None:
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name, None) if module else None
    except ImportError:
        return None
    return found if inspect.isclass(found) else None


def _type(words: str) -> str:
    """A type in words: ``typing.Literal['a', 'b']`` is one of 'a', 'b'."""
    if choices := re.match(r"typing\.Literal\[(.+)\]", words):
        return f"one of {choices[1]}"
    names = {"int": "a whole number", "float": "a number", "bool": "true or false", "list": "a list", "str": "text"}
    name = re.sub(r"^<class '(?:.*\.)?(\w+)'>$", r"\1", words)
    return names.get(name, name)


def refuse_nulls(tree: Any, key: str, hint: Any) -> None:
    """Refuse ``null`` where a class is wanted; the parser lets it through.

    Raises:
        UsageError: There is one; the message names the class that does nothing.
    """
    cls = _find(tree["class_path"]) if isinstance(tree, Mapping) and "class_path" in tree else hint
    if not inspect.isclass(cls) or not isinstance(tree, Mapping):
        return
    hints = typing.get_type_hints(cls.__init__)
    for name, value in tree.get("init_args", tree).items():
        wanted = hints.get(name)
        if value is None and inspect.isclass(wanted) and not isinstance(wanted, types.GenericAlias) and wanted is not type(None):
            null = next((sub.__name__ for sub in _subclasses(wanted) if sub.__name__ == f"No{wanted.__name__}"), None)
            remedy = f"Write {null}, which does nothing." if null else f"Give a {wanted.__name__}."
            raise UsageError(f"{key}.{name} is null", f"a {wanted.__name__}", remedy)
        refuse_nulls(value, f"{key}.{name}", wanted)
