"""Running means and deviations."""

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from vitkit.encoder.standardised import Standardised


@pytest.mark.parametrize("batches", [1, 2, 10, 50])
def test_at_first_they_are_those_of_all_batches_wherever_the_mean_lies(batches):
    torch.manual_seed(0)
    values = (0.05 * torch.randn(batches, 32, 3, dtype=torch.float64) + torch.tensor([-5.0, 0.0, 300.0])).float()
    module = Standardised(3).train()
    for batch in values:
        module.standardised(batch)
    every = values.double().flatten(0, 1)
    torch.testing.assert_close(module.mean.double(), every.mean(0), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(module.variance.double(), every.var(0, correction=0), rtol=1e-3, atol=0)


def test_an_average_of_the_weights_standardises_as_training_does():
    torch.manual_seed(0)
    module = Standardised(1).train()
    averaged = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(0.995), use_buffers=True)
    for _ in range(100):
        module.standardised(-5.0 + 0.05 * torch.randn(32, 1))
        averaged.update_parameters(module)
    assert 0.95 < (averaged.module.variance / module.variance).sqrt() < 1.05
    assert (averaged.module.mean - module.mean).abs() < 0.005
