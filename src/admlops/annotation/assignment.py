"""The assignment problem: which rows and columns belong together at the least cost."""

import numpy as np
from numba import njit
from numpy.typing import NDArray


def assign(cost: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (K,) rows and columns of the pairs: as many as can be, at the least cost in all.

    Source: Kuhn, "The Hungarian method for the assignment problem", 1955, by shortest augmenting
    paths: Jonker and Volgenant, 1987.

    Args:
        cost: (N, M), infinite for pairs that cannot be.
    """
    can_be = np.isfinite(cost)
    if not can_be.any():
        return np.empty(0, np.int64), np.empty(0, np.int64)
    low, high = cost[can_be].min(), cost[can_be].max()
    # one pair more is worth any exchange among the others
    never = (high - low + 1.0) * (min(cost.shape) + 1)
    shifted = np.where(can_be, cost - low, never)
    is_tall = cost.shape[0] > cost.shape[1]
    found = _shortest_paths(np.ascontiguousarray(shifted.T if is_tall else shifted))
    rows, columns = np.arange(len(found)), found
    if is_tall:
        order = np.argsort(found)
        rows, columns = found[order], order
    kept = can_be[rows, columns]
    return rows[kept], columns[kept]


@njit(cache=True)
def _shortest_paths(cost: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return (N,) the column of each row of finite (N, M) costs, N <= M; column 0 is a root."""
    num_rows, num_columns = cost.shape
    of_row, of_column = np.zeros(num_rows + 1), np.zeros(num_columns + 1)
    owner = np.zeros(num_columns + 1, dtype=np.int64)
    before = np.zeros(num_columns + 1, dtype=np.int64)
    for row in range(1, num_rows + 1):
        owner[0] = row
        here = 0
        least = np.full(num_columns + 1, np.inf)
        is_used = np.zeros(num_columns + 1, dtype=np.bool_)
        while owner[here] != 0:
            is_used[here] = True
            price = cost[owner[here] - 1] - of_row[owner[here]]
            nearest = _nearest(price, here, of_column, is_used, (least, before))
            delta = least[nearest]
            for column in range(num_columns + 1):
                if is_used[column]:
                    of_row[owner[column]] += delta
                    of_column[column] -= delta
                else:
                    least[column] -= delta
            here = nearest
        while here != 0:
            owner[here] = owner[before[here]]
            here = before[here]
    result = np.empty(num_rows, dtype=np.int64)
    for column in range(1, num_columns + 1):
        if owner[column]:
            result[owner[column] - 1] = column - 1
    return result


@njit(cache=True)
def _nearest(
    price: NDArray[np.float64],
    here: int,
    of_column: NDArray[np.float64],
    is_used: NDArray[np.bool_],
    path: tuple[NDArray[np.float64], NDArray[np.int64]],
) -> int:
    """Return the unused column that costs least to reach, after new ways from a column `here`."""
    least, before = path
    nearest = 0
    for column in range(1, len(least)):
        if is_used[column]:
            continue
        slack = price[column - 1] - of_column[column]
        if slack < least[column]:
            least[column], before[column] = slack, here
        if nearest == 0 or least[column] < least[nearest]:
            nearest = column
    return nearest
