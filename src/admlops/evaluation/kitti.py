"""KITTI's average precision, equal to the official evaluator's, on the CPU and in a stream.

Source: Geiger et al., "Are we ready for autonomous driving?", CVPR 2012, and the official object
evaluator; R40 is the mean of precision at 40 recalls without zero (Simonelli et al., 2019).
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from admlops.config import Config
from admlops.evaluation import kitti_matching as matching
from admlops.evaluation.flat_boxes import ALPHA_UNKNOWN, DONT_CARE, FlatBoxes

METRICS = ("2d", "bev", "3d")
DIFFICULTIES = ("easy", "moderate", "hard")
MIN_HEIGHT_PX = np.array([40.0, 25.0, 25.0])
MAX_OCCLUSION = np.array([0, 1, 2])
MAX_TRUNCATION = np.array([0.15, 0.3, 0.5])
KITTI_OVERLAPS = {"car": 0.7, "pedestrian": 0.5, "cyclist": 0.5}
KITTI_NEIGHBOURS = {"van": "car", "person_sitting": "pedestrian"}


class KittiProtocol(Config):
    """Which categories are scored, and how."""

    categories: tuple[str, ...] = ("car", "pedestrian", "cyclist")
    """Categories that are scored, lower case."""
    overlaps: dict[str, float] = Field(default_factory=lambda: dict(KITTI_OVERLAPS))
    """Overlap that a match must exceed, by category; 0.5 where none is given."""
    neighbours: dict[str, str] = Field(default_factory=lambda: dict(KITTI_NEIGHBOURS))
    """Categories near a scored one: finding them is neither right nor wrong."""

    def overlap_of(self, category: str) -> float:
        """Return the overlap that a match of a category must exceed."""
        return self.overlaps.get(category, 0.5)


@dataclass(frozen=True, slots=True)
class KittiResult:
    """Precision curves of all categories, metrics and difficulties.

    Attributes:
        categories: (C) names.
        precision: (C, 4, 3, 41) precision at recall 0, 1/40, ... 1 in the image, on the ground, in
            space, and orientation similarity; easy, moderate, hard. NaN in the image where no
            label has a 2D box, and for orientation also where a prediction has no angle.
        num_labels: (C, 3) counted labels.
        num_predictions: (C,) predictions.
        num_frames: frames that were evaluated.
    """

    categories: tuple[str, ...]
    precision: NDArray[np.float64]
    num_labels: NDArray[np.int64]
    num_predictions: NDArray[np.int64]
    num_frames: int

    def average_precision(self, num_recalls: int) -> NDArray[np.float64]:
        """Return (C, 4, 3) average precision in percent over 40 or 11 recalls."""
        picked = self.precision[..., 1:] if num_recalls == 40 else self.precision[..., ::4]
        return 100.0 * picked.mean(axis=-1)

    def to_json_dict(self) -> dict[str, Any]:
        """Return ``{category: {metric: {"R40": [easy, moderate, hard], "R11": [...]}}}``."""
        r40, r11 = self.average_precision(40), self.average_precision(11)
        return {
            category: {
                metric: {"R40": _plain(r40[row, column]), "R11": _plain(r11[row, column])}
                for column, metric in enumerate((*METRICS, "aos"))
            }
            for row, category in enumerate(self.categories)
        }


def _plain(values: NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), 4) for value in values]


@dataclass(frozen=True, slots=True)
class _Chunk:
    """What one category keeps of a chunk of frames.

    Attributes:
        num_labels: (3,) counted labels by difficulty.
        num_predictions: predictions of the category.
        scores: (M,) of the predictions of the category, and of those too small to judge.
        prediction_states: (3, M).
        in_stuff: (M, 3).
        pairs: (P, 4) metric, label, prediction, overlap; numbered within the chunk.
        similarity: (P,) orientation similarity.
        label_states: (3, P) of the pair's label.
    """

    num_labels: NDArray[np.int64]
    num_predictions: int
    scores: NDArray[np.float64]
    prediction_states: NDArray[np.int64]
    in_stuff: NDArray[np.bool_]
    pairs: NDArray[np.float64]
    similarity: NDArray[np.float64]
    label_states: NDArray[np.int64]


@dataclass(slots=True)
class KittiEvaluator:
    """Takes frames chunk by chunk, keeps only what can still matter, and gives the result.

    Attributes:
        protocol: what is scored, and how.
    """

    protocol: KittiProtocol
    _chunks: list[list[_Chunk]] = field(default_factory=list)
    _num_frames: int = 0
    _has_angles: bool = True
    _has_labels: bool = False
    _has_image_boxes: bool = False

    def add(self, labels: FlatBoxes, predictions: FlatBoxes) -> None:
        """Add the labels and predictions of the same frames.

        Raises:
            ValueError: the frames differ.
        """
        if labels.frame_names != predictions.frame_names:
            raise ValueError("labels and predictions are not of the same frames")
        self._num_frames += labels.num_frames
        self._has_angles &= not bool((predictions.alpha_rad == ALPHA_UNKNOWN).any())
        is_label = labels.look_up({DONT_CARE: 0}, 1) == 1
        self._has_labels |= bool(is_label.any())
        self._has_image_boxes |= bool(np.isfinite(labels.box2d_px[is_label]).any())
        shared = _Shared.build(labels, predictions)
        self._chunks.append([_reduce(shared, self.protocol, c) for c in self.protocol.categories])

    def result(self) -> KittiResult:
        """Return the precision curves of everything added so far."""
        categories = self.protocol.categories
        precision = np.zeros((len(categories), 4, 3, matching.NUM_RECALLS))
        num_labels = np.zeros((len(categories), 3), dtype=np.int64)
        num_predictions = np.zeros(len(categories), dtype=np.int64)
        for row in range(len(categories)):
            chunks = [chunk[row] for chunk in self._chunks]
            if not chunks:
                continue
            whole = _join(chunks)
            num_labels[row] = whole.num_labels
            num_predictions[row] = whole.num_predictions
            for metric in range(3):
                curves = _curves(whole, metric)
                precision[row, metric] = curves[0]
                if metric == 0:
                    precision[row, 3] = curves[1] if self._has_angles else np.nan
        if self._has_labels and not self._has_image_boxes:
            precision[:, [0, 3]] = np.nan
        return KittiResult(categories, precision, num_labels, num_predictions, self._num_frames)


@dataclass(frozen=True, slots=True)
class _Shared:
    """What all categories read of one chunk."""

    labels: FlatBoxes
    predictions: FlatBoxes
    offsets: NDArray[np.int64]
    labels_11: NDArray[np.float64]
    predictions_11: NDArray[np.float64]
    too_hard: NDArray[np.bool_]
    too_small: NDArray[np.bool_]
    region_offsets: NDArray[np.int64]
    regions_11: NDArray[np.float64]

    @classmethod
    def build(cls, labels: FlatBoxes, predictions: FlatBoxes) -> "_Shared":
        labels_11 = np.column_stack([labels.boxes_7, labels.box2d_px])
        height_px = labels.box2d_px[:, 3] - labels.box2d_px[:, 1]
        too_hard = (
            (labels.occlusion > MAX_OCCLUSION[:, None])
            | (labels.truncation > MAX_TRUNCATION[:, None])
            | (height_px < MIN_HEIGHT_PX[:, None])
        )
        height_px = np.abs(predictions.box2d_px[:, 3] - predictions.box2d_px[:, 1])
        is_region = labels.look_up({DONT_CARE: 1}, 0) == 1
        regions_11 = labels_11[is_region]
        regions_11[:, 3:5] = np.abs(regions_11[:, 3:5])
        before = np.concatenate([[0], np.cumsum(is_region)])
        return cls(
            labels=labels,
            predictions=predictions,
            offsets=np.column_stack([labels.offsets, predictions.offsets]),
            labels_11=labels_11,
            predictions_11=np.column_stack([predictions.boxes_7, predictions.box2d_px]),
            too_hard=too_hard,
            too_small=height_px < MIN_HEIGHT_PX[:, None],
            region_offsets=np.column_stack([before[labels.offsets], predictions.offsets]),
            regions_11=regions_11,
        )


def _reduce(shared: _Shared, protocol: KittiProtocol, category: str) -> _Chunk:
    """Return what a chunk's frames mean for one category."""
    near = {name: matching.IGNORED for name, of in protocol.neighbours.items() if of == category}
    label_roles = shared.labels.look_up(near | {category: matching.COUNTED}, matching.FOREIGN)
    own = shared.predictions.look_up({category: matching.COUNTED}, matching.FOREIGN)
    states = np.where(shared.too_small, matching.IGNORED, own)
    roles = np.where(own == matching.COUNTED, matching.COUNTED, states.max(axis=0))
    minimum = np.full(3, protocol.overlap_of(category))
    pairs = matching.find_pairs(
        shared.offsets, shared.labels_11, label_roles, shared.predictions_11, roles, minimum
    )
    stuff = matching.find_stuff(
        shared.region_offsets, shared.regions_11, shared.predictions_11, roles, minimum
    )
    label_of, prediction_of = pairs[:, 1].astype(np.int64), pairs[:, 2].astype(np.int64)
    turn_rad = shared.labels.alpha_rad[label_of] - shared.predictions.alpha_rad[prediction_of]
    label_states = np.where(
        (label_roles == matching.COUNTED) & shared.too_hard, matching.IGNORED, label_roles
    )
    kept = roles != matching.FOREIGN
    pairs[:, 2] = (np.cumsum(kept) - 1)[prediction_of]
    return _Chunk(
        num_labels=np.count_nonzero(label_states == matching.COUNTED, axis=1),
        num_predictions=int(np.count_nonzero(own == matching.COUNTED)),
        scores=shared.predictions.score[kept],
        prediction_states=states[:, kept].astype(np.int8),
        in_stuff=stuff[kept],
        pairs=pairs,
        similarity=(1.0 + np.cos(turn_rad)) / 2.0,
        label_states=label_states[:, label_of].astype(np.int8),
    )


