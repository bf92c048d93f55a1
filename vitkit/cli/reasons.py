"""jsonargparse's nested messages in one line: which key, what was found, what was expected, what was probably meant."""

import inspect
import re
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    paths: list[str] = []
    reasons: list[str] = []
    given = ""
    for line in str(error).splitlines():
        text = line.strip().removeprefix("- ")
        while header := re.match(r'Parser key "([^"]+)":\s*', text):
            keys.append(header[1])
            text = text[header.end() :]
        if header := re.match(r"Problem with given class_path '([^']+)':\s*", text):
            paths.append(header[1])
            text = text[header.end() :]
        if text.startswith("Given value: "):
            given = text.removeprefix("Given value: ")
        elif text and not text.startswith(_NOISE):
            reasons.append(text)
    key = ".".join(keys)
    owners = [found for path in paths if (found := _find(path))]
    owner = owners[-1] if owners else roots.get(key.split(".")[0])
    asked = paths[-1] if paths and not _find(paths[-1]) else ""
    # Where one of several kinds may stand, a class of one of them is none of the others', which is no mistake.
    others = {f"Import path {path} does not correspond to a subclass of" for path in paths}
    own = [reason for reason in dict.fromkeys(reasons) if reason.rpartition(" ")[0] not in others]
    return _reason(key, asked, owner, own or [str(error)], given, list(known))


def _reason(key: str, asked: str, owner: type | None, reasons: list[str], given: str, known: list[str]) -> UsageError:
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
        case _ if kinds := [found[1] for text in reasons if (found := re.match(r"Not a valid subclass of (\w+)$", text))]:
            value = "null" if given == "None" else given
            return UsageError(f"{key} is {value}", f"one of {', '.join(kinds)}", f"Give class_path and init_args of {kinds[0]}.")
        case _ if found := re.match(r"Import path (\S+) does not correspond to a subclass of (\w+)", reason):
            return _no_class(key, found[1], _expected(key, owner), found[2])
        case _ if found := re.match(r"module '(\S+)' has no attribute '(\w+)'", reason):
            return _no_class(key, asked or f"{found[1]}.{found[2]}", _expected(key, owner))
        case _ if found := re.match(r"No module named '(\S+)'", reason):
            return _no_class(key, asked or found[1], _expected(key, owner))
        case _ if found := re.match(r"(?:File does not exist|Path is not a file): '(.*)'", reason):
            return UsageError(f"no file {found[1]}", "a YAML file", "Check the path.")
        case _ if found := re.match(r"argument (\S+): expected one argument", reason):
            return UsageError(f"{found[1]} without a value", "a value after it", "Give one.")
        case _ if all(_TYPES.match(other) for other in reasons):
            wanted = [_TYPES.match(other) for other in reasons]
            value = next((match["value"] for match in wanted if match and match["value"]), given)
            value = re.sub(r"^NestedArg\(key='[^']*', val='?(.*?)'?\)$", r"\1", value)
            names = [_type(match["type"], key, owner) for match in wanted if match]
            return UsageError(f"{key} is {value}", " or ".join(dict.fromkeys(names)), f"Correct {key}.")
        case _:
            found_words = f"{key}: {' '.join(reasons)}".removeprefix(": ").rstrip(".")
            return UsageError(
                found_words, "options or a YAML file that the command can read", "`vitkit fit --help` lists what there is."
            )


def _unknown(key: str, last: str, options: list[str]) -> UsageError:
    groups = {
        ".".join(parts[:depth]) for parts in (option.split(".") for option in options) for depth in range(1, len(parts) + 1)
    }
    close = get_close_matches(last, sorted(groups), n=1, cutoff=0.5)
    prefix = key.removesuffix(last)
    remedy = f"Did you mean {prefix}{close[0]}?" if close else "`vitkit fit --help` lists them all."
    return UsageError(f"unknown key {key}", "a key that the command knows", remedy)


def _no_class(key: str, name: str, base: type | None, base_name: str = "") -> UsageError:
    known = [cls.__name__ for cls in _subclasses(base) if base.__subclasses__() == [] or cls is not base] if base else []
    close = get_close_matches(name.rpartition(".")[2], known, n=1)
    kind = base.__name__ if base else base_name or "class"
    expected = f"{'an' if kind[0] in 'AEIO' else 'a'} {kind}"
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
    below: list[type] = type.__subclasses__(base)
    found = [cls for sub in below for cls in _subclasses(sub)]
    own = [] if inspect.isabstract(base) or base.__name__.startswith("_") else [base]
    return list(dict.fromkeys(own + found))


def _find(path: str) -> type | None:
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name, None) if module else None
    except ImportError:
        return None
    return found if inspect.isclass(found) else None


def _type(words: str, key: str, owner: type | None) -> str:
    """A type in words: ``typing.Literal['a', 'b']`` is one of 'a', 'b', and a ``Sequence`` a list of what it holds at its key."""
    if choices := re.match(r"typing\.Literal\[(.+)\]", words):
        return f"one of {choices[1]}"
    names = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text"}
    name = re.sub(r"^<class '(?:.*\.)?(\w+)'>$", r"\1", words)
    return f"a list{_content(key, owner)}" if name in ("list", "tuple", "Sequence") else names.get(name, name)


def _content(key: str, owner: type | None) -> str:
    """What the list at a key holds: `` of numbers``; empty where nothing says so.

    The owner is the last class that the config names; the key goes on from there, through classes that it does not name.
    """
    parts = key.split(".")
    hint = next((found for start in range(1, len(parts)) if (found := _hint(owner, parts[start:])) is not None), None)
    lists = [item for item in (hint, *_nested(hint)) if typing.get_origin(item) in (list, tuple, Sequence)]
    items = {int: " of whole numbers", float: " of numbers", str: " of words"}
    return next((items[held] for item in lists for held in typing.get_args(item) if held in items), "")


def _hint(owner: Any, names: list[str]) -> Any:
    """The annotation that is reached from a class by the names of arguments; None if there is none."""
    for name in names:
        owner = next((item for item in (owner, *_nested(owner)) if inspect.isclass(item) and item.__module__ != "builtins"), None)
        if owner is None:
            return None
        try:
            owner = typing.get_type_hints(owner.__init__).get(name)
        except NameError:  # a library's, that are not meant to be read at run time
            return None
    return owner


def refuse_nulls(tree: Mapping[str, Any], key: str, owner: type) -> None:
    """Refuse ``null`` where an object is wanted; the parser lets it through.

    Args:
        tree: Arguments of the owner, as plain values.
        key: Where they stand in the config.
        owner: The class they are for.

    Raises:
        UsageError: There is one; the message names the class that does nothing.
    """
    hints = typing.get_type_hints(owner.__init__)  # type: ignore[misc]
    for name, value in tree.items():
        wanted = hints.get(name)
        if value is None and isinstance(wanted, type):
            null = f"No{wanted.__name__}"
            known = any(cls.__name__ == null for cls in _subclasses(wanted))
            remedy = f"Write {null}, which does nothing." if known else f"Give a {wanted.__name__}."
            raise UsageError(f"{key}.{name} is null", f"a {wanted.__name__}", remedy)
        if isinstance(value, Mapping) and isinstance(value.get("class_path"), str) and (inner := _find(value["class_path"])):
            refuse_nulls(value.get("init_args", {}), f"{key}.{name}", inner)
