"""Choosing rows of a dataset."""

import numpy as np
from numpy.typing import NDArray


def spread_evenly(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return at most `count` of the rows in their order, evenly spread from first to last."""
    if len(rows) <= count:
        return rows
    return rows[np.linspace(0, len(rows) - 1, count).round().astype(np.int64)]
