"""How time and memory of a training step of attention grow with N, for patterns whose queries see as many keys on any grid."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from harness import Step, compare, options, write

from vitkit.attention import Dilated, Neighbourhood, Pattern, Union, Window, attend
from vitkit.bias import SpectralBias
from vitkit.grid import Grid
from vitkit.spectral import Exponential

BATCH, HEADS, HEAD_DIM = 1, 6, 64
SIDES = (32, 48, 64, 96, 128)  # 1,024 to 16,384 tokens

PATTERNS: dict[str, Callable[[int], Pattern]] = {
    "window of 8×8": lambda side: Window(8),
    "dilated, groups of 8×8": lambda side: Dilated(side // 8),
    "neighbourhood of 7×7": lambda side: Neighbourhood(3),
    "union of window and neighbourhood": lambda side: Union([Window(8), Neighbourhood(3)]),
}


def make(name: str, side: int) -> Step:
    """Forward and backward of attention alone, with a learned spectral bias."""
    torch.manual_seed(0)
    grid, pattern, bias = Grid((side, side)), PATTERNS[name](side), SpectralBias(Exponential(HEADS, 2))
    inputs = [torch.randn(BATCH, HEADS, len(grid), HEAD_DIM, requires_grad=True) for _ in range(3)]
    return lambda: attend(*inputs, grid, bias=bias, pattern=pattern).sum().backward()


def exponent(sizes: list[int], costs: list[float]) -> float:
    """Least-squares slope of log cost over log size."""
    x, y = ([math.log(value) for value in values] for values in (sizes, costs))
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)
    return round(slope, 3)


def measure(name: str, sides: list[int], rounds: int) -> dict[str, Any]:
    """One pattern on every grid."""
    sizes = {f"N={side**2}": side for side in sides}
    found = compare({size: partial(make, name, side) for size, side in sizes.items()}, next(iter(sizes)), rounds, min(rounds, 3))
    tokens = [side**2 for side in sides]
    return {
        **found,
        "exponent of time": exponent(tokens, [row["milliseconds"] for row in found.values()]),
        "exponent of memory": exponent(tokens, [row["peak_mib"] for row in found.values()]),
    }


def main() -> None:
    """Measure and write."""
    parser = options("patterns", __doc__)
    parser.add_argument("--only", default="", help="patterns whose name holds this")
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES, help="tokens along each axis")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    write(arguments.out, {name: measure(name, arguments.sides, arguments.rounds) for name in PATTERNS if arguments.only in name})


if __name__ == "__main__":
    main()
