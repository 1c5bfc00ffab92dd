"""Precision over recall, average precision, and its confidence interval by resampling frames."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

NUM_RECALLS = 40
MAX_GROUPS = 4096
"""Groups of frames that are resampled; up to as many frames, each is its own group."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Judged predictions of one measure and slice, best score first.

    Attributes:
        frame: (M,) int32 frame number of each prediction.
        is_hit: (M,) bool, true positive or false positive.
        score: (M,) descending.
        labels_per_frame: (F,) int64 number of labels to be found.
    """

    frame: NDArray[np.int32]
    is_hit: NDArray[np.bool_]
    score: NDArray[np.float64]
    labels_per_frame: NDArray[np.int64]

    @property
    def num_labels(self) -> int:
        """The number of labels to be found."""
        return int(self.labels_per_frame.sum())

    def ends_block(self) -> NDArray[np.bool_]:
        """Return (M,) whether a prediction is the last of its score: ties are counted at once."""
        return np.append(self.score[1:] != self.score[:-1], True)[: len(self.score)]


@dataclass(frozen=True, slots=True)
class Curve:
    """Precision and recall at each distinct score, best first; (S,) float64 each."""

    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    score: NDArray[np.float64]


def precision_recall(ranking: Ranking) -> Curve:
    """Return the curve; recall is zero throughout where there are no labels."""
    ends = ranking.ends_block()
    hits = np.cumsum(ranking.is_hit)[ends]
    judged = np.flatnonzero(ends) + 1
    return Curve(hits / max(ranking.num_labels, 1), hits / judged, ranking.score[ends])


def average_precision(ranking: Ranking) -> float:
    """Return the mean, over recalls 1/40 ... 1, of the best precision at that recall or above.

    NaN where there are no labels.
    """
    num_frames = len(ranking.labels_per_frame)
    once = FrameDraws(np.arange(num_frames), np.ones((1, num_frames), dtype=np.uint8))
    return float(resampled_average_precision(ranking, once)[0])


@dataclass(frozen=True, slots=True)
class FrameDraws:
    """How often each frame is drawn when frames are resampled.

    Attributes:
        group: (F,) int64 group of each frame; the frames of a group are drawn together.
        weights: (B, G) uint8, how often each draw holds a group.
    """

    group: NDArray[np.int64]
    weights: NDArray[np.uint8]


def draw_frames(num_frames: int, num_draws: int, seed: int) -> FrameDraws:
    """Return draws with replacement; of single frames, or of `MAX_GROUPS` groups where more.

    The same arguments give the same draws, so that two models scored on the same frames are
    compared draw by draw. Groups are made by chance, so that their spread is that of frames; they
    keep the cost of a draw small. Source: Efron, "Bootstrap methods", 1979.
    """
    generator = np.random.default_rng(seed)
    num_groups = min(num_frames, MAX_GROUPS)
    group = np.arange(num_frames)
    if num_frames > num_groups:
        group = generator.permutation(num_frames) % num_groups
    weights = np.zeros((num_draws, num_groups), dtype=np.uint8)
    for row in range(num_draws):
        drawn = generator.integers(0, max(num_groups, 1), num_groups)
        weights[row] = np.minimum(np.bincount(drawn, minlength=num_groups), 255)
    return FrameDraws(group, weights)


def resampled_average_precision(ranking: Ranking, draws: FrameDraws) -> NDArray[np.float64]:
    """Return (B,) average precision of each draw; NaN where it holds no label."""
    ends = ranking.ends_block()
    block: NDArray[np.int64] = np.cumsum(ends) - ends
    hits_of_block = np.bincount(block, ranking.is_hit, minlength=1)
    labels_per_group = np.bincount(
        draws.group, ranking.labels_per_frame, minlength=draws.weights.shape[1]
    )
    return _resampled(
        draws.group[ranking.frame],
        ranking.is_hit,
        ends & (hits_of_block[block] > 0),
        labels_per_group,
        draws.weights,
    )


def confidence_interval(values: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """Return the central interval that holds `confidence` of the finite values; NaN of none."""
    finite = values[np.isfinite(values)]
    if len(finite) == 0:
        return float("nan"), float("nan")
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(finite, [tail, 1.0 - tail])
    return float(low), float(high)


@njit(cache=True, nogil=True)
def _resampled(
    group: NDArray[np.int64],
    is_hit: NDArray[np.bool_],
    is_peak: NDArray[np.bool_],
    labels_per_group: NDArray[np.float64],
    weights: NDArray[np.uint8],
) -> NDArray[np.float64]:
    """Return average precision by draw.

    Precision can only peak where a block of equal scores with a hit in it ends. The best peak of
    each of 40 steps of recall is kept; a step's precision is the best from there on.
    """
    result = np.empty(len(weights))
    best = np.empty(NUM_RECALLS + 1)
    for draw in range(len(weights)):
        weight_of = weights[draw]
        num_labels = 0.0
        for index in range(len(labels_per_group)):
            num_labels += weight_of[index] * labels_per_group[index]
        if num_labels == 0.0:
            result[draw] = np.nan
            continue
        best[:] = 0.0
        hits, judged = 0, 0
        for index in range(len(group)):
            weight = int(weight_of[group[index]])
            judged += weight
            if is_hit[index]:
                hits += weight
            if is_peak[index] and hits > 0:
                step = int(hits * NUM_RECALLS / num_labels + 1e-9)
                best[step] = max(best[step], hits / judged)
        total = 0.0
        for step in range(NUM_RECALLS, 0, -1):
            best[step - 1] = max(best[step - 1], best[step])
            total += best[step]
        result[draw] = total / NUM_RECALLS
    return result
