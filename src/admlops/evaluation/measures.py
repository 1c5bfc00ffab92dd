"""What is measured: a category, how near a prediction must come, and the table of matches."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from admlops.evaluation.flat_boxes import DONT_CARE, FlatBoxes
from admlops.evaluation.score_matching import find_covered, match_by_score

Metric = Literal["2d", "bev", "3d", "distance"]
METRIC_CODES: dict[Metric, int] = {"2d": 0, "bev": 1, "3d": 2, "distance": 3}
UNMATCHED, FORGIVEN = -1, -2
COVERED_SHARE = 0.5
"""Share of a prediction's image box inside an ignore region from which on it is forgiven."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One way to tell whether a prediction found a label.

    Attributes:
        category: what is looked for.
        metric: overlap in the image, on the ground, in space; or distance of centres.
        threshold: overlap to exceed, or distance in metres to stay below.
    """

    category: str
    metric: Metric
    threshold: float

    @property
    def name(self) -> str:
        """The measure as it is written in scores, for example "car_bev_ap50"."""
        if self.metric == "distance":
            return f"{self.category}_distance_ap_{self.threshold:g}m"
        return f"{self.category}_{self.metric}_ap{round(100 * self.threshold)}"


@dataclass(frozen=True, slots=True)
class CategoryMatches:
    """Labels and predictions of one category in some frames, and which found which.

    Attributes:
        measures: (K) the ways of matching.
        label_frame: (N,) int32 frame number.
        label_7: (N, 7) boxes in the ego frame.
        label_occlusion: (N,) int8.
        label_points: (N,) int32, -1 unknown.
        counted: (N,) bool; the others (neighbours, labels without points) are neither hit nor miss.
        frame: (M,) int32 frame number of each prediction; best score first within a frame.
        box_7: (M, 7).
        points: (M,) int32, -1 unknown.
        score: (M,).
        matches: (K, M) int32 number of the label found, `UNMATCHED`, or `FORGIVEN`.
    """

    measures: tuple[Measure, ...]
    label_frame: NDArray[np.int32]
    label_7: NDArray[np.float64]
    label_occlusion: NDArray[np.int8]
    label_points: NDArray[np.int32]
    counted: NDArray[np.bool_]
    frame: NDArray[np.int32]
    box_7: NDArray[np.float64]
    points: NDArray[np.int32]
    score: NDArray[np.float64]
    matches: NDArray[np.int32]

    def label_range_m(self) -> NDArray[np.float64]:
        """Return (N,) distance of each label's centre on the ground."""
        return np.hypot(self.label_7[:, 0], self.label_7[:, 1])

    def range_m(self) -> NDArray[np.float64]:
        """Return (M,) distance of each prediction's centre on the ground."""
        return np.hypot(self.box_7[:, 0], self.box_7[:, 1])


@dataclass(frozen=True, slots=True)
class Matcher:
    """Matches predictions with labels, best score first.

    Attributes:
        measures: the ways of matching.
        neighbours: category that is near a measured one, by name.
        min_points: labels that are known to hold fewer lidar points are not counted.
        region_m: smallest x y and largest x y in the ego frame; outside of it labels are not
            counted and predictions that find nothing are forgiven. None is everywhere.
    """

    measures: tuple[Measure, ...]
    neighbours: dict[str, str]
    min_points: int = 0
    region_m: tuple[float, float, float, float] | None = None

    @property
    def categories(self) -> list[str]:
        """The measured categories, in the order of the measures."""
        return list(dict.fromkeys(measure.category for measure in self.measures))

    def measures_of(self, category: str) -> tuple[Measure, ...]:
        """Return the measures of a category."""
        return tuple(item for item in self.measures if item.category == category)

    def match(self, labels: FlatBoxes, predictions: FlatBoxes) -> list[CategoryMatches]:
        """Match the labels and predictions of the same frames, category by category."""
        return [self._match(category, labels, predictions) for category in self.categories]

    def _match(self, category: str, labels: FlatBoxes, predictions: FlatBoxes) -> CategoryMatches:
        near = {name: 0 for name, of in self.neighbours.items() if of == category}
        role = labels.look_up(near | {category: 1}, -1)
        chosen_labels = np.flatnonzero(role >= 0)
        label_frame = labels.frame_of_box()[chosen_labels]
        points = labels.num_points[chosen_labels]
        counted = (role[chosen_labels] == 1) & ((points < 0) | (points >= self.min_points))
        counted &= self._inside(labels.boxes_7[chosen_labels])
        own = np.flatnonzero(predictions.look_up({category: 1}, 0) == 1)
        frame = predictions.frame_of_box()[own]
        order = np.lexsort((-predictions.score[own], frame))
        own, frame = own[order], frame[order]
        label_11, own_11 = _as_11(labels, chosen_labels), _as_11(predictions, own)
        offsets = _offsets(labels.num_frames, label_frame, frame)
        forgiven = _covered(labels, own_11, frame) | ~self._inside(own_11)
        measures = self.measures_of(category)
        matches = np.empty((len(measures), len(own)), dtype=np.int32)
        for row, measure in enumerate(measures):
            matches[row] = match_by_score(
                offsets,
                label_11,
                counted,
                own_11,
                METRIC_CODES[measure.metric],
                measure.threshold,
            )
        matches[(matches == UNMATCHED) & forgiven] = FORGIVEN
        return CategoryMatches(
            measures=measures,
            label_frame=label_frame.astype(np.int32),
            label_7=label_11[:, :7],
            label_occlusion=labels.occlusion[chosen_labels].astype(np.int8),
            label_points=points.astype(np.int32),
            counted=counted,
            frame=frame.astype(np.int32),
            box_7=own_11[:, :7],
            points=predictions.num_points[own].astype(np.int32),
            score=predictions.score[own],
            matches=matches,
        )

    def _inside(self, boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return (N,) whether the centres of boxes are in the region."""
        if self.region_m is None:
            return np.ones(len(boxes), dtype=np.bool_)
        low, high = np.array(self.region_m[:2]), np.array(self.region_m[2:])
        inside = (boxes[:, :2] >= low) & (boxes[:, :2] <= high)
        return np.asarray(inside.all(axis=1), dtype=np.bool_)


def _as_11(boxes: FlatBoxes, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.column_stack([boxes.boxes_7[rows], boxes.box2d_px[rows]])


def _offsets(
    num_frames: int, first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return (F + 1, 2) first row of each frame, for two ascending lists of frame numbers."""
    frames = np.arange(num_frames + 1)
    return np.column_stack([np.searchsorted(first, frames), np.searchsorted(second, frames)])


def _covered(
    labels: FlatBoxes, predictions_11: NDArray[np.float64], frame: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return (M,) whether a prediction lies in an ignore region of the image."""
    regions = np.flatnonzero(labels.look_up({DONT_CARE: 1}, 0) == 1)
    offsets = _offsets(labels.num_frames, labels.frame_of_box()[regions], frame)
    return find_covered(offsets, labels.box2d_px[regions], predictions_11[:, 7:], COVERED_SHARE)
