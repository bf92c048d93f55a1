"""What the robustness suites take: each row beside a peer, or beside the model alone. ``--only`` measures some of the rows."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from harness import Step, compare, options, peak_memory, write
from peer_imagecorruptions import load
from PIL import Image
from sklearn.datasets import load_sample_images

from vitkit.corruptions import image

BATCH, SIZE, SEVERITY = 32, 224, 3
CORRUPTIONS = {function.__name__: function for function in image.COMMON + image.EXTRA}
# The package moves pixel after pixel in Python, which takes it most of a minute for a batch.
FEWER = {"glass_blur": 4}


def photographs(count: int) -> np.ndarray:
    """Different cuts of scikit-learn's two photographs, from 0 to 255: noise would be no fair test of a JPEG."""
    found = load_sample_images().images
    places = np.random.default_rng(0)
    cuts = []
    for index in range(count):
        picture = found[index % len(found)]
        top, left = (places.integers(length - SIZE) for length in picture.shape[:2])
        cuts.append(picture[top : top + SIZE, left : left + SIZE])
    return np.stack(cuts)


def peer(names: tuple[str, ...]) -> Step:
    """One image after the other, through its function of PIL images, to bytes, as ``imagecorruptions.corrupt`` does."""
    package, pictures = load(), photographs(BATCH)
    functions = [(getattr(package, name), FEWER.get(name, BATCH)) for name in names]

    def step() -> None:
        for function, count in functions:
            for picture in pictures[:count]:
                np.uint8(function(Image.fromarray(picture), SEVERITY))

    return step


def own(names: tuple[str, ...]) -> Step:
    """The batch at once."""
    pictures = torch.from_numpy(photographs(BATCH)).permute(0, 3, 1, 2).div(255).contiguous()
    seeds = list(range(BATCH))

    def step() -> None:
        for name in names:
            count = FEWER.get(name, BATCH)
            CORRUPTIONS[name](pictures[:count], SEVERITY, seeds[:count])

    return step


def corruptions_of_images(again: bool) -> dict[str, Any]:
    """Every corruption at severity 3 on a batch of 32 photographs of 224 x 224 pixels, against imagecorruptions.

    The package's image and what becomes of it stay in a cache whatever goes on around them, and a batch of float32 does not. So
    there are two figures: of batches that alternate with the package's, and, with ``again``, of one that follows another.
    """
    found = {}
    for name in CORRUPTIONS:
        candidates = {"imagecorruptions": partial(peer, (name,)), "vitkit": partial(own, (name,))}
        once = name in FEWER
        costs = compare(candidates, "vitkit", rounds=1 if once else 5, warmup=0 if once else 1, memory=False, again=again)
        found[name] = {
            "images": FEWER.get(name, BATCH),
            **{f"{who}_ms": cost["milliseconds"] for who, cost in costs.items()},
            "times_as_fast": costs["imagecorruptions"]["time_ratio"],
        }
    ratios = [row["times_as_fast"] for row in found.values()]
    every = tuple(CORRUPTIONS)
    return {
        "corruptions": found,
        "geometric_mean": round(math.exp(sum(map(math.log, ratios)) / len(ratios)), 2),
        "slowest": round(min(ratios), 2),
        "peak_mib": {
            "imagecorruptions": round(peak_memory(partial(peer, every)) / 2**20, 1),
            "vitkit": round(peak_memory(partial(own, every)) / 2**20, 1),
        },
    }


ROWS: dict[str, Callable[[], dict[str, Any]]] = {
    "image": partial(corruptions_of_images, again=False),
    "image, batch after batch": partial(corruptions_of_images, again=True),
}


def main() -> None:
    """Measure and write."""
    parser = options("robustness", __doc__)
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), help="rows to measure")
    arguments = parser.parse_args()
    write(arguments.out, {name: ROWS[name]() for name in arguments.only})


if __name__ == "__main__":
    main()
