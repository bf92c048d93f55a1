"""How an object was made, as a plain tree, so that a checkpoint can hold its model's architecture without holding code."""

import inspect
import sys
from importlib import import_module
from typing import Any

from vitkit.errors import CheckpointError, UsageError

Recipe = dict[str, Any]

_PLAIN = (type(None), bool, int, float, str)


class _ConstructorSignature:
    """Lets ``help`` and other readers of signatures see a class's ``__init__`` behind the ``__new__`` of :class:`Recorded`."""

    def __get__(self, instance: object | None, owner: type) -> inspect.Signature:
        if instance is not None:
            raise AttributeError("__signature__")  # an instance that can be called has a signature of its own
        signature = inspect.signature(owner.__init__)  # type: ignore[misc]  # the class is meant, not an instance
        return signature.replace(parameters=list(signature.parameters.values())[1:], return_annotation=inspect.Signature.empty)


class Recorded:
    """Remembers the arguments that an object was constructed with.

    A class that inherits this can be described by :func:`recipe` and made again by :func:`build`. Its constructor takes plain
    values, other ``Recorded`` objects, and lists, tuples and dicts of these.
    """

    _recipe_arguments: dict[str, Any]
    __signature__ = _ConstructorSignature()

    def __new__(cls, *args: Any, **kwargs: Any) -> "Recorded":
        """Construct as usual, and write the arguments down in plain form."""
        self = super().__new__(cls)
        # Copying and unpickling call __new__ without arguments and then restore __dict__, this entry with it.
        arguments = {}
        if args or kwargs:
            bound = inspect.signature(cls.__init__).bind(self, *args, **kwargs)
            arguments = {name: _plain(value) for name, value in list(bound.arguments.items())[1:]}
        self.__dict__["_recipe_arguments"] = arguments
        return self


class Unrecorded:
    """Stands for an argument that has no plain form."""

    def __init__(self, value: Any) -> None:
        self.description = f"{type(value).__module__}.{type(value).__qualname__}"


def _plain(value: Any) -> Any:
    match value:
        case Recorded():
            return {"class_path": _public_path(type(value)), "init_args": value._recipe_arguments}
        case list() | tuple():
            return [_plain(item) for item in value]
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
        case _ if isinstance(value, _PLAIN):
            return value
        case _:
            return Unrecorded(value)


def _public_path(cls: type) -> str:
    """Where users import the class from: the outermost package that exports it, so that moving its file breaks no checkpoint."""
    parts = cls.__module__.split(".")
    packages = (".".join(parts[:count]) for count in range(1, len(parts)))
    exporting = (package for package in packages if getattr(sys.modules.get(package), cls.__name__, None) is cls)
    return f"{next(exporting, cls.__module__)}.{cls.__qualname__}"


def recipe(obj: Recorded) -> Recipe:
    """The plain tree ``{"class_path": ..., "init_args": {...}}`` from which :func:`build` makes the object, without weights.

    Raises:
        UsageError: The object, or one inside it, was made with an argument that has no plain form.
    """
    tree: Recipe = _plain(obj)
    _refuse_unrecorded(tree, type(obj).__name__)
    return tree


def _refuse_unrecorded(tree: Any, where: str) -> None:
    match tree:
        case Unrecorded():
            raise UsageError(
                f"{where} is a {tree.description}",
                "numbers, strings, lists, dicts, or objects of classes that inherit vitkit.recipe.Recorded",
                "Let that class inherit Recorded, so that a checkpoint can describe it.",
            )
        case dict():
            for key, item in tree.items():
                _refuse_unrecorded(item, where if key in ("class_path", "init_args") else f"{where}.{key}")
        case list():
            for index, item in enumerate(tree):
                _refuse_unrecorded(item, f"{where}[{index}]")


def build(tree: Any) -> Any:
    """Make the object that a recipe describes.

    Only classes that inherit :class:`Recorded`, and that belong to vitkit or are imported already, are made: a recipe comes
    from a file, and a file must not be able to call any function it names.

    Raises:
        CheckpointError: A class that is not to be found, or is not ``Recorded``.
    """
    match tree:
        case {"class_path": str(path), "init_args": dict(arguments)}:
            return _find(path)(**{name: build(value) for name, value in arguments.items()})
        case dict():
            return {key: build(value) for key, value in tree.items()}
        case list():
            return [build(item) for item in tree]
        case _:
            return tree


def _find(path: str) -> type[Recorded]:
    module_name, _, name = path.rpartition(".")
    found: Any = None
    if module_name in sys.modules:
        found = getattr(sys.modules[module_name], name, None)
    elif module_name.startswith("vitkit."):
        try:
            found = getattr(import_module(module_name), name, None)
        except ImportError:
            found = None
    if not (isinstance(found, type) and issubclass(found, Recorded)):
        raise CheckpointError(
            f"the checkpoint describes its model with the class {path}",
            "a class of vitkit, or one of yours that inherits vitkit.recipe.Recorded and is imported",
            "Import the module that defines it before loading the checkpoint.",
        )
    return found
