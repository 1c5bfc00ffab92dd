"""What a frame probably holds: predictions, corrected by how they fared on labelled frames.

A young detector overlooks rare categories and takes them for others, but not without a trace: the
sums of its scores tell how many objects there are once they are held against labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from admlops.structures.boxes import Boxes

RIDGE = 1.0
"""Weight of the penalty, in frames: correction is weak where few labelled frames were predicted."""
MIN_JUDGED = 8
"""Labelled frames from which on predictions are corrected."""


@dataclass(frozen=True, slots=True)
class Content:
    """What N frames are expected to hold.

    Attributes:
        categories: K names.
        boxes: (N, K) float64, expected labels of each category, not negative.
        cost: (N,) float64, expected labels of all categories together: boxes to draw.
    """

    categories: tuple[str, ...]
    boxes: NDArray[np.float64]
    cost: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Judged:
    """M labelled frames with a model's predictions.

    Attributes:
        predictions: of each frame.
        labels: of each frame.
    """

    predictions: Sequence[Boxes]
    labels: Sequence[Boxes]


def expect_content(
    predictions: Sequence[Boxes],
    categories: Sequence[str],
    judged: Judged,
    scores: tuple[float, float],
) -> Content:
    """Return what frames probably hold.

    With enough judged frames, labels are regressed (ridge, linear) on the sums of scores and of
    squared scores of each category; else the sums of scores are taken as they are.

    Args:
        predictions: of the N frames.
        categories: what is counted.
        judged: labelled frames with predictions of the same model.
        scores: predictions below the first are ignored; from the second on they count as boxes
            to draw where nothing corrects them.
    """
    names = tuple(categories)
    min_score, box_score = scores
    features = sum_scores(predictions, names, min_score)
    if len(judged.labels) < MIN_JUDGED:
        drawn = [np.count_nonzero(boxes.score >= box_score) for boxes in predictions]
        return Content(names, features[:, : len(names)], np.array(drawn, np.float64))
    known = sum_scores(judged.predictions, names, min_score)
    target = np.column_stack(
        [
            count_labels(judged.labels, names),
            np.array([len(boxes) for boxes in judged.labels], np.float64),
        ]
    )
    expected = np.maximum(regress(known, target, features), 0.0)
    return Content(names, expected[:, :-1], expected[:, -1])


def sum_scores(
    predictions: Sequence[Boxes], categories: Sequence[str], min_score: float
) -> NDArray[np.float64]:
    """Return (N, 2 K): per category the sum of scores, then of squared scores."""
    sums = np.zeros((len(predictions), 2, len(categories)))
    for row, boxes in enumerate(predictions):
        for column, name in enumerate(categories):
            score = boxes.score[(boxes.category == name) & (boxes.score >= min_score)]
            sums[row, :, column] = score.sum(), np.square(score).sum()
    return sums.reshape(len(predictions), -1)


def count_labels(labels: Sequence[Boxes], categories: Sequence[str]) -> NDArray[np.float64]:
    """Return (N, K) how many labels of each category frames have."""
    counts = [[np.count_nonzero(boxes.category == name) for name in categories] for boxes in labels]
    return np.array(counts, np.float64).reshape(len(labels), len(categories))


def regress(
    known: NDArray[np.float64], target: NDArray[np.float64], asked: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (N, T) what targets probably are where the features are as asked.

    Ridge regression on standardized features, whose squares sum to about 1 per frame.

    Args:
        known: (M, F) features.
        target: (M, T) what belongs to them.
        asked: (N, F) features.
    """
    varies = known.std(axis=0) > 1e-9
    middle, deviation = known[:, varies].mean(axis=0), known[:, varies].std(axis=0)
    scale = deviation * np.sqrt(max(int(varies.sum()), 1))
    inside = (known[:, varies] - middle) / scale
    outside = (asked[:, varies] - middle) / scale
    mean = target.mean(axis=0)
    gram = inside.T @ inside + RIDGE * np.eye(inside.shape[1])
    return mean + outside @ np.linalg.solve(gram, inside.T @ (target - mean))


def balance_start(
    label_counts: Mapping[str, int], categories: Sequence[str]
) -> NDArray[np.float64]:
    """Return (K,) how many labels of each category there are."""
    return np.array([label_counts.get(name, 0) for name in categories], np.float64)
