"""KITTI's average precision, equal to the official evaluator's, on the CPU and in a stream.

Source: Geiger et al., "Are we ready for autonomous driving?", CVPR 2012, and the official object
evaluator; R40 is the mean of precision at 40 recalls without zero (Simonelli et al., 2019).
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from admlops.config import Config
from admlops.evaluation import kitti_matching as matching
from admlops.evaluation.flat_boxes import ALPHA_UNKNOWN, DONT_CARE, FlatBoxes
from admlops.evaluation.spool import SortedRows, Spool

METRICS = ("2d", "bev", "3d")
DIFFICULTIES = ("easy", "moderate", "hard")
MIN_HEIGHT_PX = np.array([40.0, 25.0, 25.0])
MAX_OCCLUSION = np.array([0, 1, 2])
MAX_TRUNCATION = np.array([0.15, 0.3, 0.5])
_SCORE_TYPE = np.dtype([("score", "f8")])
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


class KittiEvaluator:
    """Takes frames chunk by chunk, keeps only what can still matter, and gives the result.

    Recalls are known when all frames are: until then what is kept goes to temporary files.

    Attributes:
        protocol: what is scored, and how.
    """

    def __init__(self, protocol: KittiProtocol) -> None:
        self.protocol = protocol
        self._categories = [_Category(name) for name in protocol.categories]
        self._num_frames = 0
        self._has_angles = True
        self._has_labels = False
        self._has_image_boxes = False

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
        for category in self._categories:
            category.add(*_reduce(shared, self.protocol, category.name))

    def result(self) -> KittiResult:
        """Return the precision curves of everything added so far."""
        precision = np.stack([category.curves() for category in self._categories])
        if not self._has_angles:
            precision[:, 3] = np.nan
        if self._has_labels and not self._has_image_boxes:
            precision[:, [0, 3]] = np.nan
        return KittiResult(
            categories=self.protocol.categories,
            precision=precision,
            num_labels=np.stack([category.num_labels for category in self._categories]),
            num_predictions=np.array([item.num_predictions for item in self._categories]),
            num_frames=self._num_frames,
        )


@dataclass(frozen=True, slots=True)
class _Chunk:
    """What one category keeps of a chunk of frames.

    Attributes:
        scores: (M,) of the predictions of the category, and of those too small to judge.
        prediction_states: (3, M) by difficulty.
        in_stuff: (M, 3) by metric.
        pairs: (P, 4) metric, label, prediction, overlap; numbered within the chunk.
        similarity: (P,) orientation similarity.
        label_states: (3, P) of the pair's label.
    """

    scores: NDArray[np.float64]
    prediction_states: NDArray[np.int8]
    in_stuff: NDArray[np.bool_]
    pairs: NDArray[np.float64]
    similarity: NDArray[np.float64]
    label_states: NDArray[np.int8]

    def of_metric(self, metric: int) -> "_MetricPairs":
        """Return the pairs of a metric, label by label."""
        chosen = self.pairs[:, 0] == metric
        pairs = self.pairs[chosen]
        starts = np.flatnonzero(np.diff(pairs[:, 1], prepend=-1.0))
        return _MetricPairs(
            firsts=np.append(starts, len(pairs)).astype(np.int64),
            predictions=pairs[:, 2].astype(np.int64),
            overlaps=np.ascontiguousarray(pairs[:, 3]),
            similarity=self.similarity[chosen],
            label_states=self.label_states[:, chosen][:, starts],
            in_stuff=np.ascontiguousarray(self.in_stuff[:, metric]),
        )


@dataclass(frozen=True, slots=True)
class _MetricPairs:
    """The pairs of one metric in a chunk; see `kitti_matching.count_matches`."""

    firsts: NDArray[np.int64]
    predictions: NDArray[np.int64]
    overlaps: NDArray[np.float64]
    similarity: NDArray[np.float64]
    label_states: NDArray[np.int8]
    in_stuff: NDArray[np.bool_]


class _Category:
    """One category: its chunks, and the scores of true positives by metric and difficulty."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.num_labels = np.zeros(3, dtype=np.int64)
        self.num_predictions = 0
        self._chunks = Spool()
        self._found = {
            (metric, level): SortedRows(_SCORE_TYPE) for metric in range(3) for level in range(3)
        }

    def add(self, chunk: _Chunk, num_labels: NDArray[np.int64], num_predictions: int) -> None:
        """Add a chunk, with its counted labels by difficulty and its predictions."""
        self.num_labels += num_labels
        self.num_predictions += num_predictions
        for metric in range(3):
            pairs = chunk.of_metric(metric)
            for level in range(3):
                found = matching.collect_scores(
                    pairs.firsts,
                    pairs.label_states[level],
                    pairs.predictions,
                    chunk.prediction_states[level],
                    chunk.scores,
                )
                self._found[metric, level].add(found.view(_SCORE_TYPE))
        self._chunks.append(*(getattr(chunk, item.name) for item in fields(_Chunk)))

    def curves(self) -> NDArray[np.float64]:
        """Return (4, 3, 41) precision by metric and difficulty; then orientation similarity."""
        thresholds = {key: self._thresholds(*key) for key in self._found}
        counts = {key: np.zeros((len(values), 3)) for key, values in thresholds.items()}
        for arrays in self._chunks:
            chunk = _Chunk(*arrays)
            for metric in range(3):
                pairs = chunk.of_metric(metric)
                for level in range(3):
                    counts[metric, level] += matching.count_matches(
                        (pairs.firsts, pairs.predictions, pairs.overlaps, pairs.similarity),
                        pairs.label_states[level],
                        chunk.prediction_states[level],
                        chunk.scores,
                        pairs.in_stuff,
                        thresholds[metric, level],
                    )
        curves = np.zeros((4, 3, matching.NUM_RECALLS))
        for (metric, level), values in counts.items():
            judged = np.maximum(values[:, 0] + values[:, 1], 1.0)
            curves[metric, level, : len(values)] = values[:, 0] / judged
            if metric == 0:
                curves[3, level, : len(values)] = values[:, 2] / judged
        return np.maximum.accumulate(curves[..., ::-1], axis=-1)[..., ::-1]

    def _thresholds(self, metric: int, level: int) -> NDArray[np.float64]:
        """Return the at most 41 scores at which recall comes closest to 0, 1/40, ... 1."""
        found = self._found[metric, level]
        ranks = matching.choose_ranks(len(found), int(self.num_labels[level]))
        thresholds = np.empty(len(ranks))
        start = 0
        for block in found.blocks():
            inside = (ranks >= start) & (ranks < start + len(block))
            thresholds[inside] = block["score"][ranks[inside] - start]
            start += len(block)
        return thresholds


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


def _reduce(
    shared: _Shared, protocol: KittiProtocol, category: str
) -> tuple[_Chunk, NDArray[np.int64], int]:
    """Return what frames mean for one category, its counted labels and its predictions."""
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
    chunk = _Chunk(
        scores=shared.predictions.score[kept],
        prediction_states=states[:, kept].astype(np.int8),
        in_stuff=stuff[kept],
        pairs=pairs,
        similarity=(1.0 + np.cos(turn_rad)) / 2.0,
        label_states=label_states[:, label_of].astype(np.int8),
    )
    num_labels = np.count_nonzero(label_states == matching.COUNTED, axis=1)
    return chunk, num_labels, int(np.count_nonzero(own == matching.COUNTED))
