"""What a library's constructor says of the arguments that a user gave it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from vitkit.errors import UsageError


@contextmanager
def constructing(name: str, arguments: Mapping[str, Any]) -> Iterator[None]:
    """Within this context a model is made; what its constructor raises over a user's arguments is told as the user's mistake.

    Args:
        name: ``library:model``.
        arguments: Those of the user's; without any, whatever is raised passes through.

    Raises:
        UsageError: The constructor raised something.
    """
    try:
        yield
    except OSError:  # no network, or no file: not the arguments' fault
        raise
    except Exception as error:  # libraries assert, and raise what they like
        if not arguments:
            raise
        given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        raise UsageError(
            f"{name} refuses {given}: {' '.join(str(error).split()) or type(error).__name__}",
            "arguments of its constructor in the library",
            "Look them up in the library's documentation.",
        ) from error
