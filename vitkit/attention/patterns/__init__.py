"""Who may see whom."""

from vitkit.attention.patterns.full import Full
from vitkit.attention.patterns.pattern import Pattern

__all__ = ["Full", "Pattern"]
