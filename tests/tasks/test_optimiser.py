import math

import pytest
import torch

from vitkit.encoder import Classifier
from vitkit.preprocess import Preprocess
from vitkit.tasks import parameter_groups, warmup_cosine


def described(model, **options):
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {
        names[parameter]: (group["lr"], group["weight_decay"])
        for group in parameter_groups(model, **options)
        for parameter in group["params"]
    }


@pytest.mark.parametrize("kind", ["spectral", "table"])
def test_every_parameter_is_in_one_group_and_only_matrices_decay(encoder, table, kind):
    model = Classifier(encoder(bias=table if kind == "table" else None, layer_scale=0.1, registers=1), 3, Preprocess(size=(8, 8)))
    groups = parameter_groups(model, lr=1.0, weight_decay=0.5)
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    decayed = {name for name, (_, decay) in described(model, lr=1.0, weight_decay=0.5).items() if decay}
    matrices = {"qkv.weight", "proj.weight", "fc1.weight", "fc2.weight", "head.weight"}
    assert {".".join(name.split(".")[-2:]) for name in decayed} == matrices


def test_frozen_parameters_are_left_out(encoder):
    model = Classifier(encoder(), 3, Preprocess(size=(8, 8)))
    model.encoder.embed.requires_grad_(False)
    assert not any(name.startswith("encoder.embed") for name in described(model, lr=1.0, weight_decay=0.0))


def test_layer_decay_counts_from_the_head_down(encoder):
    model = Classifier(encoder(depth=3), 3, Preprocess(size=(8, 8)))
    rates = {name: lr for name, (lr, _) in described(model, lr=2.0, weight_decay=0.0, layer_decay=0.5).items()}
    assert rates["head.weight"] == rates["encoder.norm.weight"] == 2.0
    assert [rates[f"encoder.blocks.{index}.mlp.fc1.weight"] for index in range(3)] == [0.25, 0.5, 1.0]
    lowest = {rate for name, rate in rates.items() if name.startswith(("encoder.embed", "encoder.position", "encoder.prefix"))}
    assert lowest == {0.125}


@pytest.mark.parametrize(("steps", "warmup"), [(10, 0), (10, 3), (100, 10), (1, 0), (2, 50), (1, 5)])
def test_warmup_rises_cosine_falls_to_zero(steps, warmup):
    factor = warmup_cosine(steps, warmup)
    values = [factor(step) for step in range(steps + 1)]
    peak = min(warmup, steps - 1)
    assert max(values) == values[peak] == 1.0
    assert values[:peak] == sorted(values[:peak])
    assert values[peak:] == sorted(values[peak:], reverse=True)
    assert values[-1] == pytest.approx(0.0, abs=1e-12)
    assert factor(steps + 5) == values[-1]


def test_cosine_is_torchs_own_after_the_warmup():
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=1.0)
    oracle = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=20)
    ours = []
    for step in range(20):
        ours.append((warmup_cosine(25, 5)(step + 5), oracle.get_last_lr()[0]))
        optimiser.step()
        oracle.step()
    assert all(math.isclose(one, other, abs_tol=1e-9) for one, other in ours)
