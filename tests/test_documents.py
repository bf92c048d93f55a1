"""Every block of code in README and docs runs, and prints what the page says it prints.

``python`` blocks of one page share their names; ``sh`` blocks run line by line as they are printed, ``make`` only as a dry run
and ``vitkit``, wherever it is installed, in this process, which spares it seconds of imports; a line may end with
``# exit code 1``. A ``text`` block right behind either is what it has to print, with ``...`` for anything; ``yaml`` blocks are
mappings that load.
``<!-- skip: next -->`` before a block leaves it out, which is for what needs a network or a file that only the reader has.
"""

import contextlib
import doctest
import io
import os
import pkgutil
import re
import shlex
import subprocess
import sys
from dataclasses import fields, is_dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import yaml
from sybil import Example, Sybil
from sybil.parsers.myst import CodeBlockParser, SkipParser

import vitkit
from vitkit.cli.main import main
from vitkit.evaluation import results
from vitkit.evaluation.storage import samples

ROOT = Path(__file__).parents[1]
ROOMS = [module.name for module in pkgutil.iter_modules(vitkit.__path__) if module.ispkg and module.name != "cli"]
SCRIPT = ".venv/bin/vitkit"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def python(example: Example) -> None:
    printed = io.StringIO()
    # Blank lines in front, so that a traceback names the page's own line.
    source = "\n" * (example.line + example.parsed.line_offset) + example.parsed
    with contextlib.redirect_stdout(printed):
        exec(compile(source, example.path, "exec"), example.namespace)
    example.namespace["printed"] = printed.getvalue()


def shell(example: Example) -> None:
    printed = ""
    for line in example.parsed.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            expected = re.search(r"# exit code (\d+)$", line)
            code, output, errors = command(words)
            assert code == int(expected[1] if expected else 0), f"{example.path}:{example.line}: {line}\n{output}{errors}"
            printed += output if words[0] != "make" else ""
            printed += errors if code else ""
    example.namespace["printed"] = printed


def command(words: list[str]) -> tuple[int, str, str]:
    """Its exit code, output and errors."""
    if words[0] in {"vitkit", SCRIPT}:
        output, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            code = main(words[1:])
        return code, output.getvalue(), errors.getvalue()
    words = ["make", "--dry-run", "--directory", str(ROOT), *words[1:]] if words[0] == "make" else words
    found = subprocess.run(words, check=False, capture_output=True, text=True)
    return found.returncode, found.stdout, found.stderr


def text(example: Example) -> None:
    if (found := example.namespace.pop("printed", None)) is None:
        return
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    wanted = doctest.Example(source="", want=example.parsed)
    checker = doctest.OutputChecker()
    assert checker.check_output(wanted.want, found, flags), checker.output_difference(wanted, found, flags)


def config(example: Example) -> None:
    assert isinstance(yaml.safe_load(example.parsed), dict), f"{example.path}:{example.line}: no mapping"


RUNNERS = {"python": python, "sh": shell, "text": text, "yaml": config}


def run(page: Path) -> None:
    parsers = [SkipParser(), *(CodeBlockParser(language, runner) for language, runner in RUNNERS.items())]
    for example in Sybil(parsers, path=str(page.parent)).parse(page).examples():
        example.evaluate()


@pytest.fixture
def in_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that looks like a clone, so that the commands can be run as they are printed."""
    for name in ("configs", "examples", "docs", "train.py", "eval.py"):
        if (ROOT / name).exists():
            (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    monkeypatch.setenv("COLUMNS", "120")
    return tmp_path


@pytest.mark.filterwarnings(  # of Lightning's, where a page trains
    "ignore:.*does not have many workers", "ignore:`isinstance.treespec, LeafSpec.` is deprecated"
)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
@pytest.mark.usefixtures("in_a_copy", "unchecked")  # a reader's shapes are not checked either, and it would take as long again
def test_page_runs_as_printed(page: Path) -> None:
    run(page)


@pytest.mark.usefixtures("in_a_copy")
def test_what_pages_call_vitkit_is_what_is_installed() -> None:
    assert [script.load() for script in entry_points(group="console_scripts", name="vitkit")] == [main]
    for name in ("vitkit", SCRIPT):
        assert (
            subprocess.run([name, "--version"], check=True, capture_output=True, text=True).stdout
            == f"vitkit {vitkit.__version__}\n"
        )


@pytest.mark.parametrize(
    ("page", "found"),
    [
        ("```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n", "2"),
        ("```sh\nvitkit --version\n```\n\n```text\nno version\n```\n", vitkit.__version__),
        ("```sh\nvitkit --version  # exit code 1\n```\n", "vitkit --version"),
        ("```sh\nvitkit nonsense\n```\n", "nonsense"),
        ("```sh\nvitkit nonsense  # exit code 2\n```\n\n```text\nsense\n```\n", "vitkit: error: vitkit nonsense"),
    ],
)
def test_a_wrong_page_is_noticed(page: str, found: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.md"
    path.write_text(page, encoding="utf-8")
    with pytest.raises(AssertionError, match=re.escape(found)):
        run(path)


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_is_in_the_reference(room: str) -> None:
    page = (ROOT / "docs" / "api" / f"{room}.md").read_text(encoding="utf-8").splitlines()
    names = import_module(f"vitkit.{room}").__all__
    assert names
    if f".. automodule:: vitkit.{room}" not in page:
        documented = {line.rpartition("::")[2].strip() for line in page if line.startswith(".. auto")}
        assert {f"vitkit.{room}.{name}" for name in names} <= documented


def test_the_page_on_results_names_every_field() -> None:
    page = (ROOT / "docs" / "concepts" / "results.md").read_text(encoding="utf-8")
    schemas = [kind for kind in vars(results).values() if is_dataclass(kind)]
    names = {item.name for kind in schemas for item in fields(kind)} | set(samples.SCHEMA.names)
    assert "schema_version" in names
    assert not {name for name in names if f"`{name}`" not in page and f".{name}`" not in page and f'"{name}"' not in page}
