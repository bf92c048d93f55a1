import math

import networkx as nx
import numpy as np
import pytest
import torch

from tests.bias.contract import GRID, BiasContract
from vitkit.bias import DistanceBias, GridDistance, MatrixDistance, PathDistance, TrophicDistance
from vitkit.errors import UsageError
from vitkit.grid import Grid

# The 3 x 4 grid as a graph, whose edges are the neighbours of each token.
NEIGHBOURS = nx.to_numpy_array(nx.grid_2d_graph(3, 4)).tolist()


class TestGrid(BiasContract):
    def make(self):
        return DistanceBias(2, lengthscale=3.0)


class TestLogarithmic(BiasContract):
    def make(self):
        return DistanceBias(2, GridDistance(1.0), penalty="log", lengthscale=3.0)


class TestGraph(BiasContract):
    def make(self):
        return DistanceBias(2, PathDistance(NEIGHBOURS), penalty="log", lengthscale=1.0)


@pytest.mark.parametrize("order", [1.0, 1.5, 2.0, math.inf])
def test_distance_between_coordinates(order):
    bias = DistanceBias(2, GridDistance(order), lengthscale=[1.0, 4.0]).double()
    points = GRID.coordinates(dtype=torch.float64)
    distance = torch.cdist(points, points, p=order, compute_mode="donot_use_mm_for_euclid_dist")
    torch.testing.assert_close(bias(GRID), torch.stack([-distance, -distance / 4]), rtol=1e-6, atol=0)


def test_alibi_is_a_special_case():
    """Press et al. 2022: minus m |i - j| with m = 1/2, 1/4, ..., 1/256 for eight heads."""
    bias = DistanceBias.alibi(8)
    steps = torch.arange(6.0)
    slopes = 2.0 ** -torch.arange(1.0, 9.0)
    wanted = -slopes[:, None, None] * (steps[:, None] - steps).abs()
    torch.testing.assert_close(bias(Grid((6,))), wanted, rtol=1e-6, atol=0)


@pytest.mark.parametrize("penalty", ["linear", "log"])
def test_farther_is_never_more(penalty):
    bias = DistanceBias(3, penalty=penalty, lengthscale=0.7)
    logits = bias(Grid((50,)))[:, 0]
    assert (logits.diff() < 0).all()
    assert (logits[:, 0] == 0).all()


def test_paths_on_the_grids_own_graph_are_its_distances():
    shape = Grid(GRID.shape)
    wanted = DistanceBias(1, GridDistance(1.0), lengthscale=1.0)(shape)
    torch.testing.assert_close(DistanceBias(1, PathDistance(NEIGHBOURS), lengthscale=1.0)(shape).to(wanted.dtype), wanted)


@pytest.mark.parametrize("directed", [False, True])
def test_paths_agree_with_networkx(directed):
    rng = np.random.default_rng(0)
    weights = rng.uniform(0.5, 2, (9, 9)) * (rng.random((9, 9)) < 0.5)
    np.fill_diagonal(weights, 0)
    graph = nx.from_numpy_array(weights, create_using=nx.DiGraph)
    if not directed:
        # The shorter of two opposite edges counts.
        both = np.where(np.minimum(weights, weights.T) > 0, np.minimum(weights, weights.T), np.maximum(weights, weights.T))
        graph = nx.from_numpy_array(both)
    wanted = nx.floyd_warshall_numpy(graph)
    assert np.isfinite(wanted).all()
    found = PathDistance(weights.tolist(), directed=directed).matrix.numpy()
    assert found == pytest.approx(np.asarray(wanted))


def test_a_path_that_is_not_there():
    parts = [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    with pytest.raises(UsageError, match=r"no path from node 0 to node 2.*Set unreachable"):
        PathDistance(parts)
    assert PathDistance(parts, unreachable=3.0).matrix[0].tolist() == [0, 1, 3]
    with pytest.raises(UsageError, match="unreachable=inf"):
        PathDistance(parts, unreachable=math.inf)


def test_trophic_levels_agree_with_networkx():
    rng = np.random.default_rng(1)
    flow = np.triu(rng.uniform(0.1, 1, (8, 8)) * (rng.random((8, 8)) < 0.6), 1)
    found = TrophicDistance(flow.tolist())
    levels = nx.trophic_levels(nx.from_numpy_array(flow, create_using=nx.DiGraph))
    assert found.levels == pytest.approx([levels[node] for node in range(8)])
    assert found.matrix.numpy() == pytest.approx(np.abs(found.levels[:, None] - found.levels[None]))


def test_a_web_without_a_base():
    with pytest.raises(UsageError, match="node 0 in a matrix of flows is fed by no basal node"):
        TrophicDistance([[0.0, 1.0], [1.0, 0.0]])
    with pytest.raises(UsageError, match="node 1"):
        TrophicDistance([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])


def test_a_matrix_as_given():
    distances = [[0.0, 3.0], [1.0, 0.0]]
    logits = DistanceBias(1, MatrixDistance(distances), lengthscale=2.0)(Grid((2,)))
    torch.testing.assert_close(logits[0].float(), torch.tensor([[0, -1.5], [-0.5, 0]]))


def test_the_matrix_is_no_part_of_a_checkpoint():
    assert "matrix" not in DistanceBias(2, PathDistance(NEIGHBOURS)).state_dict()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DistanceBias(0), "num_heads=0"),
        (lambda: DistanceBias(2, penalty="square"), "penalty='square'"),
        (lambda: DistanceBias(2, lengthscale=0.0), "lengthscale=0.0"),
        (lambda: DistanceBias(2, lengthscale=[1.0, math.nan]), "lengthscale=nan"),
        (lambda: DistanceBias(2, lengthscale=[1.0]), "1 length scales for 2 heads"),
        (lambda: DistanceBias(2, penalty="log", outputscale=-1.0), "outputscale=-1.0"),
        (lambda: DistanceBias(2, spread=0.0), "spread=0.0"),
        (lambda: DistanceBias(2, spread=math.inf), "spread=inf"),
        (lambda: GridDistance(0.5), "order=0.5"),
        (lambda: GridDistance(math.nan), "order=nan"),
        (lambda: MatrixDistance([[0.0, 1.0]]), "1 rows of .2. numbers.*square"),
        (lambda: MatrixDistance([[0.0, 1.0], [0.0]]), "square"),
        (lambda: MatrixDistance([[0.0, -1.0], [1.0, 0.0]]), "-1.0 in row 0, column 1"),
        (lambda: PathDistance([[0.0, math.inf], [1.0, 0.0]]), "inf in row 0, column 1"),
        (lambda: TrophicDistance([[0.0, math.nan], [1.0, 0.0]]), "nan in row 0"),
        (lambda: DistanceBias(2, PathDistance(NEIGHBOURS))(Grid((4, 4))), "12 nodes on a grid of .4, 4., 16 tokens"),
    ],
)
def test_bad_input(make, message, unchecked):
    with pytest.raises(UsageError, match=message):
        make()
