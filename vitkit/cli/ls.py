"""``vitkit ls``: what there is to choose from, read from vitkit's own source so that nothing heavy is imported."""

import ast
import re
from collections.abc import Iterator
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path

import vitkit
from vitkit.cli.arguments import Parser
from vitkit.cli.say import say
from vitkit.errors import UsageError
from vitkit.evaluation import bundled_suites

# What is listed: the package that holds its classes, and the class they all inherit.
FAMILIES = {
    "biases": ("bias", "Bias"),
    "densities": ("spectral", "Density"),
    "scorers": ("attention", "Scorer"),
    "patterns": ("attention", "Pattern"),
    "datasets": ("data", "ImageData"),
}
KINDS = ("suites", "backbones", "corruptions", *FAMILIES)


def main(argv: list[str]) -> int:
    """List one kind of thing, a line each; returns the exit code."""
    examples = "examples:\n  vitkit ls suites\n  vitkit ls backbones 'timm:vit_*_patch16_224'\n  vitkit ls biases"
    parser = Parser("vitkit ls", "KIND [FILTER]", "List what vitkit can be told to use.", examples)
    parser.add_argument("kind", metavar="KIND", help=f"one of {', '.join(KINDS)}")
    parser.add_argument("filter", metavar="FILTER", nargs="?", help="only names that hold this, or match it where it has * or ?")
    arguments = parser.parse_args(argv)
    kind: str = arguments.kind
    if kind not in KINDS:
        close = get_close_matches(kind, KINDS, n=1)
        raise UsageError(
            f"ls {kind}", f"one of {', '.join(KINDS)}", f"Did you mean {close[0]}?" if close else "Choose one of these."
        )
    entries = {
        name: summary for name, summary in entries_of(kind) if arguments.filter is None or _matches(name, arguments.filter)
    }
    if not entries:
        raise UsageError(
            f"no {kind} match {arguments.filter!r}", "part of a name, or a pattern with *", f"See `vitkit ls {kind}`."
        )
    width = max(map(len, entries))
    for name, summary in entries.items():
        say(f"{name:{width}}  {summary}".rstrip())
    return 0


def entries_of(kind: str) -> Iterator[tuple[str, str]]:
    """Names and one-line summaries."""
    if kind == "suites":
        yield from ((name, _first_comment(path)) for name, path in bundled_suites().items())
    elif kind == "backbones":
        from vitkit import backbones  # the one list that only the libraries themselves have

        yield from ((name, "") for name in backbones.names())
    elif kind == "corruptions":
        yield from corruptions()
    else:
        package, root = FAMILIES[kind]
        yield from ((f"vitkit.{package}.{name}", summary) for name, summary in classes(package, root))


def corruptions() -> Iterator[tuple[str, str]]:
    """What a Corruption of a suite can apply: the public functions of images, a severity and seeds, by their full names."""
    for room in sorted((Path(vitkit.__file__).parent / "corruptions").glob("*/__init__.py")):
        functions: dict[str, ast.FunctionDef] = {}
        for path in room.parent.glob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"), path)
            functions |= {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        imported = [node for node in ast.parse(room.read_text(encoding="utf-8")).body if isinstance(node, ast.ImportFrom)]
        for name in sorted(alias.name for node in imported for alias in node.names):
            if name in functions and [each.arg for each in functions[name].args.args[:3]] == ["images", "severity", "seeds"]:
                summary = (ast.get_docstring(functions[name]) or "").partition("\n")[0]
                yield f"vitkit.corruptions.{room.parent.name}.{name}", _plain(summary)


def _matches(name: str, pattern: str) -> bool:
    pattern, name = pattern.lower(), name.lower()
    return fnmatchcase(name, pattern) if any(sign in pattern for sign in "*?[") else pattern in name


def _first_comment(path: Path) -> str:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def classes(package: str, root: str) -> list[tuple[str, str]]:
    """The concrete public classes of a package below a root class, with the first line of their docstrings, by name."""
    found: dict[str, ast.ClassDef] = {}
    for path in sorted((Path(vitkit.__file__).parent / package).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"), path)
        found |= {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    return sorted(
        (name, _plain((ast.get_docstring(node) or "").partition("\n")[0]))
        for name, node in found.items()
        if not name.startswith("_") and name != root and root in _ancestors(node, found) and not _abstract(node, found)
    )


def _plain(summary: str) -> str:
    """Without the marks that the reference turns into links and formulas."""
    return re.sub(r"(?::\w+:)?`+~?([^`]*)`+", r"\1", summary)


def _bases(node: ast.ClassDef) -> list[str]:
    """Names of the direct bases, without modules and type arguments."""
    names = (ast.unparse(base.value if isinstance(base, ast.Subscript) else base) for base in node.bases)
    return [name.rpartition(".")[2] for name in names]


def _ancestors(node: ast.ClassDef, found: dict[str, ast.ClassDef]) -> set[str]:
    names = set(_bases(node))
    return names.union(*(_ancestors(found[name], found) for name in names & found.keys()))


def _abstract(node: ast.ClassDef, found: dict[str, ast.ClassDef]) -> set[str]:
    """Names of the methods that are still to be written."""
    methods = [item for item in node.body if isinstance(item, ast.FunctionDef)]
    own = {item.name for item in methods if any(ast.unparse(mark).endswith("abstractmethod") for mark in item.decorator_list)}
    inherited = set().union(*(_abstract(found[name], found) for name in _bases(node) if name in found))
    return own | (inherited - {item.name for item in methods})
