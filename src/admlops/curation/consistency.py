"""Disagreement about boxes: between models on one frame, and between neighbouring frames."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from admlops.curation.moments import Moments
from admlops.geometry.pairing import pair_nearest
from admlops.geometry.pose import invert, transform_points
from admlops.structures.boxes import Boxes

SAME_OBJECT_M = 2.0
"""Boxes of one category whose centres are nearer are of one object."""


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """How far frames and boxes may be apart to be compared.

    Attributes:
        gap_ns: time between two frames of a scene.
        speed_mps: how fast objects may move over ground.
    """

    gap_ns: int
    speed_mps: float


def disagreement(boxes: Boxes, rivals: Sequence[Boxes], min_score: float) -> float:
    """Return how much other models' boxes of one frame differ, in objects.

    Objects that both see count by the difference of their scores, those that one sees alone by
    their score; the mean over the rivals.
    """
    if not rivals:
        return 0.0
    return float(np.mean([_differ(boxes, other, min_score) for other in rivals]))


def _differ(one: Boxes, other: Boxes, min_score: float) -> float:
    one = one.select(one.score >= min_score)
    other = other.select(other.score >= min_score)
    rows, columns = match_centers(one, other, one.center_m, SAME_OBJECT_M)
    shared = np.abs(one.score[rows] - other.score[columns]).sum()
    alone = one.score.sum() - one.score[rows].sum() + other.score.sum() - other.score[columns].sum()
    return float(shared + alone)


def match_centers(
    one: Boxes, other: Boxes, place_m: NDArray[np.floating], reach_m: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (M,) rows of each that are of one object: nearest first, each box once.

    Args:
        one: boxes.
        other: boxes of another source.
        place_m: (len(one), 3) centres of `one` in the frame of `other`.
        reach_m: distance on the ground within which boxes of one category can be one object.
    """
    offset = place_m[:, None, :2] - other.center_m[None, :, :2]
    distance = np.linalg.norm(offset, axis=-1)
    distance[one.category[:, None] != other.category[None]] = np.inf
    return pair_nearest(distance, reach_m)


def flicker(
    moments: Moments, predictions: Sequence[Boxes], near: Neighbourhood
) -> NDArray[np.float64]:
    """Return (N,) the scores of boxes that appear or vanish beside a neighbouring frame.

    A box that the frame before or after does not show, within the distance that its object can
    have gone, counts by its score; so does a box of the neighbour that the frame does not show.
    The mean over the neighbours; 0 for frames without any.

    Args:
        moments: when and where the N frames were taken.
        predictions: boxes that a user would see, of each frame.
        near: which frames and boxes are compared.
    """
    scenes, times, poses = moments.scene, moments.timestamp_ns, moments.global_from_ego
    total, count = np.zeros(len(moments)), np.zeros(len(moments))
    order = np.lexsort([times, scenes])
    for first, second in zip(order[:-1].tolist(), order[1:].tolist(), strict=True):
        gap_ns = int(times[second] - times[first])
        if scenes[first] != scenes[second] or gap_ns > near.gap_ns:
            continue
        reach_m = SAME_OBJECT_M + near.speed_mps * gap_ns / 1e9
        one, other = predictions[first], predictions[second]
        place_m = transform_points(invert(poses[second]) @ poses[first], one.center_m)
        rows, columns = match_centers(one, other, place_m, reach_m)
        lost = one.score.sum() - one.score[rows].sum()
        lost += other.score.sum() - other.score[columns].sum()
        total[[first, second]] += lost
        count[[first, second]] += 1
    return total / np.maximum(count, 1)
