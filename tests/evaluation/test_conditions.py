from itertools import pairwise

import pytest
import torch

from vitkit.corruptions import contrast, gain, gamma, hsv_value, kept, shift
from vitkit.evaluation import Condition, Context, Contrast, Gain, Gamma, HSVValue, RandomOcclusion, Shift
from vitkit.evaluation.condition import Clean
from vitkit.grid import Grid

TOKENS = Context(["a", "b", "c"], seed=3, grid=Grid((4, 4), (2.0, 2.0)))


def images(*size):
    return torch.rand(3, 2, *size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9])
def test_painted_and_removed_hide_the_same_patches_of_the_same_image(ratio):
    painted = RandomOcclusion("painted", [ratio], fill="zero").apply(images(8, 8) + 1, ratio, TOKENS)
    removed = RandomOcclusion("removed", [ratio]).apply(images(8, 8) + 1, ratio, TOKENS)
    assert torch.equal(painted.area, removed.area)
    assert torch.equal(removed.images, images(8, 8) + 1)
    assert painted.keep is None
    seen = torch.nn.functional.avg_pool2d(painted.images, 2)[:, 0] > 0
    assert torch.equal(kept(~seen), removed.keep)


def test_the_patches_depend_on_the_id_and_the_seed_and_not_on_the_company():
    condition = RandomOcclusion("removed", [0.5])
    keep = condition.apply(images(8, 8), 0.5, TOKENS).keep
    alone = condition.apply(images(8, 8)[1:2], 0.5, Context(["b"], 3, TOKENS.grid)).keep
    assert torch.equal(alone[0], keep[1])
    assert not torch.equal(condition.apply(images(8, 8), 0.5, Context(["a", "b", "c"], 4, TOKENS.grid)).keep, keep)


def test_severities_are_nested():
    condition = RandomOcclusion("painted", [0.1])
    areas = [condition.apply(images(8, 8), ratio, TOKENS).area for ratio in (0.0, 0.2, 0.5, 0.9)]
    assert all(not (low & ~high).any() for low, high in pairwise(areas))
    assert areas[0].sum() == 0


@pytest.mark.parametrize(
    ("size", "shape"),
    [((224, 224), [14, 14]), ((8, 20), [4, 10]), ((1, 1), [1, 1]), ((64, 64, 64), [8, 8, 8]), ((8, 8, 8), [4, 4, 4])],
)
def test_a_model_without_tokens_gets_a_grid(size, shape):
    condition, context = RandomOcclusion("painted", [0.5]), Context(["a"], no_removal="no tokens")
    assert condition.params(context, size) == {"mode": "painted", "fill": "mean", "grid": shape}
    assert condition.obstacle(context) is None
    assert RandomOcclusion("removed", [0.5]).obstacle(context) == "no tokens"


def test_a_grid_of_ones_own_comes_before_the_models():
    condition = RandomOcclusion("painted", [0.5], grid=[2, 1], fill="zero")
    applied = condition.apply(images(8, 8) + 1, 0.5, TOKENS)
    assert condition.params(TOKENS, (8, 8))["grid"] == [2, 1]
    halves = applied.area.view(3, 2, -1)
    assert (halves.all(2) | ~halves.any(2)).all()
    assert applied.area.float().mean() == 0.5


@pytest.mark.parametrize(
    ("kind", "operation", "amount"),
    [(Gain, gain, 2.0), (Shift, shift, -0.25), (Gamma, gamma, 0.5), (HSVValue, hsv_value, 0.25), (Contrast, contrast, 0.5)],
)
@pytest.mark.parametrize("size", [(4, 4), (2, 3, 4)])
def test_brightness_is_the_operation_of_its_name(kind, operation, amount, size):
    condition = kind([amount])
    applied = condition.apply(images(*size), amount, TOKENS)
    changed, clipped = operation(images(*size), amount)
    assert torch.equal(applied.images, changed)
    assert torch.equal(applied.clipped, clipped)
    assert torch.equal(condition.apply(images(*size), condition.identity, TOKENS).images, images(*size))
    assert (condition.suite, condition.name, condition.id(amount)) == (
        "brightness",
        operation.__name__,
        f"brightness.{operation.__name__}/{amount:g}",
    )
    assert kind([amount], name="other").name == "other"


def test_every_condition_has_what_the_results_need():
    for condition in (
        Clean(),
        Gain([0.5]),
        Shift([0.1]),
        Gamma([0.5]),
        HSVValue([0.1]),
        Contrast([0.5]),
        RandomOcclusion("painted", [0.5]),
    ):
        assert isinstance(condition, Condition)
        assert all(isinstance(getattr(condition, name), str) for name in ("suite", "name", "title", "unit"))
        assert condition.identity in (0.0, 1.0)
    assert Clean().id(0.0) == "clean/0"
