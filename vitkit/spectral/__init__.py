"""Covariance functions that are given by a spectral density."""

from vitkit.spectral.density import Density
from vitkit.spectral.exponential import Exponential

__all__ = ["Density", "Exponential"]
