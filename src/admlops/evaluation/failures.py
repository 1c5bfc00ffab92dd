"""Failures: the labels that were missed and the confident predictions that are wrong."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from admlops.evaluation.measures import UNMATCHED, CategoryMatches
from admlops.evaluation.result import Failure
from admlops.structures.frame import FrameKey


class FailureList:
    """Counts failures and keeps the worst of each category and kind.

    The first measure of a category with the given metric tells what failed.
    """

    def __init__(self, metric: str, min_score: float, max_per_kind: int) -> None:
        self.metric = metric
        self.num_missed = 0
        self.num_false_positives = 0
        self._min_score, self._max_kept = min_score, max_per_kind
        self._kept: dict[tuple[str, str], list[Failure]] = {}

    def add(self, matches: CategoryMatches, frames: Sequence[FrameKey | str]) -> None:
        """Add one category of a chunk of frames."""
        metrics = [measure.metric for measure in matches.measures]
        if self.metric not in metrics:
            return
        row = metrics.index(self.metric)
        missed = missed_labels(matches, row, self._min_score)
        wrong = false_positives(matches, row, self._min_score)
        self.num_missed += len(missed)
        self.num_false_positives += len(wrong)
        category = matches.measures[row].category
        missed = self._worth_keeping((category, "missed"), missed, matches.label_points)
        self._keep((category, "missed"), describe_missed(matches, missed, frames))
        wrong = self._worth_keeping((category, "false_positive"), wrong, matches.score)
        self._keep((category, "false_positive"), describe_false_positives(matches, wrong, frames))

    def _worth_keeping(
        self,
        kind: tuple[str, str],
        rows: NDArray[np.int64],
        weight: NDArray[np.int32] | NDArray[np.float64],
    ) -> NDArray[np.int64]:
        """Return the rows, worst first, that can still be among the worst."""
        rows = rows[: self._max_kept]
        kept = self._kept.get(kind, [])
        if len(kept) < self._max_kept:
            return rows
        return rows[weight[rows] >= _weight(kept[-1])] if kept else rows[:0]

    def _keep(self, kind: tuple[str, str], failures: list[Failure]) -> None:
        kept = self._kept.setdefault(kind, [])
        kept += failures
        kept.sort(key=_weight, reverse=True)
        del kept[self._max_kept :]

    def failures(self) -> tuple[Failure, ...]:
        """Return the worst failures, by category."""
        return tuple(failure for kept in self._kept.values() for failure in kept)


def missed_labels(matches: CategoryMatches, row: int, min_score: float) -> NDArray[np.int64]:
    """Return the labels that no prediction of at least `min_score` finds, most points first."""
    found = matches.matches[row]
    missed = matches.counted.copy()
    missed[found[(found >= 0) & (matches.score >= min_score)]] = False
    labels = np.flatnonzero(missed)
    return labels[np.argsort(-matches.label_points[labels], kind="stable")]


def false_positives(matches: CategoryMatches, row: int, min_score: float) -> NDArray[np.int64]:
    """Return the predictions of at least `min_score` that find nothing, best score first."""
    wrong = np.flatnonzero((matches.matches[row] == UNMATCHED) & (matches.score >= min_score))
    return wrong[np.argsort(-matches.score[wrong], kind="stable")]


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


def _weight(failure: Failure) -> float:
    """Return how bad a failure is among those of its kind: points missed, or false confidence."""
    return failure.num_points if failure.score is None else failure.score
