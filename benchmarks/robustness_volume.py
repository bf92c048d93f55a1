"""Corruptions of one scan of 96³ voxels at severity 3, beside the nearest transforms of TorchIO and MONAI at the same amounts."""

import statistics
import time
import warnings
from collections.abc import Callable
from math import exp, log, radians

import monai.transforms as monai
import numpy as np
import torch
import torchio
from harness import options, write
from torch import Tensor

from vitkit.corruptions import volume

Step = Callable[[], object]

SIDE, SEVERITY, SEED = 96, 3, [7]


def rows(scan: Tensor) -> dict[str, dict[str, Step]]:
    """Each corruption of a scan (1, 96, 96, 96), and what does the like elsewhere."""
    batch = scan[None]
    moves = 2 * SEVERITY
    motion = torchio.Motion(
        degrees=np.full((moves, 3), 3.0),
        translation=np.full((moves, 3), 6.0),
        times=np.arange(1, moves + 1) / (moves + 1),
        image_interpolation="linear",
    )
    rician = monai.RandRicianNoise(prob=1, std=0.48, relative=True, channel_wise=True, sample_std=False)
    peers: dict[str, dict[str, Callable[[Tensor], object]]] = {
        "bias_field": {
            "TorchIO": torchio.BiasField(coefficients=[0.9, -0.9] * 10, order=3),
            "MONAI": monai.RandBiasField(degree=3, coeff_range=(0.9, 0.9), prob=1),
        },
        "gamma": {"TorchIO": torchio.Gamma(gamma=2.2), "MONAI": monai.AdjustContrast(2.2)},
        "intensity_scaling": {"MONAI": monai.ScaleIntensity(factor=-0.3, minv=None, maxv=None)},
        "window_shift": {"MONAI": monai.ShiftIntensity(-0.15)},
        "rician_noise": {"MONAI": rician},
        "motion": {"TorchIO": motion},
        "ghosting": {"TorchIO": torchio.Ghosting(num_ghosts=7, axis=1, intensity=1.5, restore=None)},
        "spikes": {
            "TorchIO": torchio.Spike(spikes_positions=np.array([[0.6, 0.6, 0.6]]), intensity=0.6),
            "MONAI": monai.KSpaceSpikeNoise(loc=(58, 58, 58), k_intensity=13.0),
        },
        "gibbs_ringing": {"MONAI": monai.GibbsNoise(0.45)},
        "smoothing": {"TorchIO": torchio.Blur(std=(2.4, 2.4, 2.4)), "MONAI": monai.GaussianSmooth(2.4)},
        "downsampling": {"TorchIO": torchio.RandomAnisotropy(axes=(0, 1, 2), downsampling=6.4)},
        "thick_slices": {"TorchIO": torchio.RandomAnisotropy(axes=(2,), downsampling=7.0)},
        "rotation": {
            "TorchIO": torchio.Affine(scales=(1, 1, 1), degrees=(0, 0, 18), translation=(0, 0, 0)),
            "MONAI": monai.Rotate((0, 0, radians(18))),
        },
        "orientation_flip": {"TorchIO": torchio.Flip(axes=(0, 1, 2)), "MONAI": monai.Flip((0, 1, 2))},
    }
    given = {"window_shift": {"width": 400.0}}
    return {
        name: {"vitkit": lambda name=name: getattr(volume, name)(batch, SEVERITY, SEED, **given.get(name, {}))}
        # A copy, since some of MONAI's write into what they are given.
        | {peer: lambda change=change: change(scan.clone()) for peer, change in found.items()}
        for name, found in peers.items()
    }


def timed(steps: dict[str, Step], rounds: int) -> dict[str, float]:
    """Median milliseconds of each, and vitkit's as a share of the fastest peer's, the median over rounds."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for index in range(rounds + 2):
        for name in list(steps)[:: 1 if index % 2 else -1]:
            start = time.perf_counter()
            steps[name]()
            if index >= 2:
                seconds[name].append(time.perf_counter() - start)
    median = {name: round(1e3 * statistics.median(times), 3) for name, times in seconds.items()}
    fastest = min((name for name in steps if name != "vitkit"), key=median.__getitem__)
    ratio = statistics.median(mine / other for mine, other in zip(seconds["vitkit"], seconds[fastest], strict=True))
    return median | {"of the fastest peer": round(ratio, 3)}


def main() -> None:
    """Measure and write."""
    parser = options("robustness_volume", __doc__)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")  # what peers say of their own dependencies
    scan = torch.rand(1, SIDE, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    results: dict[str, object] = {name: timed(steps, arguments.rounds) for name, steps in rows(scan).items()}
    ratios = [row["of the fastest peer"] for row in results.values() if isinstance(row, dict)]
    results["geometric mean"] = round(exp(sum(map(log, ratios)) / len(ratios)), 3)
    results["slowest"] = max(ratios)
    write(arguments.out, results)


if __name__ == "__main__":
    main()
