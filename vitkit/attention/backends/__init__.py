"""How attention is computed, one way per file, and the rule that chooses."""

from vitkit.attention.backends.backend import Backend, Cost
from vitkit.attention.backends.choose import BACKENDS, choose, refusals_of

__all__ = ["BACKENDS", "Backend", "Cost", "choose", "refusals_of"]
