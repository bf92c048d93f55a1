"""Command lines of the commands that are not Lightning's."""

import argparse
import re
from difflib import get_close_matches
from typing import NoReturn

from vitkit.errors import UsageError


class Parser(argparse.ArgumentParser):
    """An argument parser whose mistakes are one line, as everywhere in vitkit.

    Args:
        prog: The command.
        usage: What follows it.
        description: What it does.
        epilog: Examples, kept as they are typed.
    """

    def __init__(self, prog: str, usage: str, description: str, epilog: str) -> None:
        super().__init__(
            prog=prog,
            usage=f"{prog} {usage}",
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Refuse.

        Raises:
            UsageError: Always.
        """
        remedy = f"`{self.prog} --help` lists what there is."
        if found := re.search(r"unrecognized arguments: (--[^\s=]+)", message):
            close = get_close_matches(found[1], self._option_string_actions, n=1)
            remedy = f"Did you mean {close[0]}?" if close else remedy
        raise UsageError(f"{self.prog}: {message}", self.usage or "", remedy)
