"""What commands print: results to standard output, remarks to standard error."""

import sys


def say(text: str) -> None:
    """A result."""
    print(text, flush=True)  # noqa: T201  # the output of a command


def remark(text: str) -> None:
    """Something the user should know, which is not a result."""
    print(f"vitkit: {text}", file=sys.stderr, flush=True)  # noqa: T201  # the output of a command
