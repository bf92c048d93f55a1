"""Cells of the tables."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """A cell of a table: what is shown, a second line, and the number that it is sorted by."""

    text: str
    small: str = ""
    value: float | int | None = None
