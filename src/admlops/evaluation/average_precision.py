"""Precision over recall, average precision, and its confidence interval by resampling frames."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

NUM_RECALLS = 40


@dataclass(frozen=True, slots=True)
class Ranking:
    """Judged predictions of one measure and slice, best score first.

    Attributes:
        frame: (M,) int64 frame number of each prediction.
        is_hit: (M,) bool, true positive or false positive.
        score: (M,) descending.
        labels_per_frame: (F,) int64 number of labels to be found.
    """

    frame: NDArray[np.int64]
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
    whole = np.ones((1, len(ranking.labels_per_frame)), dtype=np.uint8)
    return float(resampled_average_precision(ranking, whole)[0])


def resampled_average_precision(
    ranking: Ranking, weights: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """Return (B,) average precision of each resampling; NaN where it holds no label.

    Args:
        ranking: the judged predictions.
        weights: (B, F) how often each frame was drawn.
    """
    return _resampled(
        ranking.frame,
        ranking.is_hit,
        ranking.ends_block(),
        ranking.labels_per_frame,
        weights,
    )


def draw_frames(num_frames: int, num_draws: int, seed: int) -> NDArray[np.uint8]:
    """Return (num_draws, num_frames) how often each frame is drawn when frames are resampled.

    The same arguments give the same draws, so that two models scored on the same frames are
    compared draw by draw. Source: Efron, "Bootstrap methods", 1979.
    """
    generator = np.random.default_rng(seed)
    weights = np.zeros((num_draws, num_frames), dtype=np.uint8)
    for row in range(num_draws):
        drawn = generator.integers(0, max(num_frames, 1), num_frames)
        counts = np.bincount(drawn, minlength=num_frames)
        weights[row] = np.minimum(counts, 255)
    return weights


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
    frame: NDArray[np.int64],
    is_hit: NDArray[np.bool_],
    ends_block: NDArray[np.bool_],
    labels_per_frame: NDArray[np.int64],
    weights: NDArray[np.uint8],
) -> NDArray[np.float64]:
    result = np.empty(len(weights))
    hits_at = np.empty(len(frame))
    judged_at = np.empty(len(frame))
    for draw in range(len(weights)):
        num_labels = 0.0
        for index in range(len(labels_per_frame)):
            num_labels += weights[draw, index] * labels_per_frame[index]
        if num_labels == 0.0:
            result[draw] = np.nan
            continue
        hits, judged, count = 0.0, 0.0, 0
        for index in range(len(frame)):
            weight = float(weights[draw, frame[index]])
            judged += weight
            hits += weight if is_hit[index] else 0.0
            if ends_block[index] and judged > 0.0:
                hits_at[count], judged_at[count] = hits, judged
                count += 1
        result[draw] = _mean_precision(hits_at, judged_at, count, num_labels)
    return result


@njit(cache=True, nogil=True)
def _mean_precision(
    hits_at: NDArray[np.float64], judged_at: NDArray[np.float64], count: int, num_labels: float
) -> float:
    total, best, index = 0.0, 0.0, count - 1
    for step in range(NUM_RECALLS, 0, -1):
        needed = num_labels * step / NUM_RECALLS - 1e-9
        while index >= 0 and hits_at[index] >= needed:
            best = max(best, hits_at[index] / judged_at[index])
            index -= 1
        total += best
    return total / NUM_RECALLS
