"""From an image or a volume to tokens on a grid."""

from vitkit.embedding.patch import PatchEmbed
from vitkit.embedding.position import LearnedPosition, NoPosition, Position, SinCosPosition

__all__ = ["LearnedPosition", "NoPosition", "PatchEmbed", "Position", "SinCosPosition"]
