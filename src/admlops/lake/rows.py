"""Choosing rows of a dataset, and what rows have in common."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from admlops.structures.frame import FrameKey


def spread_evenly(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return at most `count` of the rows in their order, evenly spread from first to last."""
    if len(rows) <= count:
        return rows
    return rows[np.linspace(0, len(rows) - 1, count).round().astype(np.int64)]


def tell_scenes(
    keys: Sequence[FrameKey], poses: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return (N,) the number of each frame's scene, and whether its source knew where it was.

    Where all (4, 4) poses `global_from_ego` of a scene are the identity they are not known.
    """
    numbers: dict[tuple[str, str], int] = {}
    scene = np.array([numbers.setdefault(key[:2], len(numbers)) for key in keys], np.int64)
    is_known = np.zeros(len(numbers), np.bool_)
    is_known[scene[(poses != np.eye(4)).any(axis=(1, 2))]] = True
    return scene, is_known[scene]
