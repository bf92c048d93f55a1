"""From a grid to additive logits: what attention knows of two tokens' places."""

from vitkit.bias.bias import Bias, ProductBias, StationaryBias, SumBias
from vitkit.bias.distance import Distance, GridDistance, MatrixDistance
from vitkit.bias.distance_bias import DistanceBias
from vitkit.bias.graph import PathDistance, TrophicDistance
from vitkit.bias.key import KeyBias
from vitkit.bias.layout import expand, gather
from vitkit.bias.log_cpb import LogCPBBias
from vitkit.bias.none import NoBias
from vitkit.bias.prefix import PrefixBias
from vitkit.bias.spectral import SpectralBias
from vitkit.bias.table import TableBias

__all__ = [
    "Bias",
    "Distance",
    "DistanceBias",
    "GridDistance",
    "KeyBias",
    "LogCPBBias",
    "MatrixDistance",
    "NoBias",
    "PathDistance",
    "PrefixBias",
    "ProductBias",
    "SpectralBias",
    "StationaryBias",
    "SumBias",
    "TableBias",
    "TrophicDistance",
    "expand",
    "gather",
]
