"""Runs against one another."""

from vitkit.evaluation.comparison.comparable import Flag
from vitkit.evaluation.comparison.differences import Consistency, Difference, Run, RunComparison, compare

__all__ = ["Consistency", "Difference", "Flag", "Run", "RunComparison", "compare"]
