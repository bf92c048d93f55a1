"""The package imagecorruptions, which its last release (1.1.2, 2020) keeps from running beside the libraries of today."""

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any


def load() -> ModuleType:
    """Its functions, ``name(PIL image, severity)`` to an array from 0 to 255, with what has gone from other libraries since.

    Nothing of what it computes is changed: ``numpy.float_`` is float64 by its old name, ``multichannel`` of skimage's Gaussian is
    ``channel_axis`` now, and two modules that it imports a function from have moved or are not installed everywhere.
    """
    import numpy as np
    import scipy.ndimage
    from skimage.filters import gaussian

    def resource(package: str, name: str) -> str:
        return str(Path(str(sys.modules[package].__file__)).parent / name)

    moved: dict[str, dict[str, Callable[..., Any]]] = {
        "scipy.ndimage.interpolation": {"map_coordinates": scipy.ndimage.map_coordinates},
        "pkg_resources": {"resource_filename": resource},
    }
    before = {name: sys.modules.get(name) for name in moved}
    for name, functions in moved.items():
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update(functions)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import imagecorruptions.corruptions as package
    finally:
        for name, module in before.items():
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module

    def blurred(image: Any, sigma: Any = 1, multichannel: bool = False, **options: Any) -> Any:
        return gaussian(image, sigma=sigma, channel_axis=-1 if multichannel else None, **options)

    if not hasattr(np, "float_"):
        numpy = ModuleType("numpy")
        numpy.__getattr__ = lambda name: np.float64 if name == "float_" else getattr(np, name)  # type: ignore[method-assign]
        package.np = numpy
    package.gaussian = blurred
    return package
