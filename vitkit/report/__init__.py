"""Results in, something to look at out: figures, one self-contained page, a table for the terminal."""

from vitkit.report.terminal import table
from vitkit.report.write import write_report

__all__ = ["table", "write_report"]
