"""Places in an order, with ties."""

import numpy as np
from jaxtyping import Float, Int


def blocks(values: Float[np.ndarray, " samples"]) -> tuple[Int[np.ndarray, " samples"], Int[np.ndarray, " blocks"]]:
    """The order that sorts the values, and where in it each run of equal values begins.

    >>> [part.tolist() for part in blocks(np.array([3.0, 1.0, 3.0]))]
    [[1, 0, 2], [0, 1]]
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    return order, np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: len(values)])


def ranks(values: Float[np.ndarray, " samples"]) -> Float[np.ndarray, " samples"]:
    """Midranks from 0.5 to n - 0.5: equal values share the middle of their places.

    >>> ranks(np.array([3.0, 1.0, 3.0])).tolist()
    [2.0, 0.5, 2.0]
    """
    order, starts = blocks(values)
    sizes = np.diff(np.append(starts, len(values)))
    found = np.empty(len(values))
    found[order] = np.repeat(starts + sizes / 2, sizes)
    return found
