"""Who may see whom, one pattern per file."""

from vitkit.attention.patterns.along_axis import AlongAxis
from vitkit.attention.patterns.axial import Axial
from vitkit.attention.patterns.blocks import Blocks, Span, product_blocks
from vitkit.attention.patterns.dilated import Dilated
from vitkit.attention.patterns.full import Full
from vitkit.attention.patterns.global_tokens import Global
from vitkit.attention.patterns.neighbourhood import Neighbourhood
from vitkit.attention.patterns.pattern import Pattern, SparsePattern
from vitkit.attention.patterns.union import Union
from vitkit.attention.patterns.window import Window

__all__ = [
    "AlongAxis",
    "Axial",
    "Blocks",
    "Dilated",
    "Full",
    "Global",
    "Neighbourhood",
    "Pattern",
    "Span",
    "SparsePattern",
    "Union",
    "Window",
    "product_blocks",
]
