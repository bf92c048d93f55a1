"""A corruption of one's own is one function."""

import pytest
import torch

from vitkit.errors import UsageError
from vitkit.evaluation import Context, Corruption, Suite
from vitkit.recipe import recipe


def noise(images, severity, seeds, scale=1.0):
    """Noise of each image's own seed."""
    drawn = [torch.randn(images.shape[1:], generator=torch.Generator().manual_seed(seed % 2**32)) for seed in seeds]
    return images + scale * severity * torch.stack(drawn)


def test_a_function_becomes_a_condition_that_no_batch_changes() -> None:
    condition = Corruption(noise, [0.1, 0.2], arguments={"scale": 2.0})
    images = torch.rand(4, 1, 5, 5)
    together = condition.apply(images, 0.2, Context(list("abcd")))
    alone = condition.apply(images[2:3], 0.2, Context(["c"]))
    assert torch.equal(together.images[2], alone.images[0])
    assert 0 <= together.images.min() <= together.images.max() <= 1
    raw = noise(images, 0.2, Context(list("abcd")).seeds("corruptions", "noise", 0.2), 2.0)
    assert torch.allclose(together.clipped, ((raw < 0) | (raw > 1)).flatten(1).float().mean(1))
    assert condition.id(0.2) == "corruptions.noise/0.2"
    assert condition.title == "Noise"
    assert recipe(condition)["init_args"]["function"] == f"{noise.__module__}.noise"


def test_it_can_be_named_in_a_file(tmp_path) -> None:
    path = tmp_path / "mine.yaml"
    lines = ["name: mine", "conditions:", "  - class_path: vitkit.evaluation.Corruption", "    init_args: {function: torch.flip}"]
    path.write_text("\n".join(lines))
    [condition] = Suite.load(path).conditions
    assert condition.function is torch.flip
    assert recipe(condition)["init_args"]["function"] == "torch.flip"


def stretched(images, severity, seeds, spacing=None):
    """Something that measures in mm."""
    return images + (0.0 if spacing is None else severity * spacing[-1])


def test_a_function_that_measures_in_mm_is_told_the_spacing() -> None:
    images = torch.zeros(1, 1, 2, 2)
    told = Context(["a"], spacing=(1.0, 0.5))
    condition = Corruption(stretched, [0.5])
    assert condition.apply(images, 0.5, told).images.unique() == 0.25
    assert condition.params(told, (2, 2))["spacing"] == [1.0, 0.5]
    assert condition.apply(images, 0.5, Context(["a"])).images.unique() == 0
    fixed = Corruption(stretched, [0.5], arguments={"spacing": [1.0, 0.25]})
    assert fixed.apply(images, 0.5, told).images.unique() == 0.125
    assert fixed.params(told, (2, 2))["spacing"] == [1.0, 0.25]
    assert "spacing" not in Corruption(noise, [0.5]).params(told, (2, 2))


def test_padding_stays_as_it_is() -> None:
    real = torch.tensor([[[True, False], [True, True]]])
    applied = Corruption(stretched, [0.5]).apply(torch.zeros(1, 2, 2, 2), 0.5, Context(["a"], spacing=(1.0, 4.0), real=real))
    assert torch.equal(applied.images[0, 0], torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
    assert applied.clipped.tolist() == [0.75]


@pytest.mark.parametrize(
    ("function", "said"), [("nowhere.at_all", "nowhere.at_all"), ("plain", "plain"), (lambda i, s, seeds: i[:1], "shape")]
)
def test_what_is_no_corruption_is_refused(function, said) -> None:
    with pytest.raises(UsageError, match=said):
        Corruption(function, [1], name="mine").apply(torch.rand(2, 1, 4, 4), 1.0, Context(["a", "b"]))


def test_a_function_of_pictures_is_not_for_volumes() -> None:
    fog, anything = Corruption("vitkit.corruptions.image.fog"), Corruption(noise)
    assert fog.obstacle_at(1.0, Context(), (8, 8)) is None
    assert fog.obstacle_at(1.0, Context(), (8, 8, 8)) == "fog takes images of 2 axes, and these have 3"
    assert anything.obstacle_at(1.0, Context(), (8, 8, 8)) is None
