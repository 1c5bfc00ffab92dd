"""Which of some things belong to which of others."""

import numpy as np
from numpy.typing import NDArray


def pair_nearest(
    distance: NDArray[np.float64], reach: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (M,) rows and columns of pairs nearer than `reach`: nearest first, each only once."""
    order = np.argsort(distance, axis=None, kind="stable")
    order = order[distance.ravel()[order] < reach]
    rows, columns = np.unravel_index(order, distance.shape)
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        if row not in pairs and column not in taken:
            pairs[row] = column
            taken.add(column)
    return np.array([*pairs], np.int64), np.array([*pairs.values()], np.int64)
