"""The ``vitkit`` command: chooses what to run, and says in one line what went wrong. Imports nothing heavy by itself."""

import errno
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module

from vitkit import __doc__ as summary
from vitkit import __version__
from vitkit.cli.allocator import prepare_memory
from vitkit.cli.commands import COMMANDS, OTHERS, TRAINING
from vitkit.errors import UsageError, VitkitError
from vitkit.files import FULL, unwritable


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: Arguments after the program's name; those of the process if not given.

    Returns:
        0 for success, 1 for failure, 2 for a mistake in usage, 3 for a threshold that was missed, 130 after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = os.environ.get("VITKIT_DEBUG", "") not in ("", "0")
    prepare_memory()
    try:
        return _dispatch(arguments)
    except VitkitError as error:
        if debug:
            raise
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("interrupted", 130, "")
    except SystemExit as error:
        # Lightning turns Ctrl-C into exit(1) after it has closed the loggers.
        if isinstance(error.__context__, KeyboardInterrupt):
            return _fail("interrupted", 130, "")
        if isinstance(error.code, str):
            return _fail(error.code, 1)
        return error.code or 0
    except BrokenPipeError:
        # Whoever read the output has seen enough; what is still buffered must not be written at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            raise
        if (workers := sys.modules.get("vitkit.data.workers")) and (death := workers.death(error)):
            return _fail(str(death), death.exit_code)
        if isinstance(error, OSError) and error.errno in FULL:
            remedy = "Free some, or raise the limit, and run the command again."
            return _fail(f"no room on the disk ({error}); expected room for what the command writes. {remedy}", 1)
        if isinstance(error, OSError) and error.errno == errno.EROFS:  # by nothing but writing
            refusal = unwritable(error.filename or "a file", error)
            return _fail(str(refusal), refusal.exit_code)
        return _fail(f"{type(error).__name__}: {error}. VITKIT_DEBUG=1 shows where", 1)


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help())  # noqa: T201  # the output of this command
        return 0
    command, rest = arguments[0], arguments[1:]
    if command == "--version":
        print(f"vitkit {__version__}")  # noqa: T201  # the output of this command
        return 0
    if command == "--print_completion" or command.startswith("--print_completion="):
        return int(import_module("vitkit.cli.completion").main(arguments))
    if command in TRAINING:
        return int(import_module("vitkit.cli.training").main(command, rest))
    if command in OTHERS:
        return int(import_module(f"vitkit.cli.{command.replace('-', '_')}").main(rest))
    close = get_close_matches(command, COMMANDS, n=1)
    raise UsageError(
        f"vitkit {command}",
        f"one of {', '.join(COMMANDS)}",
        f"Did you mean {close[0]}?" if close else "`vitkit --help` says what each does.",
    )


def _help() -> str:
    lines = [str(summary), "", "usage: vitkit COMMAND [OPTIONS]", "", "commands:"]
    lines += [f"  {name:14}{text}" for name, text in COMMANDS.items()]
    lines += [
        "",
        "options:",
        "  --help                     this page; `vitkit COMMAND --help` for a command",
        "  --version                  the version",
        "  --print_completion SHELL   completion for bash, zsh or tcsh, to be sourced by the shell",
        "",
        "examples:",
        "  vitkit fit --config configs/image/digits.yaml --trainer.max_epochs 20 --model.encoder.bias NoBias",
        "  vitkit test --config configs/image/digits.yaml --ckpt_path runs/digits/best.ckpt",
        "  vitkit evaluate runs/digits/best.ckpt --suite quick --out runs/digits/robustness",
        "  vitkit compare runs/a/robustness runs/b/robustness --out runs/comparison",
        "",
        "exit codes: 0 success, 1 failure, 2 usage, 3 a threshold missed",
    ]
    return "\n".join(lines)


def _fail(message: str, code: int, kind: str = "error: ") -> int:
    print(f"vitkit: {kind}{' '.join(message.split())}", file=sys.stderr)  # noqa: T201  # errors belong there
    return code


if __name__ == "__main__":
    raise SystemExit(main())
