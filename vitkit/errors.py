"""Errors for the person at the keyboard: what was found, what was expected, what to do."""

from collections.abc import Collection


class VitkitError(Exception):
    """An error that a user can mend; the command line prints it in one line and exits with 1.

    Args:
        found: What was met, naming the file or the key.
        expected: What would have been right.
        remedy: What to do about it.

    Given one argument, that is the message: torch raises an error of a loader's worker again with the worker's whole traceback as
    its only argument, of which the part after this error's name is kept.
    """

    exit_code = 1

    def __init__(self, found: str, expected: str = "", remedy: str = "") -> None:
        if not expected:
            found = found.rpartition(f"\n{type(self).__module__}.{type(self).__qualname__}: ")[2].strip()
        super().__init__(f"{found}; expected {expected}. {remedy}" if expected else found)
        self.found, self.expected, self.remedy = found, expected, remedy

    def __reduce__(self) -> tuple[type["VitkitError"], tuple[str, str, str]]:
        return type(self), (self.found, self.expected, self.remedy)


class UsageError(VitkitError, ValueError):
    """An argument, a config value or a path that cannot be right; exit code 2."""

    exit_code = 2


class DataError(VitkitError, ValueError):
    """A file or a data set whose content is not what it has to be."""


class CheckpointError(VitkitError, RuntimeError):
    """A checkpoint or a weights file that cannot be read, or that does not fit the model."""


def require_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Refuse what is none of the choices.

    Raises:
        UsageError: It is none of them.

    >>> require_choice("xform", "s-form", ("sform", "qform"))
    Traceback (most recent call last):
    vitkit.errors.UsageError: xform 's-form'; expected one of sform, qform. Correct xform.
    """
    if value not in choices:
        raise UsageError(f"{name} {value!r}", f"one of {', '.join(choices)}", f"Correct {name}.")
