"""Covariance functions that are given by a spectral density."""

from vitkit.spectral.density import Density, PositiveCovariance
from vitkit.spectral.exponential import Exponential
from vitkit.spectral.gaussian import Gaussian
from vitkit.spectral.matern import Matern
from vitkit.spectral.mixture import SpectralMixture
from vitkit.spectral.numeric import NumericDensity
from vitkit.spectral.rational_quadratic import RationalQuadratic
from vitkit.spectral.support import patch_average

__all__ = [
    "Density",
    "Exponential",
    "Gaussian",
    "Matern",
    "NumericDensity",
    "PositiveCovariance",
    "RationalQuadratic",
    "SpectralMixture",
    "patch_average",
]
