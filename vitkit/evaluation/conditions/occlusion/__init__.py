"""Occlusion as conditions of a suite, one way to choose what is hidden a file."""

from vitkit.evaluation.conditions.occlusion.random import RandomOcclusion
from vitkit.evaluation.conditions.occlusion.salient import SalientOcclusion
from vitkit.evaluation.conditions.occlusion.shapes import BorderOcclusion, CheckerboardOcclusion, HoleOcclusion
from vitkit.evaluation.conditions.occlusion.shuffle import ShuffledPatches
from vitkit.evaluation.conditions.occlusion.slices import MissingSlab, MissingSlices

__all__ = [
    "BorderOcclusion",
    "CheckerboardOcclusion",
    "HoleOcclusion",
    "MissingSlab",
    "MissingSlices",
    "RandomOcclusion",
    "SalientOcclusion",
    "ShuffledPatches",
]
