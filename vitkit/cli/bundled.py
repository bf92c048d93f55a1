"""The configs that come with vitkit, found by name in a checkout and in an installed wheel alike."""

from difflib import get_close_matches
from pathlib import Path

import vitkit
from vitkit.errors import UsageError


def folder(kind: str) -> Path:
    """Where the configs of a kind lie: ``suites``, ``data``, ``image`` or ``volume``."""
    package = Path(vitkit.__file__).parent
    installed = package / "configs"
    return (installed if installed.is_dir() else package.parent / "configs") / kind


def find(kind: str, name: str) -> Path:
    """The file that the user means: a path, or the name of one that comes with vitkit.

    Raises:
        UsageError: There is neither.
    """
    path = Path(name)
    if path.is_file():
        return path
    known = {entry.stem: entry for entry in sorted(folder(kind).glob("*.yaml"))}
    if name in known:
        return known[name]
    close = get_close_matches(path.stem, known, n=1)
    raise UsageError(
        f"no file and no {kind.removesuffix('s')} config named {name!r}",
        f"a .yaml file, or one of {', '.join(known)}",
        f"Did you mean {close[0]}?" if close else "Check the path.",
    )
