"""How often a guard may be wrong."""

from scipy.stats import binom

CHANCE = 1e-6  # of a finding, where a model is as often right either way


def unlikely(gained: int, lost: int) -> bool:
    """Whether a fair coin shows so many heads with a probability below the limit."""
    return bool(binom.sf(gained - 1, gained + lost, 0.5) < CHANCE)
