"""What makes an unlabelled frame worth labelling, one figure per frame and signal."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from admlops.structures.boxes import Boxes

UncertaintyMeasure = Literal["entropy", "margin"]
Aggregate = Literal["sum", "mean", "max"]

_CHUNK_ROWS = 2048


def box_uncertainty(
    scores: NDArray[np.float64], measure: UncertaintyMeasure, threshold: float
) -> NDArray[np.float64]:
    """Return (N,) uncertainties in [0, 1] of predictions with (N,) scores in [0, 1].

    Entropy is that of a coin with the score's probability, 1 at 0.5. The margin is 1 at the
    threshold at which predictions are used and falls to 0 at scores 0 and 1.
    """
    score = np.clip(np.asarray(scores, dtype=np.float64), 0.0, 1.0)
    if measure == "margin":
        reach = np.where(score < threshold, threshold, 1.0 - threshold)
        return 1.0 - np.abs(score - threshold) / np.maximum(reach, 1e-12)
    inside = np.clip(score, 1e-12, 1.0 - 1e-12)
    return -(inside * np.log2(inside) + (1.0 - inside) * np.log2(1.0 - inside))


def frame_uncertainty(
    boxes: Boxes,
    measure: UncertaintyMeasure = "entropy",
    aggregate: Aggregate = "sum",
    threshold: float = 0.5,
    min_score: float = 0.05,
) -> float:
    """Return the uncertainty of a frame from its predictions of at least `min_score`."""
    scores = boxes.score[boxes.score >= min_score]
    if scores.size == 0:
        return 0.0
    values = box_uncertainty(scores, measure, threshold)
    if aggregate == "max":
        return float(values.max())
    return float(values.sum() if aggregate == "sum" else values.mean())


def failure_density(
    candidates: NDArray[np.float64],
    failures: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return (N,) densities in [0, 1] of failed frames around candidates.

    A Gaussian kernel, as wide as the median distance from a candidate to its nearest failure.

    Args:
        candidates: (N, D) standardized descriptors.
        failures: (F, D) standardized descriptors of frames with failures.
        weights: (F,) how much went wrong in each.
    """
    if len(candidates) == 0 or len(failures) == 0:
        return np.zeros(len(candidates))
    squared = np.concatenate(
        [
            squared_distances(candidates[start : start + _CHUNK_ROWS], failures)
            for start in range(0, len(candidates), _CHUNK_ROWS)
        ]
    )
    width = max(float(np.median(squared.min(axis=1))), 1e-12)
    share = np.asarray(weights, dtype=np.float64)
    return np.exp(-squared / (2.0 * width)) @ (share / share.sum())


def squared_distances(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (N, M) squared distances between rows."""
    cross = first @ second.T
    squared = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)[None] - 2.0 * cross
    return np.maximum(squared, 0.0)


def rank(values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each value's rank in [0, 1], equal values sharing theirs; 0 where all are equal.

    Ranks make signals of different units and outliers comparable.
    """
    array = np.asarray(values, dtype=np.float64)
    distinct, place, counts = np.unique(array, return_inverse=True, return_counts=True)
    if len(distinct) < 2:
        return np.zeros(len(array))
    below = np.concatenate([[0], np.cumsum(counts)[:-1]])
    middle = below + (counts - 1) / 2.0
    return middle[place] / (len(array) - 1)
