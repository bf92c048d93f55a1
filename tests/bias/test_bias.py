import pytest
import torch

from vitkit.bias import Bias, NoBias, SpectralBias, TableBias
from vitkit.errors import UsageError
from vitkit.grid import Grid
from vitkit.spectral import Exponential

GRID = Grid((3, 4), (2.0, 5.0))
KINDS = {"table": lambda: TableBias(2, (3, 4)), "spectral": lambda: SpectralBias(Exponential(2, 2))}


@pytest.fixture(params=KINDS)
def bias(request) -> Bias:
    return KINDS[request.param]()


def test_is_stationary(bias):
    """Two pairs of tokens with the same displacement have the same logits."""
    logits = bias(GRID).detach().view(2, 3, 4, 3, 4)
    assert torch.equal(logits[:, :2, :3, :2, :3], logits[:, 1:, 1:, 1:, 1:])


def test_along_an_axis_is_the_part_where_the_other_axis_does_not_move(bias):
    logits = bias(GRID).view(2, 3, 4, 3, 4)
    assert torch.equal(bias.axis(GRID, 0), logits[:, :, 1, :, 1])
    assert torch.equal(bias.axis(GRID, 1), logits[:, 2, :, 2, :])


def test_prefix_tokens_get_no_bias(bias):
    logits = bias(GRID, prefix=2)
    assert torch.equal(logits[:, 2:, 2:], bias(GRID))
    assert not logits[:, :2].any()
    assert not logits[:, :, :2].any()


def test_every_parameter_gets_a_gradient(bias):
    bias(GRID, prefix=1).square().sum().backward()
    for name, parameter in bias.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_keeping_all_tokens_changes_nothing(bias):
    keep = torch.arange(12).expand(3, -1)
    assert torch.equal(bias(GRID, prefix=1, keep=keep), bias(GRID, prefix=1).expand(3, -1, -1, -1))


def test_spectral_bias_is_its_covariance_between_coordinates():
    density = Exponential(2, 2).double()
    points = GRID.coordinates(dtype=torch.float64)
    wanted = density.covariance(points[:, None] - points[None])
    torch.testing.assert_close(SpectralBias(density)(GRID), wanted, rtol=1e-12, atol=0)


def test_spectral_bias_depends_on_distance_and_not_on_sampling():
    """Twice as many tokens at half the spacing: the tokens that coincide have the same logits."""
    bias = SpectralBias(Exponential(2, 2))
    coarse = bias(Grid((3, 3), (4.0, 4.0)))
    fine = bias(Grid((5, 5), (2.0, 2.0))).view(2, 5, 5, 5, 5)[:, ::2, ::2, ::2, ::2].reshape(2, 9, 9)
    torch.testing.assert_close(coarse, fine)


def test_spectral_bias_is_positive_definite_on_a_grid():
    logits = SpectralBias(Exponential(4, 2)).double()(Grid((7, 6)))
    assert (torch.linalg.eigvalsh(logits) > 0).all()


def test_no_bias_is_nothing():
    assert NoBias()(GRID, prefix=3) is None
    assert NoBias().axis(GRID, 0) is None


def test_a_table_refuses_another_grid():
    with pytest.raises(UsageError, match=r"shape \(3, 4\) on a grid of \(4, 4\).*Set the bias's shape to \[4, 4\]"):
        TableBias(2, (3, 4))(Grid((4, 4)))


def test_a_density_refuses_a_grid_of_other_axes():
    with pytest.raises(UsageError, match="density of 2 axes on a grid of 3"):
        SpectralBias(Exponential(2, 2))(Grid((2, 2, 2)))


def test_a_new_draw_differs():
    bias = TableBias(2, (3, 4))
    before = bias.logits.detach().clone()
    bias.reset_parameters()
    assert not torch.equal(before, bias.logits)
