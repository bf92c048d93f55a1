"""A suite: a named list of conditions, from a file or from code."""

import inspect
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from vitkit.errors import UsageError
from vitkit.evaluation.bundled import bundled_suites
from vitkit.evaluation.condition import Clean, Condition, check_name
from vitkit.evaluation.profiles.kinds import Drift
from vitkit.recipe import recipe

_EXAMPLES: dict[type, str] = {Condition: "RandomOcclusion", Drift: "AffineDrift"}


class Suite:
    """What is to be done to the images: the clean pass always, then each condition at each of its severities.

    Args:
        name: Name in the results.
        conditions: At least one, and no two with the same id at a severity.
        threshold: Accuracy of which the results say where each curve falls below it.
        profiles: Transformations whose drift through the model's layers is measured on the first images, and with them the
            model's certificate. None if not given.

    Raises:
        UsageError: No condition, one that is none, two of the same name, or a threshold that is no share.

    >>> from vitkit.evaluation import Gamma
    >>> suite = Suite("mine", [Gamma([0.5, 2.0])])
    >>> [condition.id(severity) for condition, severity in suite]
    ['clean/0', 'brightness.gamma/0.5', 'brightness.gamma/2']
    """

    def __init__(
        self, name: str, conditions: Sequence[Condition], threshold: float = 0.8, profiles: Sequence[Drift] = ()
    ) -> None:
        if not conditions:
            raise UsageError(
                f"conditions: suite {name!r} has none", "at least one", "Add one, e.g. vitkit.evaluation.RandomOcclusion."
            )
        if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not 0 < threshold < 1:
            raise UsageError(f"threshold: {threshold!r}", "an accuracy between 0 and 1", "Use e.g. 0.8.")
        self.name, self.conditions, self.threshold = check_name(name), list(conditions), float(threshold)
        seen: set[str] = {Clean().id(0.0)}
        for index, condition in enumerate(self.conditions):
            if not isinstance(condition, Condition):
                raise UsageError(
                    f"conditions[{index}]: a {type(condition).__name__}", "a Condition", "Let the class inherit Condition."
                )
            check_name(condition.suite)
            check_name(condition.name)
            for severity in condition.severities:
                if condition.id(severity) in seen:
                    raise UsageError(
                        f"conditions[{index}]: {condition.id(severity)} for the second time",
                        "every condition once",
                        "Remove one, or give one of them a name of its own.",
                    )
                seen.add(condition.id(severity))

        self.profiles = list(profiles)
        for index, profile in enumerate(self.profiles):
            if not isinstance(profile, Drift):
                raise UsageError(f"profiles[{index}]: a {type(profile).__name__}", "a Drift", "Let the class inherit Drift.")
            if profile.name in {other.name for other in self.profiles[:index]}:
                raise UsageError(
                    f"profiles[{index}]: {profile.name} for the second time",
                    "every profile once",
                    "Remove one, or give one of them a name of its own.",
                )

    def __iter__(self) -> Iterator[tuple[Condition, float]]:
        """Each condition at each severity, the clean pass first."""
        yield Clean(), 0.0
        for condition in self.conditions:
            for severity in condition.severities:
                yield condition, float(severity)

    def __len__(self) -> int:
        return 1 + sum(len(condition.severities) for condition in self.conditions)

    def config(self) -> dict[str, Any]:
        """The suite as the plain tree that a YAML file holds."""
        profiles = {"profiles": [recipe(profile) for profile in self.profiles]} if self.profiles else {}
        return {
            "name": self.name,
            "threshold": self.threshold,
            "conditions": [recipe(condition) for condition in self.conditions],
            **profiles,
        }

    @classmethod
    def load(cls, name: str | Path) -> "Suite":
        """A suite by the name of one that comes with vitkit, or by the path of a YAML file.

        Raises:
            UsageError: Neither is there, or the file holds no suite.

        >>> len(Suite.load("quick"))
        43
        """
        if Path(name).suffix in (".yaml", ".yml"):
            return cls.from_yaml(name)
        suites = bundled_suites()
        if str(name) not in suites:
            raise UsageError(f"suite {str(name)!r}", f"a .yaml file, or one of {', '.join(suites)}", "Choose one of these.")
        return cls.from_yaml(suites[str(name)])

    @classmethod
    def from_yaml(cls, path: str | Path) -> "Suite":
        """A suite from a file.

        .. code-block:: yaml

            name: mine
            threshold: 0.8
            conditions:
              - class_path: vitkit.evaluation.RandomOcclusion
                init_args: {mode: painted, ratios: [0.25, 0.5], fill: mean}
            profiles:
              - class_path: vitkit.evaluation.AffineDrift
                init_args: {gain: 0.8}

        With ``include: [occlusion, others.yaml]`` it begins with the conditions and profiles of other suites: those that come
        with vitkit by their names, and files by their paths from this one.

        Raises:
            UsageError: No such file, or something in it is wrong; the message names the file and the key.
        """
        path = Path(path)
        if not path.is_file():
            raise UsageError(
                f"no file {path}", "a suite in YAML", f"Use one that comes with vitkit: {', '.join(bundled_suites())}."
            )
        try:
            tree = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} is no YAML ({' '.join(str(error).split())})", "a suite", "Mend the file.") from error
        try:
            return cls._from_tree(_with_included(tree, path))
        except UsageError as error:
            raise UsageError(f"{path}: {error.found}", error.expected, error.remedy) from error

    @classmethod
    def _from_tree(cls, tree: Any) -> "Suite":
        _check_keys(tree, "the file", required={"name", "conditions"}, optional={"threshold", "profiles", "include"})
        for key, root in (("conditions", Condition), ("profiles", Drift)):
            if not isinstance(listed := tree.get(key, []), list):
                raise UsageError(f"{key}: {listed!r:.60}", "a list", "Begin every entry with a dash.")
            tree = {**tree, key: [_made(item, f"{key}[{index}]", root) for index, item in enumerate(listed)]}
        return cls(**tree)


