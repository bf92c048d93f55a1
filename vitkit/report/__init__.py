"""Results in, something to look at out: figures, one self-contained page, a table for the terminal."""

from vitkit.report.terminal import table
from vitkit.report.versus import comparison_table, write_comparison
from vitkit.report.write import write_report

__all__ = ["comparison_table", "table", "write_comparison", "write_report"]
