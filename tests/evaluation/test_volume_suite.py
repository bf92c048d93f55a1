"""The suite of scans that comes with vitkit."""

import torch

from vitkit.corruptions import volume
from vitkit.evaluation import Context, Corruption, Suite


def test_the_suite_holds_every_corruption_but_the_one_that_needs_a_window():
    conditions = [condition for condition in Suite.load("volume").conditions if isinstance(condition, Corruption)]
    assert {condition.function.__name__ for condition in conditions} == set(volume.__all__) - {"window_shift"}


def test_every_condition_of_it_changes_a_scan_and_leaves_its_padding():
    images = torch.rand(2, 1, 12, 14, 10, generator=torch.Generator().manual_seed(0))
    real = torch.zeros(2, 12, 14, 10, dtype=torch.bool)
    real[:, 1:-1, 2:-2] = True
    images *= real.unsqueeze(1)
    context = Context(["a", "b"], spacing=(1.5, 1.5, 2.0), real=real)
    for condition, severity in Suite.load("volume"):
        if isinstance(condition, Corruption):
            made = condition.apply(images, severity, context).images
            assert 0 <= made.min() <= made.max() <= 1
            assert not made[~real.unsqueeze(1)].any()
            assert all((one - other).abs().max() > 0.01 for one, other in zip(made, images, strict=True)), condition.id(severity)
