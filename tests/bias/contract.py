"""What every bias has to satisfy; a bias's test inherits this and gets all of it."""

from copy import deepcopy

import pytest
import torch

from vitkit.bias import Bias, expand
from vitkit.errors import UsageError
from vitkit.grid import Grid
from vitkit.recipe import build, recipe

GRID = Grid((3, 4), (2.0, 5.0))


class BiasContract:
    """Property tests of a bias for two heads on :data:`GRID`."""

    def make(self) -> Bias:
        raise NotImplementedError

    def bias(self) -> Bias:
        """A bias in float64 whose parameters are no special case."""
        bias = self.make().double()
        with torch.no_grad():
            for parameter in bias.parameters():
                parameter.add_(torch.linspace(-0.3, 0.4, parameter.numel(), dtype=torch.float64).view_as(parameter))
        return bias

    def test_has_logits_for_every_pair(self):
        bias = self.bias()
        for prefix in (0, 2):
            logits = bias(GRID, prefix)
            assert logits.shape == (2, 12 + prefix, 12 + prefix)
            assert logits.isfinite().all()
        assert bias.num_heads == 2

    def test_the_prefix_changes_nothing_between_grid_tokens(self):
        bias = self.bias()
        torch.testing.assert_close(bias(GRID, prefix=2)[:, 2:, 2:], bias(GRID), rtol=0, atol=0)

    def test_the_prefix_is_zero_or_three_logits(self):
        bias = self.bias()
        logits = bias(GRID, prefix=2)
        around = bias.prefix_logits()
        wanted = torch.zeros(2, 3, dtype=torch.float64) if around is None else around
        assert torch.equal(logits[:, 2:, :2], wanted[:, 0, None, None].expand(2, 12, 2))
        assert torch.equal(logits[:, :2, 2:], wanted[:, 1, None, None].expand(2, 2, 12))
        assert torch.equal(logits[:, :2, :2], wanted[:, 2, None, None].expand(2, 2, 2))

    @pytest.mark.parametrize("prefix", [0, 2])
    @pytest.mark.parametrize("kept", [None, 5])
    def test_products_of_its_features_are_its_logits(self, kept, prefix):
        bias = self.bias()
        if bias.rank is None:
            with pytest.raises(UsageError, match="no dot product of a few"):
                bias.features(GRID)
            return
        keep = None if kept is None else torch.stack([torch.randperm(12)[:kept] for _ in range(3)])
        q, k = bias.features(GRID, prefix, keep)
        assert q.shape[-1] == k.shape[-1] <= bias.rank + (2 if prefix else 0)
        wanted = bias(GRID, prefix, keep)
        found = (q @ k.transpose(-1, -2)).expand(len(wanted), *wanted.shape[1:])
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("prefix", [0, 2])
    @pytest.mark.parametrize("kept", [0, 1, 7, 12])
    def test_what_is_kept_has_the_logits_it_had(self, kept, prefix):
        bias = self.bias()
        keep = torch.stack([torch.randperm(12)[:kept] for _ in range(3)])
        whole = bias(GRID, prefix)
        rows = [torch.cat([torch.arange(prefix), row + prefix]) for row in keep]
        wanted = torch.stack([whole[:, row][:, :, row] for row in rows])
        found = bias(GRID, prefix, keep).expand(3, -1, -1, -1)
        torch.testing.assert_close(found, wanted, rtol=1e-14, atol=1e-14)

    def test_its_table_is_all_there_is_if_it_is_stationary(self):
        bias = self.bias()
        if not bias.stationary:
            with pytest.raises(UsageError, match=r"a table of displacements of .*expected a stationary bias"):
                bias.table(GRID)
            return
        logits = bias(GRID)
        assert torch.equal(logits, expand(bias.table(GRID), GRID.shape))
        logits = logits.view(2, 3, 4, 3, 4)
        assert torch.equal(logits[:, :2, :3, :2, :3], logits[:, 1:, 1:, 1:, 1:])
        assert torch.equal(bias.axis(GRID, 0), logits[:, :, 1, :, 1])
        assert torch.equal(bias.axis(GRID, 1), logits[:, 2, :, 2, :])
        assert not list(bias.buffers())

    def test_gradients(self):
        bias = self.bias()
        names, values = zip(*bias.named_parameters(), strict=True)

        def function(*parameters):
            return torch.func.functional_call(bias, dict(zip(names, parameters, strict=True)), (GRID, 1))

        assert torch.autograd.gradcheck(function, values, fast_mode=True)
        function(*values).mul(torch.randn(13, 13, dtype=torch.float64)).sum().backward()
        for name, value in zip(names, values, strict=True):
            assert value.grad.abs().sum() > 0, name

    def test_half_precision_is_near(self):
        """Off by no more than the rounding of each parameter, and of its exponential, is worth to first order."""
        bias = self.bias()
        names, values = zip(*bias.named_parameters(), strict=True)

        def function(*parameters):
            return torch.func.functional_call(bias, dict(zip(names, parameters, strict=True)), (GRID, 1))

        slopes = torch.autograd.functional.jacobian(function, values)
        unit = 2.0**-8
        wanted = bias(GRID, 1).detach()
        bound = 4 * unit * (1 + wanted.abs())
        for slope, value in zip(slopes, values, strict=True):
            bound += 2 * unit * (slope.abs() * (1 + value.abs())).sum(tuple(range(3, slope.ndim))).detach()
        found = deepcopy(bias).to(torch.bfloat16)(GRID, 1).detach().double()
        assert ((found - wanted).abs() <= bound).all()

    def test_recipe_and_state_make_it_again(self):
        bias = self.make()
        again = build(recipe(bias))
        again.load_state_dict(bias.state_dict())
        assert torch.equal(again(GRID, 1), bias(GRID, 1))

    def test_a_copy_is_its_own(self):
        """As an encoder does for each block."""
        bias = self.make()
        own = deepcopy(bias)
        own.reset_parameters()
        before = bias(GRID).detach().clone()
        with torch.no_grad():
            for parameter in own.parameters():
                parameter.add_(1.0)
        assert torch.equal(bias(GRID), before)

    def test_other_heads(self):
        with pytest.raises(UsageError, match="2 heads in an attention of 5 heads"):
            self.make().require_heads(5)
