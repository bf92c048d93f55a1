"""A plan against the training it is of."""

from copy import deepcopy

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from tests.planning.training import DIM, HEADS, MODELS, PADDED, image, measured, spectral, volume
from vitkit.attention import Window, explain
from vitkit.embedding import PatchEmbed
from vitkit.encoder import Classifier, Encoder
from vitkit.errors import UsageError
from vitkit.planning import plan
from vitkit.preprocess import Preprocess
from vitkit.tasks import ClassificationTask

SHARE = 0.15  # of the measured peak, which a plan may be off


@pytest.mark.parametrize("name", MODELS)
def test_the_peak_is_within_fifteen_percent_of_the_measured_one(name):
    torch.manual_seed(0)
    model = MODELS[name]()
    found = plan(model, batch_size=4)
    training, validation = measured(model, 4)
    assert found.training.peak == pytest.approx(training, rel=SHARE)
    assert found.validation.peak == pytest.approx(validation, rel=SHARE)


@pytest.mark.parametrize("name", PADDED)
def test_so_is_that_of_a_padded_batch(name):
    torch.manual_seed(0)
    model = PADDED[name]()
    found = plan(model, batch_size=4, padded=True)
    training, validation = measured(model, 4, padded=True)
    assert found.training.peak == pytest.approx(training, rel=SHARE)
    assert found.validation.peak == pytest.approx(validation, rel=SHARE)


def test_padding_costs_a_mask_only_where_not_all_is_seen():
    """Of every pair, in bytes of the type that attention computes in; otherwise of every key."""
    tokens, batch, depth = 10**3 + 1, 4, 3
    for name, masks in (("full", 0), ("a pattern that is not sparse", batch - 1)):
        # The pattern's own mask is of every pair already, one for all samples.
        plain, masked = (plan(PADDED[name](side=20, depth=depth), batch, padded=padded) for padded in (False, True))
        least = depth * masks * 4 * tokens**2
        of_keys = depth * batch * 4 * tokens
        assert least <= masked.activations - plain.activations <= least + of_keys + 4 * batch * 20**3
        assert masked.batch == plain.batch + batch * 20**3


def test_scans_are_planned_with_padding():
    """A spacing says that they are scans, which are as large as they are."""
    encoder = Encoder(PatchEmbed(3, 2, 1, DIM), 1, HEADS, pattern=Window(2), bias=spectral(3))
    scans, arrays = (Classifier(encoder, 2, Preprocess((8, 8, 8), spacing=spacing)) for spacing in ((1.0, 1.0, 2.0), None))
    for model, padded in ((scans, True), (arrays, False)):
        assert plan(model, 2) == plan(model, 2, padded=padded) != plan(model, 2, padded=not padded)


@pytest.mark.parametrize(("batch", "accumulate"), [(1, 1), (1, 3)])
def test_where_parameters_are_most_of_it(batch, accumulate):
    model = Classifier(Encoder(PatchEmbed(2, 4, 1, 192), 3, 3), 10, Preprocess(size=(16, 16)))
    found = plan(model, batch, accumulate=accumulate)
    training, validation = measured(model, batch, accumulate)
    assert found.parameters == sum(x.nbytes for x in model.parameters())
    assert found.training.peak == pytest.approx(training, rel=SHARE)
    assert found.validation.peak == pytest.approx(validation, rel=SHARE)


def test_operations_are_those_of_a_training_step():
    model = image(16)
    for block in model.encoder.blocks:
        block.attn.backend = "eager"  # whose products torch counts one by one
    found = plan(model, 2)
    with FlopCounterMode(display=False) as counter:
        cross_entropy(model(torch.rand(2, 1, 16, 16)), torch.zeros(2, dtype=torch.long)).backward()
    assert found.training.flops == counter.get_total_flops()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.rand(2, 1, 16, 16))
    assert found.validation.flops == found.inference.flops == counter.get_total_flops()
    assert sum(layer.flops for layer in found.layers) == counter.get_total_flops()


