"""What is suggested is what comes of it."""

from dataclasses import replace
from functools import partial

import pytest

from tests.planning import training
from tests.planning.training import DIM, HEADS, spectral
from vitkit.attention import Axial, Window
from vitkit.bias import TableBias
from vitkit.embedding import LearnedPosition, PatchEmbed
from vitkit.encoder import Classifier, Encoder
from vitkit.planning import plan, suggest
from vitkit.preprocess import Preprocess

BATCH = 8
image, volume = (partial(model, depth=1) for model in (training.image, training.volume))  # a plan of each change takes a while


def of(model, limit, **options):
    return {item.name: item for item in suggest(model, BATCH, limit, **options)}


def patched(size):
    return Classifier(Encoder(PatchEmbed(3, size, 1, DIM), 1, HEADS), 10, Preprocess(size=(16,) * 3))


def test_a_plan_of_a_change_is_the_plan_of_the_changed_model():
    found = of(volume(), 0)
    assert found["checkpointing"].plan == plan(volume(checkpointing=True), BATCH)
    assert found["pattern Window of 4"].plan == plan(volume(pattern=Window(4)), BATCH)
    assert found["pattern Axial"].plan == plan(volume(pattern=Axial()), BATCH)
    assert found["batches of 1, 8 to a step"].plan == plan(volume(), 1, accumulate=8)
    # A larger patch is not quite the same model: the projection grows.
    assert found["patches of 4 × 4 × 4"].plan == plan(patched(4), BATCH)


def test_the_largest_batch_that_fits_is_found():
    model = image()
    limit = plan(model, 2, accumulate=4).peak
    found = of(model, limit)
    assert found["batches of 2, 4 to a step"].fits
    assert found["batches of 2, 4 to a step"].options == "--data.batch_size 2 --trainer.accumulate_grad_batches 4"
    assert all(item.fits == (item.plan.peak <= limit) for item in found.values())


def test_what_the_model_is_already_or_cannot_be_is_not_suggested():
    found = of(image(checkpointing=True, pattern=Window(4)), 0)
    assert "checkpointing" not in found
    assert "pattern Window of 4" not in found
    table = of(image(bias=TableBias(HEADS, (16, 16)), position=LearnedPosition(DIM, (16, 16))), 0)
    assert not any(name.startswith("patches") for name in table)
    assert "checkpointing" in table
    one = {item.name for item in suggest(image(), 1, 0)}
    assert not any("batches" in name for name in one)


def test_precision_device_and_average_are_kept():
    model = image(bias=spectral(2))
    [found] = [item for item in suggest(model, 1, 0, precision="bf16-mixed", average=True) if item.name == "checkpointing"]
    wanted = plan(image(bias=spectral(2), checkpointing=True), 1, precision="bf16-mixed", average=True)
    assert replace(found.plan, training=wanted.training) == wanted
    assert found.plan.training.peak == pytest.approx(wanted.training.peak)


def test_padding_is_kept():
    found = of(volume(), 0, padded=True)
    assert found["pattern Window of 4"].plan == plan(volume(pattern=Window(4)), BATCH, padded=True)
    assert found["pattern Window of 4"].plan.batch == plan(volume(), BATCH).batch + BATCH * 16**3
