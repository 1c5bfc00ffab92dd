"""Matching in the order of scores: each prediction takes the best label that is still free."""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from admlops.evaluation.kitti_matching import image_overlap
from admlops.geometry.boxes import are_apart, overlap


@njit(cache=True, nogil=True)
def _affinity(first: NDArray[np.float64], second: NDArray[np.float64], metric: int) -> float:
    """Return an overlap, or the negative distance of the centres on the ground in metres."""
    if metric == 0:
        return image_overlap(first[7:], second[7:], False)
    if metric == 3:
        return -math.hypot(first[0] - second[0], first[1] - second[1])
    if are_apart(first, second):
        return 0.0
    return overlap(first, second, metric == 2)


@njit(cache=True, nogil=True)
def match_by_score(
    offsets: NDArray[np.int64],
    labels_11: NDArray[np.float64],
    counted: NDArray[np.bool_],
    predictions_11: NDArray[np.float64],
    metric: int,
    threshold: float,
) -> NDArray[np.int64]:
    """Return (M,) the label that each prediction takes, -1 for none, -2 for one not counted.

    A counted label goes before one that is not counted, then the nearer goes first. A label that
    is not counted can be taken by any number of predictions.
    Source: nuScenes detection evaluation (distance), COCO evaluation (ignored labels).

    Args:
        offsets: (F + 1, 2) first label and first prediction of each frame.
        labels_11: (N, 11) seven numbers in the ego frame, then left top right bottom.
        counted: (N,) whether a label is to be found.
        predictions_11: (M, 11), best score first within a frame.
        metric: 0 image, 1 ground, 2 space, 3 distance.
        threshold: overlap to exceed, or distance in metres to stay below.
    """
    limit = -threshold if metric == 3 else threshold
    matches = np.full(len(predictions_11), -1, dtype=np.int64)
    taken = np.zeros(len(labels_11), dtype=np.bool_)
    for frame in range(len(offsets) - 1):
        for prediction in range(offsets[frame, 1], offsets[frame + 1, 1]):
            best, best_affinity = -1, -math.inf
            for label in range(offsets[frame, 0], offsets[frame + 1, 0]):
                if taken[label] or (best >= 0 and counted[best] and not counted[label]):
                    continue
                affinity = _affinity(labels_11[label], predictions_11[prediction], metric)
                if not affinity > limit:
                    continue
                rises = best >= 0 and counted[label] and not counted[best]
                if rises or affinity > best_affinity:
                    best, best_affinity = label, affinity
            if best >= 0 and counted[best]:
                taken[best] = True
                matches[prediction] = best
            elif best >= 0:
                matches[prediction] = -2
    return matches


@njit(cache=True, nogil=True)
def find_covered(
    offsets: NDArray[np.int64],
    regions_px: NDArray[np.float64],
    boxes_px: NDArray[np.float64],
    share: float,
) -> NDArray[np.bool_]:
    """Return (M,) whether more than a share of an image box lies in one region of its frame.

    Args:
        offsets: (F + 1, 2) first region and first box of each frame.
        regions_px: (N, 4) left top right bottom.
        boxes_px: (M, 4).
        share: of the box's own area.
    """
    covered = np.zeros(len(boxes_px), dtype=np.bool_)
    for frame in range(len(offsets) - 1):
        for region in range(offsets[frame, 0], offsets[frame + 1, 0]):
            for box in range(offsets[frame, 1], offsets[frame + 1, 1]):
                if image_overlap(boxes_px[box], regions_px[region], True) > share:
                    covered[box] = True
    return covered
