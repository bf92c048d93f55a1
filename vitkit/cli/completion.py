"""``vitkit --print_completion SHELL``: completion for the shell, made by shtab from the parsers themselves."""

from importlib.util import find_spec
from typing import Any

from jsonargparse import ArgumentParser, set_parsing_settings
from lightning.pytorch.cli import LightningArgumentParser

from vitkit.cli.commands import OTHERS, TRAINING
from vitkit.cli.quiet import quiet
from vitkit.cli.training import TrainingCLI
from vitkit.errors import UsageError

SHELLS = ("bash", "zsh", "tcsh")


def main(arguments: list[str]) -> int:
    """Print the script that a shell sources.

    Raises:
        UsageError: Another shell, or shtab is not installed.
    """
    shell = " ".join(arguments).replace("=", " ").removeprefix("--print_completion").strip()
    if shell not in SHELLS:
        raise UsageError(f"--print_completion {shell}".strip(), f"one of {', '.join(SHELLS)}", "Name your shell.")
    if find_spec("shtab") is None:
        raise UsageError("no shtab", "the package that writes completions", "Run `pip install shtab`.")
    set_parsing_settings(add_print_completion_argument=True)
    try:
        with quiet():
            _AllCommands(shell)
    finally:
        set_parsing_settings(add_print_completion_argument=False)
    return 0


class _AllCommands(TrainingCLI):
    """The parsers of all commands; those that are not Lightning's by name alone."""

    def __init__(self, shell: str) -> None:
        self.shell = shell
        super().__init__("fit", [], None)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        parser.parse_args([f"--print_completion=shtab-{self.shell}"])

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        return {command: self.skipped(command) for command in TRAINING}

    def _add_subcommands(self, parser: LightningArgumentParser, **kwargs: Any) -> None:
        super()._add_subcommands(parser, **kwargs)
        action = parser._subcommands_action
        assert action is not None
        for command, summary in OTHERS.items():
            action.add_subcommand(command, ArgumentParser(), help=summary)
