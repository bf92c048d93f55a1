"""Runs against one another."""

from vitkit.evaluation.comparison.comparable import Flag, first_difference
from vitkit.evaluation.comparison.differences import Consistency, Difference, Run, RunComparison, compare

__all__ = ["Consistency", "Difference", "Flag", "Run", "RunComparison", "compare", "first_difference"]
