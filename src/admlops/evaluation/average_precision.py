"""Precision over recall, average precision, and its confidence interval by resampling frames.

Predictions come best score first, a block at a time; a tie may go on in the next block.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

NUM_RECALLS = 40


@dataclass(frozen=True, slots=True)
class Curve:
    """Precision and recall at distinct scores, best first; (S,) float64 each."""

    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    score: NDArray[np.float64]


class ThinnedCurve:
    """Collects at most `num_points` points of a curve; ties are counted at once.

    Recall is zero throughout where there are no labels.
    """

    def __init__(self, num_labels: int, num_judged: int, num_points: int) -> None:
        self._num_labels = max(num_labels, 1)
        places = np.linspace(1, num_judged, min(num_judged, num_points))
        self._wanted = np.unique(places.astype(np.int64))
        self._points: list[NDArray[np.float64]] = []
        self._last = np.zeros((1, 3))

    def add(self, is_hit: NDArray[np.bool_], score: NDArray[np.float64]) -> None:
        """Add the next judged predictions."""
        hits, judged, _ = self._last[0]
        rows = np.column_stack(
            [hits + np.cumsum(is_hit), judged + np.arange(1, len(score) + 1), score]
        )
        rows = np.concatenate([self._last, rows])
        self._take(rows[:-1][rows[1:, 2] != rows[:-1, 2]])
        self._last = rows[-1:]

    def _take(self, ends: NDArray[np.float64]) -> None:
        """Keep the first end of a tie at or after each wanted place."""
        chosen = np.unique(np.searchsorted(ends[:, 1], self._wanted))
        chosen = chosen[chosen < len(ends)]
        self._points.append(ends[chosen])
        if len(chosen):
            self._wanted = self._wanted[self._wanted > ends[chosen[-1], 1]]

    def curve(self) -> Curve:
        """Return the points, when all predictions were added."""
        if self._last[0, 1] > 0:
            self._take(self._last)
        points = np.concatenate(self._points) if self._points else np.empty((0, 3))
        hits, judged, score = points.T
        return Curve(hits / self._num_labels, hits / judged, score)


class ResampledPrecision:
    """Average precision of many draws of the frames at once.

    It is the mean, over recalls 1/40 ... 1, of the best precision at that recall or above; NaN for
    a draw without labels. Ties are counted at once. A draw that holds every frame once gives the
    figure itself.
    """

    def __init__(self, labels_per_group: NDArray[np.int64], weights: NDArray[np.uint8]) -> None:
        """Take (G,) labels to be found, and (B, G) how often each draw holds each group."""
        num_draws = len(weights)
        self._weights = weights
        self._num_labels = weights.astype(np.float64) @ labels_per_group
        self._counts = np.zeros((num_draws, 2), dtype=np.int64)
        self._best = np.zeros((num_draws, NUM_RECALLS + 1))
        self._tie_score, self._tie_has_hit = np.inf, False

    def add(
        self,
        group: NDArray[np.int64],
        is_hit: NDArray[np.bool_],
        score: NDArray[np.float64],
    ) -> None:
        """Add the next judged predictions: (M,) group of the frame, whether right, and score."""
        if len(score) == 0:
            return
        closes = self._tie_has_hit and score[0] != self._tie_score
        ends = np.append(score[1:] != score[:-1], False)
        tie = np.cumsum(ends) - ends
        has_hit = np.bincount(tie, is_hit) > 0
        if score[0] == self._tie_score:
            has_hit[0] |= self._tie_has_hit
        _advance(
            (group, is_hit, ends & has_hit[tie], closes),
            self._weights,
            self._num_labels,
            self._counts,
            self._best,
        )
        self._tie_score, self._tie_has_hit = score[-1], bool(has_hit[-1])

    def values(self) -> NDArray[np.float64]:
        """Return (B,) average precision of each draw, when all predictions were added."""
        if self._tie_has_hit:
            nothing = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.bool_)
            _advance(
                (*nothing, nothing[1], True),
                self._weights,
                self._num_labels,
                self._counts,
                self._best,
            )
            self._tie_has_hit = False
        reached = np.maximum.accumulate(self._best[:, ::-1], axis=1)[:, ::-1]
        precision = reached[:, 1:].sum(axis=1) / NUM_RECALLS
        return np.where(self._num_labels > 0, precision, np.nan)


def confidence_interval(values: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """Return the central interval that holds `confidence` of the finite values; NaN of none."""
    finite = values[np.isfinite(values)]
    if len(finite) == 0:
        return float("nan"), float("nan")
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(finite, [tail, 1.0 - tail])
    return float(low), float(high)


@njit(cache=True, nogil=True)
def _advance(
    block: tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_], bool],
    weights: NDArray[np.uint8],
    num_labels: NDArray[np.float64],
    counts: NDArray[np.int64],
    best: NDArray[np.float64],
) -> None:
    """Move every draw over a block: group, hit, and whether a tie with a hit ends there.

    Precision can only peak where a tie with a hit in it ends. The best peak of each of 40 steps of
    recall is kept. `counts` holds hits and judged predictions of each draw.
    """
    group, is_hit, is_peak, closes = block
    for draw in range(len(weights)):
        labels = num_labels[draw]
        if labels == 0.0:
            continue
        weight_of = weights[draw]
        hits, judged = counts[draw]
        if closes and hits > 0:
            step = int(hits * NUM_RECALLS / labels + 1e-9)
            best[draw, step] = max(best[draw, step], hits / judged)
        for index in range(len(group)):
            weight = int(weight_of[group[index]])
            judged += weight
            if is_hit[index]:
                hits += weight
            if is_peak[index] and hits > 0:
                step = int(hits * NUM_RECALLS / labels + 1e-9)
                best[draw, step] = max(best[draw, step], hits / judged)
        counts[draw, 0], counts[draw, 1] = hits, judged
