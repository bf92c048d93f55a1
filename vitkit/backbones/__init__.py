"""Models of other libraries, each with its preprocessing, behind one loader."""

from vitkit.backbones.backbone import Backbone, NativeBackbone, TokenBackbone
from vitkit.backbones.library import LibraryModel
from vitkit.backbones.load import load, names
from vitkit.backbones.native import to_native
from vitkit.backbones.weights import check_fit, load_weights, read_file, read_weights, strip_prefixes

__all__ = [
    "Backbone",
    "LibraryModel",
    "NativeBackbone",
    "TokenBackbone",
    "check_fit",
    "load",
    "load_weights",
    "names",
    "read_file",
    "read_weights",
    "strip_prefixes",
    "to_native",
]
