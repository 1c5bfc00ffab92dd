"""What is kept of every label and prediction of a category until all frames have been read."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from admlops.evaluation.frame_set import FrameSet
from admlops.evaluation.measures import UNMATCHED, CategoryMatches, Measure
from admlops.evaluation.slices import Slice, SliceConfig, make_slices
from admlops.evaluation.spool import Rows, SortedRows, Spool
from admlops.geometry.pose import wrap_angle

HIT = 0
"""In the field "found": a prediction that found a label; others are as in `CategoryMatches`."""
ERROR_DISTANCE_M = 2.0
"""The distance of centres at which the errors of what was found are taken, where it is measured."""

_LABEL_TYPE = np.dtype(
    [("frame", "u8"), ("tags", "i4"), ("range", "i1"), ("points", "i1"), ("occlusion", "i1")]
)


def _prediction_type(num_measures: int) -> np.dtype[np.void]:
    per_measure = ("found", "label_range", "label_points", "label_occlusion")
    return np.dtype(
        [
            ("score", "f8"),
            ("frame", "u8"),
            ("tags", "i4"),
            ("range", "i1"),
            ("points", "i1"),
            *((name, "i1", (num_measures,)) for name in per_measure),
            ("errors", "f8", (3,)),
        ]
    )


class CategoryRecords:
    """All labels and predictions of one category, a few dozen bytes each, not all in memory.

    Boxes are reduced to the slices that they belong to and, for predictions that found a label, to
    their errors: translation in metres, scale (1 - IoU once aligned), orientation in radians.
    """

    def __init__(self, measures: tuple[Measure, ...], slices: SliceConfig) -> None:
        self.measures = measures
        self.num_labels = 0
        self.num_judged = np.zeros(len(measures), dtype=np.int64)
        self.num_hits = np.zeros(len(measures), dtype=np.int64)
        self._config = slices
        self._labels = Spool()
        self._predictions = SortedRows(_prediction_type(len(measures)))

    @property
    def category(self) -> str:
        """What is looked for."""
        return self.measures[0].category

    def add(
        self,
        matches: CategoryMatches,
        frames: NDArray[np.uint64],
        tag_sets: NDArray[np.int32],
    ) -> None:
        """Add a chunk.

        Args:
            matches: of the chunk.
            frames: (F,) by which each frame is known.
            tag_sets: (F,) number of each frame's set of tags.
        """
        labels = np.zeros(len(matches.counted), dtype=_LABEL_TYPE)
        labels["frame"] = frames[matches.label_frame]
        labels["tags"] = tag_sets[matches.label_frame]
        labels["range"] = self._config.range_bin(matches.label_range_m())
        labels["points"] = self._config.points_bin(matches.label_points)
        labels["occlusion"] = matches.label_occlusion
        self.num_labels += int(matches.counted.sum())
        self._labels.append(labels[matches.counted])
        self._predictions.add(self._predicted(matches, labels, frames, tag_sets))

    def _predicted(
        self,
        matches: CategoryMatches,
        labels: Rows,
        frames: NDArray[np.uint64],
        tag_sets: NDArray[np.int32],
    ) -> Rows:
        rows = np.zeros(len(matches.score), dtype=_prediction_type(len(self.measures)))
        rows["score"] = matches.score
        rows["frame"] = frames[matches.frame]
        rows["tags"] = tag_sets[matches.frame]
        rows["range"] = self._config.range_bin(matches.range_m())
        rows["points"] = self._config.points_bin(matches.points)
        found = matches.matches.T
        rows["found"] = np.minimum(found, HIT)
        hit = found >= 0
        for name in ("range", "points", "occlusion"):
            rows[f"label_{name}"][hit] = labels[name][found[hit]]
        self.num_hits += hit.sum(axis=0)
        self.num_judged += (found >= UNMATCHED).sum(axis=0)
        row = self.error_row()
        if row is not None:
            found_2m = hit[:, row]
            rows["errors"][found_2m] = _errors(matches, found[found_2m, row], found_2m)
        return rows

    def distance_rows(self) -> list[int]:
        """Return which measures are distances of centres."""
        return [row for row, item in enumerate(self.measures) if item.metric == "distance"]

    def error_row(self) -> int | None:
        """Return the measure at which errors are taken, if one is a distance."""
        rows = self.distance_rows()
        exact = [row for row in rows if self.measures[row].threshold == ERROR_DISTANCE_M]
        return next(iter(exact or rows), None)

    def slices(self, frames: FrameSet) -> list[Slice]:
        """Return the slices, when all frames were added."""
        return list(make_slices(frames.tag_sets, self._config))

    def labels(self) -> Iterator[Rows]:
        """Yield the labels to be found, chunk by chunk."""
        return (labels for (labels,) in self._labels)

    def predictions(self) -> Iterator[Rows]:
        """Yield the predictions, best score first, block by block."""
        return self._predictions.blocks()


def _errors(
    matches: CategoryMatches, labels: NDArray[np.int32], predictions: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return (H, 3) errors of the predictions that found these labels."""
    label_7, box_7 = matches.label_7[labels], matches.box_7[predictions]
    shift_m = np.hypot(label_7[:, 0] - box_7[:, 0], label_7[:, 1] - box_7[:, 1])
    scale = 1.0 - _aligned_overlap(label_7[:, 3:6], box_7[:, 3:6])
    turn_rad = np.abs(wrap_angle(label_7[:, 6] - box_7[:, 6]))
    return np.column_stack([shift_m, scale, turn_rad])


def _aligned_overlap(
    first_m: NDArray[np.float64], second_m: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (N,) IoU of boxes of these sizes with one centre and heading."""
    shared = np.minimum(first_m, second_m).prod(axis=1)
    return shared / (first_m.prod(axis=1) + second_m.prod(axis=1) - shared)
