import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from vitkit.metrics import record


def example(samples=50, classes=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(samples, classes, generator=generator)
    return logits, torch.randint(classes, (samples,), generator=generator)


def test_agrees_with_scikit_learn_and_torch():
    logits, labels = example()
    outcome = record(logits, labels)
    p = logits.double().softmax(1).numpy()
    assert outcome["loss"].mean().item() == pytest.approx(log_loss(labels.numpy(), p, labels=range(7)), rel=1e-12)
    one_hot = np.eye(7)[labels.numpy()]
    np.testing.assert_allclose(outcome["brier"].numpy(), ((p - one_hot) ** 2).sum(1), rtol=1e-12)
    np.testing.assert_allclose(
        outcome["entropy"].numpy(), torch.distributions.Categorical(logits=logits.double()).entropy().numpy(), rtol=1e-10
    )
    assert torch.equal(outcome["prediction"], logits.argmax(1))


@given(st.integers(1, 20), st.integers(2, 6), st.integers(0, 10**6))
def test_rank_is_zero_exactly_where_the_prediction_is_right(samples, classes, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randint(3, (samples, classes), generator=generator).float()  # full of ties
    labels = torch.randint(classes, (samples,), generator=generator)
    outcome = record(logits, labels)
    assert torch.equal(outcome["rank"] == 0, outcome["prediction"] == labels)
    order = logits.argsort(dim=1, descending=True, stable=True)
    assert torch.equal(order.gather(1, outcome["rank"][:, None])[:, 0], labels)


def test_bounds_hold_far_out():
    outcome = record(torch.tensor([[1e4, -1e4], [-1e4, 1e4]]), torch.tensor([0, 0]))
    assert outcome["loss"].tolist() == [0.0, 2e4]
    assert outcome["brier"].tolist() == [0.0, 2.0]
    assert outcome["entropy"].tolist() == [0.0, 0.0]


def test_a_sample_does_not_depend_on_its_neighbours():
    logits, labels = example()
    whole, alone = record(logits, labels), record(logits[17:18], labels[17:18])
    assert all(torch.equal(whole[name][17:18], alone[name]) for name in whole)
