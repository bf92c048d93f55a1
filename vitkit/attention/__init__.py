"""Attention: who sees whom, with what scores and bias, and how it is computed."""

from vitkit.attention.attend import attend
from vitkit.attention.attention import Attention
from vitkit.attention.explain import Explanation, explain
from vitkit.attention.patterns import (
    AlongAxis,
    Axial,
    Dilated,
    Full,
    Global,
    Neighbourhood,
    Pattern,
    SparsePattern,
    Union,
    Window,
)
from vitkit.attention.scorers import Additive, Bilinear, Cosine, ScaledDotProduct, Scorer

__all__ = [
    "Additive",
    "AlongAxis",
    "Attention",
    "Axial",
    "Bilinear",
    "Cosine",
    "Dilated",
    "Explanation",
    "Full",
    "Global",
    "Neighbourhood",
    "Pattern",
    "ScaledDotProduct",
    "Scorer",
    "SparsePattern",
    "Union",
    "Window",
    "attend",
    "explain",
]
