"""What scores are worth: the share of boxes of a score that are right, from labelled frames.

Source: histogram binning (Zadrozny and Elkan, ICML 2001), made monotone by pooling adjacent
violators (Ayer et al., 1955), with Laplace's rule of succession, so that few boxes promise little.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from admlops.geometry.boxes import iou_bev
from admlops.structures.boxes import Boxes

BOXES_PER_BIN = 20


@dataclass(frozen=True, slots=True)
class Outcomes:
    """M boxes of labelled frames, and whether they were right.

    Attributes:
        category: (M,) object array of str.
        score: (M,).
        is_right: (M,) whether a label of the category is where the box is.
    """

    category: NDArray[np.object_]
    score: NDArray[np.float64]
    is_right: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Calibration:
    """What scores are worth, by category; scores of other categories stand for themselves.

    Attributes:
        curves: by category, (B,) rising scores and (B,) the share of boxes that are right there.
    """

    curves: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = field(
        default_factory=dict
    )

    def probability(self, boxes: Boxes) -> NDArray[np.float64]:
        """Return (N,) how probably each box is right."""
        result = boxes.score.astype(np.float64)
        for category, (scores, shares) in self.curves.items():
            rows = boxes.category == category
            result[rows] = np.interp(boxes.score[rows], scores, shares)
        return result


def find_right(boxes: Boxes, labels: Boxes, min_iou: Mapping[str, float]) -> NDArray[np.bool_]:
    """Return (N,) which boxes are right: each label by the best score that overlaps it enough.

    Args:
        boxes: with scores.
        labels: of the same frame.
        min_iou: overlap on the ground by category; "" is for all others.
    """
    overlaps = iou_bev(boxes.as_7(), labels.as_7())
    overlaps[boxes.category[:, None] != labels.category[None]] = 0.0
    is_right = np.zeros(len(boxes), bool)
    is_free = np.ones(len(labels), bool)
    for row in np.argsort(-boxes.score, kind="stable"):
        nearest = np.where(is_free, overlaps[row], -1.0)
        best = int(nearest.argmax()) if len(labels) else -1
        limit = min_iou.get(str(boxes.category[row]), min_iou.get("", 0.5))
        if best >= 0 and nearest[best] >= limit:
            is_free[best] = False
            is_right[row] = True
    return is_right


def calibrate(outcomes: Outcomes, min_boxes: int) -> Calibration:
    """Return what scores are worth in categories of which enough boxes were judged."""
    curves = {}
    for category in sorted(set(outcomes.category)):
        rows = outcomes.category == category
        if np.count_nonzero(rows) >= min_boxes:
            curves[category] = _curve(outcomes.score[rows], outcomes.is_right[rows])
    return Calibration(curves)


def _curve(
    score: NDArray[np.float64], is_right: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (B,) mean scores of bins of equal count and (B,) rising shares of right boxes."""
    order = np.argsort(score, kind="stable")
    bins = np.array_split(order, max(len(order) // BOXES_PER_BIN, 1))
    scores = np.array([score[rows].mean() for rows in bins])
    counts = np.array([len(rows) for rows in bins], np.float64)
    shares = make_monotone(np.array([is_right[rows].mean() for rows in bins]), counts)
    _, block = np.unique(shares, return_inverse=True)
    judged = np.bincount(block, counts)[block]
    return scores, np.maximum.accumulate((shares * judged + 1.0) / (judged + 2.0))


def make_monotone(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (N,) the values that never fall and are nearest by weighted squares."""
    blocks: list[tuple[float, float, int]] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        block = (value, weight, 1)
        while blocks and blocks[-1][0] >= block[0]:
            mean, mass, size = blocks.pop()
            total = mass + block[1]
            block = ((mean * mass + block[0] * block[1]) / total, total, size + block[2])
        blocks.append(block)
    return np.repeat([mean for mean, _, _ in blocks], [size for _, _, size in blocks])
