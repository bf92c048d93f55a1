import math

import pytest
import torch
from timm.layers import RelPosMlp

from tests.bias.contract import GRID, BiasContract
from vitkit.bias import LogCPBBias
from vitkit.errors import UsageError
from vitkit.grid import Grid


class TestLogCPBBias(BiasContract):
    def make(self):
        torch.manual_seed(0)
        return LogCPBBias(2, 2, hidden_dim=16, extent=(4.0, 15.0))


@pytest.mark.parametrize(("window", "pretrained"), [((4, 6), (0, 0)), ((7, 5), (4, 4))])
def test_agrees_with_timm(window, pretrained):
    oracle = RelPosMlp(window, num_heads=3, hidden_dim=20, mode="swin", pretrained_window_size=pretrained).eval()
    bias = LogCPBBias(3, 2, hidden_dim=20, extent=[length - 1.0 for length in pretrained] if pretrained[0] else None)
    bias.fc1.load_state_dict(oracle.mlp.fc1.state_dict())
    bias.fc2.load_state_dict(oracle.mlp.fc2.state_dict())
    torch.testing.assert_close(bias(Grid(window)), oracle.get_bias()[0], rtol=1e-5, atol=1e-5)


def test_a_given_extent_keeps_distances_and_none_keeps_the_field():
    near, wide = Grid((3, 3), (2.0, 2.0)), Grid((3, 3), (4.0, 4.0))
    free, fixed = LogCPBBias(2, 2), LogCPBBias(2, 2, extent=(4.0, 4.0))
    torch.testing.assert_close(free(near), free(wide))
    assert not torch.allclose(fixed(near), fixed(wide))
    torch.testing.assert_close(fixed.table(near)[:, ::2, ::2], fixed.table(wide)[:, 1:-1, 1:-1])


def test_one_token_has_no_extent():
    assert LogCPBBias(2, 2)(Grid((1, 3))).isfinite().all()


def test_a_new_draw_differs():
    bias = LogCPBBias(2, 2)
    before = bias(GRID).detach().clone()
    bias.reset_parameters()
    assert not torch.equal(before, bias(GRID))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LogCPBBias(0, 2), "num_heads=0"),
        (lambda: LogCPBBias(2, 0), "ndim=0"),
        (lambda: LogCPBBias(2, 2, hidden_dim=0), "hidden_dim=0"),
        (lambda: LogCPBBias(2, 2, extent=[1.0]), "extent"),
        (lambda: LogCPBBias(2, 2, extent=[1.0, 0.0]), "extent"),
        (lambda: LogCPBBias(2, 2, extent=[1.0, math.nan]), "extent"),
        (lambda: LogCPBBias(2, 2)(Grid((2, 2, 2))), "2 axes on a grid of 3"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(UsageError, match=message):
        make()
