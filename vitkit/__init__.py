"""Vision and volumetric transformers whose attention bias comes from spectral densities, and suites that tell how they break."""

__version__ = "0.1.0"