def _join(chunks: list[_Chunk]) -> _Chunk:
    """Return one chunk of all, with labels and predictions numbered through."""
    pairs = []
    label_base, prediction_base = 0.0, 0
    for chunk in chunks:
        moved = chunk.pairs + np.array([0.0, label_base, prediction_base, 0.0])
        label_base = max(label_base, moved[:, 1].max(initial=0.0) + 1.0)
        prediction_base += len(chunk.scores)
        pairs.append(moved)
    return _Chunk(
        num_labels=np.sum([chunk.num_labels for chunk in chunks], axis=0),
        num_predictions=sum(chunk.num_predictions for chunk in chunks),
        scores=np.concatenate([chunk.scores for chunk in chunks]),
        prediction_states=np.concatenate([chunk.prediction_states for chunk in chunks], axis=1),
        in_stuff=np.concatenate([chunk.in_stuff for chunk in chunks]),
        pairs=np.concatenate(pairs),
        similarity=np.concatenate([chunk.similarity for chunk in chunks]),
        label_states=np.concatenate([chunk.label_states for chunk in chunks], axis=1),
    )


def _curves(whole: _Chunk, metric: int) -> NDArray[np.float64]:
    """Return (2, 3, 41) precision and orientation similarity by difficulty."""
    curves = np.zeros((2, 3, matching.NUM_RECALLS))
    chosen = whole.pairs[:, 0] == metric
    pairs = whole.pairs[chosen]
    label_of = pairs[:, 1]
    starts = np.flatnonzero(np.diff(label_of, prepend=-1.0))
    firsts = np.append(starts, len(pairs)).astype(np.int64)
    predictions = pairs[:, 2].astype(np.int64)
    overlaps, similarity = np.ascontiguousarray(pairs[:, 3]), whole.similarity[chosen]
    in_stuff = np.ascontiguousarray(whole.in_stuff[:, metric])
    for level in range(3):
        label_states = whole.label_states[level][chosen][starts]
        states = whole.prediction_states[level]
        found = matching.collect_scores(firsts, label_states, predictions, states, whole.scores)
        found = -np.sort(-found)
        thresholds = matching.choose_thresholds(found, int(whole.num_labels[level]))
        counts = matching.count_matches(
            (firsts, predictions, overlaps, similarity),
            label_states,
            states,
            whole.scores,
            in_stuff,
            thresholds,
        )
        judged = np.maximum(counts[:, 0] + counts[:, 1], 1.0)
        steps = len(thresholds)
        curves[0, level, :steps] = counts[:, 0] / judged
        curves[1, level, :steps] = counts[:, 2] / judged
    return np.maximum.accumulate(curves[..., ::-1], axis=-1)[..., ::-1]
