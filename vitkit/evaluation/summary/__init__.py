"""From stored samples to results."""

from vitkit.evaluation.summary.from_samples import read_groups, summarise
from vitkit.evaluation.summary.worst import Failures, with_pictures

__all__ = ["Failures", "read_groups", "summarise", "with_pictures"]
