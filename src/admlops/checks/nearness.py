"""Frames of different splits that are near each other: none is missed, none is made up."""

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
AreNear = Callable[[Rows, Rows], NDArray[np.bool_]]
"""Returns for (A, 1) and (1, B) rows which of the (A, B) pairs are near."""

_CHUNK_ROWS = 512
_FACTORS = np.random.default_rng(0).integers(1 << 40, 1 << 62, 8) | 1
"""Make one number of a space and a cell, such that a step to another cell adds a constant."""


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
    rows = _rows_of_mixed_spaces(space, split)
    factors = _FACTORS[: 1 + cell.shape[1]]
    place = (np.column_stack([space, cell])[rows] * factors).sum(axis=1)
    order = np.lexsort([split[rows], place])
    rows, place = rows[order], place[order]
    starts = np.flatnonzero(
        np.diff(place, prepend=place[:1] - 1) | np.diff(split[rows], prepend=split[rows[:1]] - 1)
    )
    parts = np.split(rows, starts[1:])
    for first, second in _touching(place[starts], split[rows[starts]], factors[1:]):
        yield from _first_near(parts[first], parts[second], space, are_near)


def _rows_of_mixed_spaces(space: Rows, split: Rows) -> Rows:
    pairs = np.unique(np.column_stack([space, split]), axis=0)
    spaces, counts = np.unique(pairs[:, 0], return_counts=True)
    return np.flatnonzero(np.isin(space, spaces[counts > 1]))


def _touching(place: Rows, split: Rows, factors: Rows) -> Iterator[tuple[int, int]]:
    """Yield parts of different splits whose cells are the same or touch, given in order of place.

    Different cells can have one number: rows decide in the end.
    """
    origin = (0,) * len(factors)
    for step in product((-1, 0, 1), repeat=len(factors)):
        if step < origin:
            continue
        beside = place + (np.array(step) * factors).sum()
        low, high = (np.searchsorted(place, beside, side) for side in ("left", "right"))
        for offset in range(int((high - low).max(initial=0))):
            first = np.flatnonzero(low + offset < high)
            second = (low + offset)[first]
            differ = split[first] < split[second]
            if step != origin:
                differ |= split[first] > split[second]
            yield from zip(first[differ].tolist(), second[differ].tolist(), strict=True)


def _first_near(
    first: Rows, second: Rows, space: Rows, are_near: AreNear
) -> Iterator[tuple[int, int]]:
    for start in range(0, len(first), _CHUNK_ROWS):
        one, other = first[start : start + _CHUNK_ROWS, None], second[None]
        found = np.argwhere(are_near(one, other) & (space[one] == space[other]))
        if len(found):
            yield int(one[found[0, 0], 0]), int(other[0, found[0, 1]])
            return
