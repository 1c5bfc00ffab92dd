"""Average precision by the distance of centres, and the errors of what was found.

Source: nuScenes detection evaluation (Caesar et al., CVPR 2020), metric configuration
``detection_cvpr_2019``: recalls and precisions up to 0.1 are cut off, errors are taken at 2 m.
"""

import numpy as np
from numpy.typing import NDArray

from admlops.config import Config
from admlops.evaluation.measures import UNMATCHED, CategoryMatches
from admlops.geometry.pose import wrap_angle

DISTANCES_M = (0.5, 1.0, 2.0, 4.0)
ERROR_DISTANCE_M = 2.0
MIN_RECALL = 0.1
MIN_PRECISION = 0.1
_RECALLS = np.linspace(0.0, 1.0, 101)
_FIRST = round(100 * MIN_RECALL) + 1


class CentreDistanceResult(Config):
    """Average precision and errors of one category; shares, not percent."""

    category: str
    """Name of the category."""
    num_labels: int
    """Labels to be found."""
    distances_m: tuple[float, ...]
    """Distances of centres below which a prediction finds a label."""
    average_precision: tuple[float, ...]
    """By distance."""
    mean_average_precision: float
    """Mean over the distances."""
    translation_error_m: float
    """Mean distance of centres on the ground, at 2 m; 1 where nothing was found."""
    scale_error: float
    """Mean of 1 - IoU of the boxes once centred and turned alike."""
    orientation_error_rad: float
    """Mean smallest turn between the headings."""


def score_centre_distance(matches: CategoryMatches) -> CentreDistanceResult:
    """Score a category whose measures hold the metric "distance".

    Raises:
        ValueError: no measure of the matches is a distance.
    """
    rows = [row for row, item in enumerate(matches.measures) if item.metric == "distance"]
    if not rows:
        raise ValueError("the matches hold no measure by distance")
    distances_m = tuple(matches.measures[row].threshold for row in rows)
    num_labels = int(matches.counted.sum())
    precisions = tuple(_average_precision(matches.matches[row], num_labels) for row in rows)
    row = rows[distances_m.index(ERROR_DISTANCE_M)] if ERROR_DISTANCE_M in distances_m else rows[0]
    errors = _errors(matches, row, num_labels)
    return CentreDistanceResult(
        category=matches.measures[0].category,
        num_labels=num_labels,
        distances_m=distances_m,
        average_precision=precisions,
        mean_average_precision=float(np.mean(precisions)),
        translation_error_m=errors[0],
        scale_error=errors[1],
        orientation_error_rad=errors[2],
    )


def _recall_precision(
    found: NDArray[np.int32], num_labels: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    hits = np.cumsum(found >= 0)
    return hits / num_labels, hits / np.arange(1, len(found) + 1)


def _average_precision(found: NDArray[np.int32], num_labels: int) -> float:
    judged = found[found >= UNMATCHED]
    if num_labels == 0 or not (judged >= 0).any():
        return 0.0
    recall, precision = _recall_precision(judged, num_labels)
    sampled = np.interp(_RECALLS, recall, precision, right=0.0)[_FIRST:] - MIN_PRECISION
    return min(float(np.maximum(sampled, 0.0).mean() / (1.0 - MIN_PRECISION)), 1.0)


def _errors(matches: CategoryMatches, row: int, num_labels: int) -> tuple[float, float, float]:
    """Return translation, scale and orientation errors, means over the recalls reached."""
    found = matches.matches[row]
    judged = found >= UNMATCHED
    hit = found >= 0
    if num_labels == 0 or not hit.any():
        return 1.0, 1.0, 1.0
    recall, _ = _recall_precision(found[judged], num_labels)
    confidence = np.interp(_RECALLS, recall, matches.score[judged], right=0.0)
    reached = np.flatnonzero(confidence)
    last = int(reached[-1]) if len(reached) else 0
    if last < _FIRST:
        return 1.0, 1.0, 1.0
    label_7, box_7 = matches.label_7[found[hit]], matches.box_7[hit]
    errors = [
        np.hypot(label_7[:, 0] - box_7[:, 0], label_7[:, 1] - box_7[:, 1]),
        1.0 - _aligned_overlap(label_7[:, 3:6], box_7[:, 3:6]),
        np.abs(wrap_angle(label_7[:, 6] - box_7[:, 6])),
    ]
    scores = matches.score[hit]
    means = []
    for error in errors:
        running = np.cumsum(error) / np.arange(1, len(error) + 1)
        sampled = np.interp(confidence[::-1], scores[::-1], running[::-1])[::-1]
        means.append(float(sampled[_FIRST : last + 1].mean()))
    return means[0], means[1], means[2]


def _aligned_overlap(
    first_m: NDArray[np.float64], second_m: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (N,) IoU of boxes of these sizes with one centre and heading."""
    shared = np.minimum(first_m, second_m).prod(axis=1)
    return shared / (first_m.prod(axis=1) + second_m.prod(axis=1) - shared)
