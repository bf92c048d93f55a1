"""How fast this machine is, measured in under a second."""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import torch

_SECONDS = 0.3
_WIDTH = 768
_BYTES = 2**25


@dataclass(frozen=True)
class Speed:
    """What a machine does in a second.

    Args:
        flops: Floating-point operations in products of large matrices.
        bandwidth: Bytes that are read and written.
    """

    flops: float
    bandwidth: float


def calibrate(device: str = "cpu", dtype: torch.dtype = torch.float32) -> Speed:
    """Measure a product and a sum, each for a third of a second; the best round of each counts.

    Args:
        device: Type of the device.
        dtype: Of the numbers.
    """
    width = _WIDTH if device == "cpu" else 8 * _WIDTH
    a, b = (torch.randn(width, width, device=device).to(dtype) for _ in range(2))
    product = torch.empty_like(a)
    flops = 2 * width**3 / _best(lambda: torch.mm(a, b, out=product), device)
    numbers = torch.zeros((_BYTES if device == "cpu" else 8 * _BYTES) // dtype.itemsize, device=device, dtype=dtype)
    doubled = torch.empty_like(numbers)
    bandwidth = 2 * numbers.nbytes / _best(lambda: torch.add(numbers, numbers, out=doubled), device)
    return Speed(flops, bandwidth)


def _best(run: Callable[[], object], device: str) -> float:
    def once() -> float:
        start = perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        return perf_counter() - start

    once()
    end, best = perf_counter() + _SECONDS, once()
    while perf_counter() < end:
        best = min(best, once())
    return best
