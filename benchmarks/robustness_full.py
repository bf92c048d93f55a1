"""The suite `full` over timm's ViT-S/16 at 224: the model's share of the run, and pictures per second beside the model alone.

The model's part is the time in its calls and, for salience by gradient, in its backward passes. What remains is everything else:
reading, corrupting, occluding, writing every sample's outcome, statistics and pictures; not the page, which report_scale.py
measures. A small number of pictures makes that share larger than it is for many, as the statistics take as long for them.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from harness import options, write
from robustness import photographs
from torch import Tensor

from vitkit import backbones
from vitkit.evaluation import evaluate

MODEL = "timm:vit_small_patch16_224"


class Watch:
    """Adds up the seconds inside a model."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.seconds, self.pictures = device, 0.0, 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Time what is in this context."""
        self._wait()
        start = time.perf_counter()
        yield
        self._wait()
        self.seconds += time.perf_counter() - start

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def measure(count: int, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """One run of the suite, and the model alone on as many pictures."""
    torch.manual_seed(0)
    model = backbones.load(MODEL).eval().to(device)
    watch = Watch(device)
    forward, grad = model.forward, torch.autograd.grad

    @wraps(forward)  # whose arguments say what the model can do
    def timed(images: Tensor, *arguments: Any, **options: Any) -> Tensor:
        with watch.running(), torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            logits: Tensor = forward(images, *arguments, **options)
        watch.pictures += len(images)
        return logits.float()

    def timed_grad(*arguments: Any, **options: Any) -> Any:
        with watch.running():
            return grad(*arguments, **options)

    pictures = torch.from_numpy(photographs(count)).permute(0, 3, 1, 2).div(255).contiguous()
    labels = torch.arange(count) % 1000
    loader = [(pictures[start : start + 64], labels[start : start + 64]) for start in range(0, count, 64)]
    model.forward, torch.autograd.grad = timed, timed_grad  # type: ignore[method-assign]
    start = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory() as out:
            results = evaluate(model, loader, "full", out)
    finally:
        torch.autograd.grad = grad
    whole = time.perf_counter() - start
    run = [condition for condition in results.conditions if condition.skipped is None]
    inside, seen = watch.seconds, watch.pictures
    watch.seconds = 0.0
    with torch.no_grad():
        for images, _ in loader * 2:
            timed(images.to(device))
    alone = 2 * count / watch.seconds
    return {
        "pictures": count,
        "conditions": len(run),
        "seconds": round(whole, 1),
        "seconds_in_the_model": round(inside, 1),
        "share_outside_the_model": round(1 - inside / whole, 3),
        "pictures_per_second": round(seen / whole, 1),
        "pictures_per_second_of_the_model_alone": round(alone, 1),
        "of_the_model_alone": round(seen / whole / alone, 3),
    }


def main() -> None:
    """Measure and write."""
    parser = options("robustness_full", __doc__)
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    write(arguments.out, {f"full, {str(dtype).partition('.')[2]}": measure(arguments.pictures, device, dtype)})


if __name__ == "__main__":
    main()
