"""Frames of different splits that are near each other: none is missed, none is made up."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
AreNear = Callable[[Rows, Rows], NDArray[np.bool_]]
"""Returns for (A, 1) and (1, B) rows which of the (A, B) pairs are near."""

_CHUNK_ROWS = 512


def near_across_splits(
    space: Rows, cell: Rows, split: Rows, are_near: AreNear
) -> Iterator[tuple[int, int]]:
    """Yield two near rows for each two splits in the same cell or in cells that touch.

    Time is linear where splits keep apart, and where they do not as long as few rows share a cell.

    Args:
        space: (N,) what rows must have in common to be near, for example their log.
        cell: (N, D) cells of a grid that is as wide as near rows can be apart in each dimension.
        split: (N,) number of each row's split.
        are_near: decides about pairs of rows.
    """
    cells = _rows_by_cell(space, cell, split)
    origin = (0,) * cell.shape[1]
    steps = [step for step in product((-1, 0, 1), repeat=len(origin)) if step >= origin]
    for (place, where), parts in cells.items():
        for step in steps:
            beside = (place, tuple(np.add(where, step).tolist()))
            for (one, first), (other, second) in product(parts, cells.get(beside, ())):
                if one < other or (one > other and step != origin):
                    yield from _first_near(first, second, are_near)


def _rows_by_cell(
    space: Rows, cell: Rows, split: Rows
) -> dict[tuple[int, tuple[int, ...]], list[tuple[int, Rows]]]:
    """Return by space and cell the rows of each split; only of spaces with several splits."""
    pairs = np.unique(np.column_stack([space, split]), axis=0)
    spaces, counts = np.unique(pairs[:, 0], return_counts=True)
    rows = np.flatnonzero(np.isin(space, spaces[counts > 1]))
    if len(rows) == 0:
        return {}
    keys = np.column_stack([space, cell, split])[rows]
    order = np.lexsort(keys.T[::-1])
    keys, rows = keys[order], rows[order]
    starts = np.flatnonzero((np.diff(keys, axis=0, prepend=keys[:1] - 1) != 0).any(axis=1))
    cells: dict[tuple[int, tuple[int, ...]], list[tuple[int, Rows]]] = defaultdict(list)
    for (place, *where, number), own in zip(
        keys[starts].tolist(), np.split(rows, starts[1:]), strict=True
    ):
        cells[place, tuple(where)].append((number, own))
    return dict(cells)


def _first_near(first: Rows, second: Rows, are_near: AreNear) -> Iterator[tuple[int, int]]:
    for start in range(0, len(first), _CHUNK_ROWS):
        some = first[start : start + _CHUNK_ROWS]
        found = np.argwhere(are_near(some[:, None], second[None]))
        if len(found):
            yield int(some[found[0, 0]]), int(second[found[0, 1]])
            return
