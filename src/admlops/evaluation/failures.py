"""Failures: the labels that were missed and the confident predictions that are wrong."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from admlops.evaluation.measures import UNMATCHED, CategoryMatches
from admlops.evaluation.result import Failure
from admlops.structures.frame import FrameKey


def missed_labels(matches: CategoryMatches, row: int, min_score: float) -> NDArray[np.int64]:
    """Return the labels that no prediction of at least `min_score` finds, most points first."""
    found = matches.matches[row]
    missed = matches.counted.copy()
    missed[found[(found >= 0) & (matches.score >= min_score)]] = False
    labels = np.flatnonzero(missed)
    return labels[np.argsort(-matches.label_points[labels], kind="stable")]


def false_positives(matches: CategoryMatches, row: int, min_score: float) -> NDArray[np.int64]:
    """Return the predictions of at least `min_score` that find nothing, best score first."""
    return np.flatnonzero((matches.matches[row] == UNMATCHED) & (matches.score >= min_score))


def describe_missed(
    matches: CategoryMatches, labels: NDArray[np.int64], frames: Sequence[FrameKey | str]
) -> list[Failure]:
    """Return missed labels as they are written."""
    range_m = matches.label_range_m()
    return [
        _describe(
            frames[matches.label_frame[label]],
            matches.label_7[label],
            kind="missed",
            category=matches.measures[0].category,
            range_m=round(float(range_m[label]), 3),
            num_points=int(matches.label_points[label]),
        )
        for label in labels
    ]


def describe_false_positives(
    matches: CategoryMatches, predictions: NDArray[np.int64], frames: Sequence[FrameKey | str]
) -> list[Failure]:
    """Return wrong predictions as they are written."""
    range_m = matches.range_m()
    return [
        _describe(
            frames[matches.frame[prediction]],
            matches.box_7[prediction],
            kind="false_positive",
            category=matches.measures[0].category,
            range_m=round(float(range_m[prediction]), 3),
            score=round(float(matches.score[prediction]), 6),
            num_points=int(matches.points[prediction]),
        )
        for prediction in predictions
    ]


def _describe(
    frame: FrameKey | str,
    box_7: NDArray[np.float64],
    **values: str | float,
) -> Failure:
    if isinstance(frame, FrameKey):
        values |= {"log": frame.log, "scene": frame.scene, "timestamp_ns": frame.timestamp_ns}
    row = tuple(round(float(value), 4) for value in box_7)
    return Failure.parse({"frame": str(frame), "box_7": row, **values})
