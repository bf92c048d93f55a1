"""What is asked of a library."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitkit.errors import UsageError


@dataclass(frozen=True)
class Request:
    """A model of a library, as :func:`~vitkit.backbones.load` was asked for it."""

    library: str
    name: str
    weights: str | Path | None
    pretrained: bool
    num_classes: int | None
    in_chans: int | None
    arguments: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.library}:{self.name}"

    @contextmanager
    def constructing(self) -> Iterator[None]:
        """Within this context the model is made; what its constructor raises over a user's arguments is the user's mistake.

        Raises:
            UsageError: The constructor raised something, and was given arguments.
        """
        try:
            yield
        except OSError:  # no network, or no file: not the arguments' fault
            raise
        except Exception as error:  # libraries assert, and raise what they like
            if not self.arguments:
                raise
            given = ", ".join(f"{key}={value!r}" for key, value in self.arguments.items())
            raise UsageError(
                f"{self} refuses {given}: {' '.join(str(error).split()) or type(error).__name__}",
                "arguments of its constructor in the library",
                "Look them up in the library's documentation.",
            ) from error