def _with_included(tree: Any, path: Path, outer: tuple[Path, ...] = ()) -> Any:
    """The tree of a file with those of the suites that it includes before its own lists."""
    if not isinstance(tree, dict) or "include" not in tree:
        return tree
    names = tree["include"]
    if not isinstance(names, list) or not names:
        raise UsageError(f"include: {names!r:.60}", "a list of suites", "Write e.g. include: [occlusion, brightness].")
    tree = {key: value for key, value in tree.items() if key != "include"}
    lists: dict[str, list[Any]] = {"conditions": [], "profiles": []}
    bundled = bundled_suites()
    for index, name in enumerate(names):
        found = path.parent / str(name) if str(name) not in bundled else bundled[str(name)]
        if not found.is_file() or found.resolve() in (path.resolve(), *outer):
            raise UsageError(
                f"include[{index}]: {name}",
                f"a file beside this one that does not include it in turn, or one of {', '.join(bundled)}",
                "Correct the name.",
            )
        inner = _with_included(yaml.safe_load(found.read_text(encoding="utf-8")), found, (*outer, path.resolve()))
        for key, items in lists.items():
            items += inner.get(key) or [] if isinstance(inner, dict) else []
    for key, items in lists.items():
        own = tree.get(key, [])
        if items and isinstance(own, list):
            tree[key] = [*items, *own]
    return tree


def _check_keys(tree: Any, where: str, required: set[str], optional: set[str]) -> None:
    if not isinstance(tree, dict):
        raise UsageError(
            f"{where}: {tree!r:.60}", f"a mapping with {', '.join(sorted(required | optional))}", "Write key: value."
        )
    keys = {str(key) for key in tree}
    if unknown := keys - required - optional:
        allowed = ", ".join(sorted(required | optional))
        raise UsageError(f"{where}: unknown key {', '.join(sorted(unknown))}", f"keys among {allowed}", "Remove or rename it.")
    if missing := required - keys:
        raise UsageError(f"{where}: no {', '.join(sorted(missing))}", "every key that is needed", "Add it.")


def _made(tree: Any, where: str, root: type) -> Any:
    _check_keys(tree, where, required={"class_path"}, optional={"init_args"})
    kind = _find(tree["class_path"], f"{where}.class_path", root)
    arguments = tree.get("init_args") or {}
    parameters = inspect.signature(kind).parameters.values()
    required = {parameter.name for parameter in parameters if parameter.default is parameter.empty}
    _check_keys(arguments, f"{where}.init_args", required, {parameter.name for parameter in parameters} - required)
    try:
        return kind(**arguments)
    except UsageError as error:
        raise UsageError(f"{where}.init_args.{error.found}", error.expected, error.remedy) from error


def _find(path: Any, where: str, root: type) -> type:
    module, _, name = str(path).rpartition(".")
    try:
        found = getattr(import_module(module), name, None) if module else None
    except ImportError:
        found = None
    if not (isinstance(found, type) and issubclass(found, root)) or inspect.isabstract(found):
        home = import_module("vitkit.evaluation")
        known = [each for each in home.__all__ if isinstance(kind := getattr(home, each), type) and issubclass(kind, root)]
        close = get_close_matches(name, known, n=1)
        raise UsageError(
            f"{where}: {path}",
            f"a class that inherits vitkit.evaluation.{root.__name__}, such as vitkit.evaluation.{_EXAMPLES[root]}",
            f"Did you mean vitkit.evaluation.{close[0]}?"
            if close
            else f"vitkit.evaluation has {', '.join(known)}; check that your own module can be imported from here.",
        )
    return found
