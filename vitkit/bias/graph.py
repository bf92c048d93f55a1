"""Distances between the nodes of a graph: along its edges, or between trophic levels."""

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import shortest_path

from vitkit.bias.distance import MatrixDistance, square
from vitkit.errors import UsageError


class PathDistance(MatrixDistance):
    """Length of the shortest path in a graph.

    Args:
        adjacency: Rows of the adjacency matrix: the length of the edge from each node to each other, 0 for no edge.
        directed: Whether paths from a query to a key follow the edges' direction.
        unreachable: Distance between nodes that no path connects. None refuses such a graph.

    Raises:
        UsageError: No square matrix, lengths that are negative or not finite, or an unconnected graph without ``unreachable``.

    >>> PathDistance([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]).matrix
    tensor([[0., 1., 2.],
            [1., 0., 1.],
            [2., 1., 0.]], dtype=torch.float64)
    """

    def __init__(self, adjacency: list[list[float]], directed: bool = False, unreachable: float | None = None) -> None:
        graph = csr_array(square(adjacency, "an adjacency matrix"))
        found = shortest_path(graph, directed=directed)
        apart = ~np.isfinite(found)
        if apart.any():
            query, key = np.argwhere(apart)[0].tolist()
            if unreachable is None or not 0 <= unreachable < np.inf:
                raise UsageError(
                    f"no path from node {query} to node {key}, and unreachable={unreachable}",
                    "a connected graph, or a finite distance for nodes that are not",
                    "Set unreachable, for instance to the number of nodes.",
                )
            found[apart] = unreachable
        self.matrix = torch.from_numpy(found)


class TrophicDistance(MatrixDistance):
    r"""Difference of trophic levels in a web of who feeds whom (Levine 1980).

    .. math:: s_j = 1 + \sum_i p_{ij} s_i, \qquad p_{ij} = a_{ij} / \sum_i a_{ij}

    with :math:`a_{ij}` the flow from node i to node j. Nodes that nothing flows into are basal, of level 1.

    Args:
        flow: Rows of the matrix of flows.

    Raises:
        UsageError: No square matrix, flows that are negative or not finite, or a node that no basal node feeds, even by others.

    >>> TrophicDistance([[0.0, 1.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]).levels.tolist()
    [1.0, 2.0, 2.5]
    """

    def __init__(self, flow: list[list[float]]) -> None:
        flows = square(flow, "a matrix of flows")
        inflow = flows.sum(0)
        basal = inflow == 0
        fed = np.isfinite(shortest_path(csr_array(flows), unweighted=True)[basal]).any(0)
        if not fed.all():
            raise UsageError(
                f"node {int(np.argmin(fed))} in a matrix of flows is fed by no basal node, not even by others",
                "a way to every node from one that nothing flows into",
                "Add the missing flows, or use PathDistance.",
            )
        share = flows / np.where(basal, 1, inflow)
        self.levels = np.linalg.solve(np.eye(len(flows)) - share.T, np.ones(len(flows)))
        self.matrix = torch.from_numpy(np.abs(self.levels[:, None] - self.levels))