def test_checkpointing_trades_activations_for_operations():
    plain, ticked = (plan(volume(depth=6, checkpointing=ticking), 4) for ticking in (False, True))
    assert ticked.activations < plain.activations / 4
    assert plain.training.flops < ticked.training.flops < 1.5 * plain.training.flops
    assert ticked.inference == plain.inference


def test_layers_add_up_to_the_activations():
    for model in (image(bias=spectral(2)), volume(checkpointing=True)):
        found = plan(model, 2)
        assert sum(layer.kept for layer in found.layers) == pytest.approx(found.activations, rel=0.02)


def test_it_grows_with_batch_and_size():
    model = image()
    one, two, larger = plan(model, 4), plan(model, 8), plan(model, 4, size=(64, 64))
    assert two.activations == pytest.approx(2 * one.activations, rel=1e-3)
    assert (two.parameters, two.gradients, two.optimiser) == (one.parameters, one.gradients, one.optimiser)
    assert two.training.flops == 2 * one.training.flops
    assert larger.grid == (32, 32)
    assert larger.activations > 3.9 * one.activations


def test_an_average_of_the_weights_is_one_copy_more():
    model = image(16)
    plain, averaged = plan(model, 2), plan(model, 2, average=True)
    assert averaged.training.peak - plain.training.peak == averaged.average == plain.parameters
    assert averaged.inference == plain.inference


def test_mixing_takes_another_batch_of_images():
    options = {"num_classes": 10, "preprocess": Preprocess(size=(16, 16))}
    plain, mixing = (
        plan(ClassificationTask(Encoder(PatchEmbed(2, 8, 1, 8), 1, 2), mixup=mixup, **options), 64) for mixup in (0.0, 0.5)
    )
    assert mixing.training.peak > plain.training.peak
    assert mixing.validation == plain.validation


def test_half_precision_takes_half_and_mixed_something_between():
    model = image()
    single, half, mixed = (plan(model, 4, precision=name) for name in (32, "bf16-true", "bf16-mixed"))
    assert half.parameters * 2 == single.parameters == mixed.parameters
    assert half.activations == pytest.approx(single.activations / 2, rel=0.05)
    assert half.activations < mixed.activations < single.activations


def test_mixed_precision_within_fifteen_percent_too():
    model = image()
    with torch.autocast("cpu", torch.bfloat16):
        wanted, _ = measured(model, 4)
    assert plan(model, 4, precision="bf16-mixed").training.peak == pytest.approx(wanted, rel=SHARE)


def test_backends_are_those_that_explain_names():
    model = image(bias=spectral(2))
    found, attention, grid = plan(model, 2), model.encoder.blocks[0].attn, model.grid((32, 32))
    assert found.backends == (explain(attention, grid, batch=2, prefix=1).backend,)
    assert found.evaluation_backends == (explain(deepcopy(attention).eval(), grid, batch=2, prefix=1).backend,)
    assert plan(model, 2, device="cuda").backends == (explain(attention, grid, batch=2, prefix=1, device="cuda").backend,)
    assert plan(model, 2, padded=True).backends == (explain(attention, grid, batch=2, prefix=1, padded=True).backend,)


def test_what_no_machine_holds_is_planned_without_memory():
    encoder = Encoder(PatchEmbed(3, 2, 1, DIM), 2, HEADS, dropout=0.1)
    found = plan(Classifier(encoder, 2, Preprocess(size=(128, 128, 128))), 64)
    assert found.grid == (64, 64, 64)
    assert found.training.peak > 2**34


def test_the_model_stays_as_it_is():
    model = image(bias=spectral(2)).eval()
    before = deepcopy(model.state_dict())
    plan(model, 2)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert {x.device.type for x in model.parameters()} == {"cpu"}
    assert all(x.grad is None for x in model.parameters())
    assert not model.training
    assert {block.attn.backend for block in model.encoder.blocks} == {"auto"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"batch_size": 1, "accumulate": 0}, "accumulate=0"),
        ({"batch_size": 1, "precision": "int8"}, "precision='int8'"),
        ({"batch_size": 1, "size": (16, 16, 16)}, "an input of 3 axes"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_planned_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        plan(image(16), **options)
