"""Attention: who sees whom, with what scores and bias, and how it is computed."""

from vitkit.attention.attend import attend
from vitkit.attention.attention import Attention
from vitkit.attention.explain import Explanation, explain
from vitkit.attention.patterns import Full, Pattern
from vitkit.attention.scorers import Additive, Bilinear, Cosine, ScaledDotProduct, Scorer

__all__ = [
    "Additive",
    "Attention",
    "Bilinear",
    "Cosine",
    "Explanation",
    "Full",
    "Pattern",
    "ScaledDotProduct",
    "Scorer",
    "attend",
    "explain",
]
