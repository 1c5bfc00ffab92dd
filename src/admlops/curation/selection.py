"""Picking frames that are wanted and unlike each other."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from admlops.curation.signals import squared_distances


@dataclass(frozen=True, slots=True)
class Pick:
    """One frame that was picked.

    Attributes:
        index: its place among the candidates.
        score: its utility with the weighted distance, when it was picked.
        distance: how far it was from everything picked or labelled, 1 the farthest of all.
    """

    index: int
    score: float
    distance: float


@dataclass(frozen=True, slots=True)
class Limits:
    """What stops picking.

    Attributes:
        num_frames: picks at most.
        cost: (N,) cost of each candidate.
        max_cost: cost of all picks together at most.
    """

    num_frames: int
    cost: NDArray[np.float64]
    max_cost: float = float("inf")


def pick_diverse(
    utility: NDArray[np.float64],
    descriptors: NDArray[np.float64],
    limits: Limits,
    diversity: float,
    labelled: NDArray[np.float64] | None = None,
) -> list[Pick]:
    """Return picks in order, each the best by utility plus weighted distance to what is covered.

    With utility alone this is a ranking; with diversity alone it is the greedy 2-approximation of
    the k-centre problem, started from the labelled frames (Sener and Savarese, "Active learning
    for convolutional neural networks: a core-set approach", 2018). Ties go to the first.

    Args:
        utility: (N,) how much each candidate is wanted.
        descriptors: (N, D) standardized descriptors.
        limits: what stops picking; a candidate that would pass the cost is passed over.
        diversity: weight of the distance.
        labelled: (L, D) descriptors of frames that are labelled already.
    """
    if len(utility) == 0:
        return []
    nearest = _first_distances(descriptors, labelled)
    scale = float(nearest.max(initial=0.0)) or 1.0
    free = np.ones(len(utility), dtype=np.bool_)
    picks: list[Pick] = []
    spent = 0.0
    while len(picks) < limits.num_frames:
        free &= limits.cost <= limits.max_cost - spent
        if not free.any():
            break
        distance = nearest / scale
        total = np.where(free, utility + diversity * distance, -np.inf)
        index = int(np.argmax(total))
        picks.append(Pick(index, float(total[index]), float(distance[index])))
        free[index] = False
        spent += float(limits.cost[index])
        reached = np.sqrt(squared_distances(descriptors, descriptors[index : index + 1])[:, 0])
        nearest = np.minimum(nearest, reached)
    return picks


def _first_distances(
    descriptors: NDArray[np.float64], labelled: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """Return (N,) distances to the labelled frames, or to the mean where there are none."""
    if labelled is None or len(labelled) == 0:
        return np.linalg.norm(descriptors - descriptors.mean(axis=0), axis=1)
    nearest = np.full(len(descriptors), np.inf)
    for start in range(0, len(labelled), 256):
        part = squared_distances(descriptors, labelled[start : start + 256])
        nearest = np.minimum(nearest, part.min(axis=1))
    return np.sqrt(nearest)
