"""From a grid to additive logits: what attention knows of the displacement between two tokens."""

from vitkit.bias.bias import Bias, expand, gather
from vitkit.bias.none import NoBias
from vitkit.bias.spectral import SpectralBias
from vitkit.bias.table import TableBias

__all__ = ["Bias", "NoBias", "SpectralBias", "TableBias", "expand", "gather"]
