"""From stored samples to results."""

from vitkit.evaluation.summary.from_samples import read_groups, summarise
from vitkit.evaluation.summary.worst import find_worst, with_pictures

__all__ = ["find_worst", "read_groups", "summarise", "with_pictures"]
