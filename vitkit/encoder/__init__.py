"""The transformer, the same code for images and for volumes."""

from vitkit.encoder.amount import Amount
from vitkit.encoder.block import Block
from vitkit.encoder.classifier import Classifier
from vitkit.encoder.depths import Depths
from vitkit.encoder.distance import by_distance, distance_inside
from vitkit.encoder.encoder import Encoder
from vitkit.encoder.tokens import Tokens

__all__ = ["Amount", "Block", "Classifier", "Depths", "Encoder", "Tokens", "by_distance", "distance_inside"]
