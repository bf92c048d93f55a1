"""From an image or a volume to tokens on a grid."""

from vitkit.embedding.invariance import Invariance, eps_drift, invariance_of
from vitkit.embedding.patch import PatchEmbed
from vitkit.embedding.position import LearnedPosition, NoPosition, Position, SinCosPosition

__all__ = [
    "Invariance",
    "LearnedPosition",
    "NoPosition",
    "PatchEmbed",
    "Position",
    "SinCosPosition",
    "eps_drift",
    "invariance_of",
]
