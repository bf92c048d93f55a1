"""How a query meets a key, one way per file."""

from vitkit.attention.scorers.additive import Additive
from vitkit.attention.scorers.bilinear import Bilinear
from vitkit.attention.scorers.cosine import Cosine
from vitkit.attention.scorers.dot_product import ScaledDotProduct
from vitkit.attention.scorers.scorer import ProductScorer, Scorer

__all__ = ["Additive", "Bilinear", "Cosine", "ProductScorer", "ScaledDotProduct", "Scorer"]
