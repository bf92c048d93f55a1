"""The door: what it prints, which code it returns, and what it does not import."""

import errno
import signal
import subprocess
import sys

import pytest

import vitkit
from vitkit.cli import main as module
from vitkit.cli.commands import COMMANDS
from vitkit.cli.main import main
from vitkit.errors import DataError


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"vitkit {vitkit.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_alone_it_lists_its_commands(capsys, arguments):
    assert main(arguments) == 0
    output = capsys.readouterr().out
    assert all(f"\n  {command} " in output for command in COMMANDS)
    assert max(map(len, output.splitlines())) < 130


@pytest.mark.parametrize(("typed", "meant"), [("tets", "test"), ("evalute", "evaluate"), ("fti", "fit")])
def test_an_unknown_command_is_told_what_was_meant(capsys, typed, meant):
    assert main([typed]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"vitkit: error: vitkit {typed}; expected one of fit, ")
    assert error.endswith(f"Did you mean {meant}?\n")
    assert main(["xyzzy"]) == 2


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [
        (
            DataError("a.png is\nempty", "a picture", "Delete it."),
            1,
            "vitkit: error: a.png is empty; expected a picture. Delete it.",
        ),
        (KeyboardInterrupt(), 130, "vitkit: interrupted"),
        (ZeroDivisionError("division"), 1, "vitkit: error: ZeroDivisionError: division. VITKIT_DEBUG=1 shows where"),
        (
            OSError(errno.ENOSPC, "No space left on device", "runs/a.csv"),
            1,
            f"vitkit: error: no room on the disk ([Errno {errno.ENOSPC}] No space left on device: 'runs/a.csv'); expected room "
            "for what the command writes. Free some, or raise the limit, and run the command again.",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", "runs/parts"),
            2,
            "vitkit: error: runs/parts cannot be written (Read-only file system); expected a place that may be written to. "
            "Choose another one.",
        ),
        (SystemExit(3), 3, ""),
        (SystemExit(None), 0, ""),
    ],
)
def test_every_end_is_one_line_and_a_code(monkeypatch, capsys, raised, code, line):
    def fail(_):
        raise raised

    monkeypatch.setattr(module, "_dispatch", fail)
    assert main(["ls"]) == code
    assert capsys.readouterr().err.strip() == line


def test_ctrl_c_that_lightning_turned_into_an_exit_is_130(monkeypatch, capsys):
    def fail(_):
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite that runs in the background ignores it
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            sys.exit(1)

    monkeypatch.setattr(module, "_dispatch", fail)
    assert main(["fit"]) == 130
    assert capsys.readouterr().err == "vitkit: interrupted\n"


def test_debug_lets_the_traceback_through(monkeypatch):
    monkeypatch.setenv("VITKIT_DEBUG", "1")
    with pytest.raises(vitkit.errors.UsageError):
        main(["tets"])


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["ls", "suites"], ["ls", "biases"]])
def test_what_needs_no_torch_does_not_import_it(arguments):
    code = f"import sys; from vitkit.cli.main import main; main({arguments!r}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0


def test_both_scripts_are_the_same_two_doors(monkeypatch):
    import runpy
    from pathlib import Path

    seen = []
    monkeypatch.setattr(module, "main", lambda argv=None: seen.append(argv) or 0)
    for script in ("train.py", "eval.py"):
        monkeypatch.setattr(sys, "argv", [script, "given"])
        with pytest.raises(SystemExit):
            runpy.run_path(str(Path(__file__).parents[2] / script))
    assert seen == [None, ["evaluate", "given"]]


@pytest.mark.parametrize("name", ["vitkit", "vitkit.cli"])
def test_as_a_module(name):
    done = subprocess.run([sys.executable, "-m", name, "tets"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("vitkit: error: vitkit tets; expected one of fit, ")
