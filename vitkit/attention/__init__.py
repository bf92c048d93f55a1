"""Attention: who sees whom, with what bias, and how it is computed."""

from vitkit.attention.attend import attend
from vitkit.attention.attention import Attention
from vitkit.attention.patterns import Full, Pattern

__all__ = ["Attention", "Full", "Pattern", "attend"]
