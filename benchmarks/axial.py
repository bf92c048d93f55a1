"""Axial attention in a volume: beside the axial-attention package, without a bias, full attention, and the rest of a block."""

from collections.abc import Callable
from functools import partial
from math import log

import torch
from axial_attention import AxialAttention
from harness import Make, Step, compare, options, write
from torch import nn

from vitkit.attention import Attention, Axial, Full, Pattern
from vitkit.bias import Bias, NoBias, SpectralBias
from vitkit.spectral import Exponential

Layer = Callable[[], nn.Module]

DIM, HEADS = 192, 6


def spectral() -> Bias:
    """The learned bias that is measured."""
    return SpectralBias(Exponential(HEADS, 3, lengthscale=8.0))


def layer_step(layer: Layer, side: int, train: bool) -> Step:
    """One layer on a cube of tokens: forward, and backward to the tokens and all weights."""
    torch.manual_seed(0)
    module, x = layer(), torch.randn(1, side, side, side, DIM, requires_grad=train)
    if not train:
        return torch.inference_mode()(partial(module, x))
    return lambda: module(x).sum().backward()


def peer() -> nn.Module:
    """The axial-attention package's layer, which projects anew for every axis, as it does by default."""
    return AxialAttention(dim=DIM, heads=HEADS, dim_index=-1, num_dimensions=3, sum_axial_out=True)


def ours(pattern: Callable[[], Pattern] = Axial, bias: Callable[[], Bias] = NoBias) -> nn.Module:
    """Vitkit's layer."""
    return Attention(DIM, HEADS, pattern=pattern(), bias=bias())


def mlp() -> nn.Module:
    """The other half of a block."""
    return nn.Sequential(nn.Linear(DIM, 4 * DIM), nn.GELU(), nn.Linear(4 * DIM, DIM))


def rows(full: bool) -> dict[str, tuple[dict[str, Make], str]]:
    """What is compared, and the baseline of each."""
    biased = partial(ours, bias=spectral)
    compared: dict[str, tuple[dict[str, Make], str]] = {}
    for name, train in (("forward", False), ("forward and backward", True)):
        layers: dict[str, Layer] = {
            "axial-attention": peer,
            "axial": ours,
            "axial, learned spectral bias": biased,
            "MLP of the block": mlp,
        }
        compared[f"32³ tokens, {name}"] = ({key: partial(layer_step, make, 32, train) for key, make in layers.items()}, "axial")
    for side in (16, 32) if full else (16,):
        pair: dict[str, Layer] = {"full, fused": partial(ours, Full), "axial": ours}
        steps: dict[str, Make] = {key: partial(layer_step, make, side, True) for key, make in pair.items()}
        compared[f"{side}³ tokens against full attention, forward and backward"] = (steps, "axial")
    return compared


def growth(rounds: int) -> dict[str, object]:
    """Time and memory from 16³ to 48³ tokens, and the exponent of N between the ends, with a learned bias."""
    sides = (16, 24, 32, 48)
    steps: dict[str, Make] = {f"{side}³": partial(layer_step, partial(ours, bias=spectral), side, True) for side in sides}
    found = compare(steps, "16³", rounds=rounds, warmup=1)
    tokens = log(48**3 / 16**3)
    exponents = {
        f"exponent of {what}": round(log(found["48³"][key] / found["16³"][key]) / tokens, 3)
        for what, key in (("time", "milliseconds"), ("memory", "peak_mib"))
    }
    return {**found, **exponents}


def main() -> None:
    """Measure and write."""
    parser = options("axial", __doc__)
    parser.add_argument("--only", default="", help="rows whose name holds this")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--full", action="store_true", help="also full attention at 32³ tokens, minutes for a step")
    arguments = parser.parse_args()
    results: dict[str, object] = {}
    for name, (candidates, baseline) in rows(arguments.full).items():
        if arguments.only in name:
            slow = "32³ tokens against" in name
            results[name] = compare(candidates, baseline, rounds=1 if slow else arguments.rounds, warmup=0 if slow else 2)
    if arguments.only in "growth":
        results["growth"] = growth(max(arguments.rounds // 2, 1))
    write(arguments.out, results)


if __name__ == "__main__":
    main()
