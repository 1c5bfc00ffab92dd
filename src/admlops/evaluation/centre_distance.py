"""Average precision by the distance of centres, and the errors of what was found.

Source: nuScenes detection evaluation (Caesar et al., CVPR 2020), metric configuration
``detection_cvpr_2019``: recalls and precisions up to 0.1 are cut off, errors are taken at 2 m.
"""

import numpy as np
from numpy.typing import NDArray

from admlops.config import Config
from admlops.evaluation.measures import UNMATCHED
from admlops.evaluation.records import HIT, CategoryRecords

DISTANCES_M = (0.5, 1.0, 2.0, 4.0)
MIN_RECALL = 0.1
MIN_PRECISION = 0.1
_RECALLS = np.linspace(0.0, 1.0, 101)
_FIRST = round(100 * MIN_RECALL) + 1


class CentreDistanceResult(Config):
    """Average precision and errors of one category; shares, not percent."""

    category: str
    """Name of the category."""
    num_labels: int
    """Labels to be found."""
    distances_m: tuple[float, ...]
    """Distances of centres below which a prediction finds a label."""
    average_precision: tuple[float, ...]
    """By distance."""
    mean_average_precision: float
    """Mean over the distances."""
    translation_error_m: float
    """Mean distance of centres on the ground, at 2 m; 1 where nothing was found."""
    scale_error: float
    """Mean of 1 - IoU of the boxes once centred and turned alike."""
    orientation_error_rad: float
    """Mean smallest turn between the headings."""


def score_centre_distance(records: CategoryRecords) -> CentreDistanceResult:
    """Score a category whose measures hold the metric "distance".

    Raises:
        ValueError: no measure is a distance.
    """
    rows = records.distance_rows()
    error_row = records.error_row()
    if error_row is None:
        raise ValueError("the records hold no measure by distance")
    ranked = {row: RankedHits(records.num_labels, int(records.num_judged[row])) for row in rows}
    for block in records.predictions():
        for row, hits in ranked.items():
            judged = block["found"][:, row] >= UNMATCHED
            hits.add(block["found"][judged, row] == HIT, block["score"][judged])
    precisions = tuple(_average_precision(ranked[row]) for row in rows)
    errors = _errors(records, error_row, ranked[error_row])
    return CentreDistanceResult(
        category=records.category,
        num_labels=records.num_labels,
        distances_m=tuple(records.measures[row].threshold for row in rows),
        average_precision=precisions,
        mean_average_precision=float(np.mean(precisions)),
        translation_error_m=errors[0],
        scale_error=errors[1],
        orientation_error_rad=errors[2],
    )


class RankedHits:
    """Precision and score at 101 recalls, interpolated, from predictions best score first.

    Recall rises only where a label is found, so it takes the hits on both sides of each recall:
    the last prediction before the next hit, and that hit.
    """

    def __init__(self, num_labels: int, num_judged: int) -> None:
        self.num_hits = 0
        self._num_labels, self._num_judged = num_labels, num_judged
        self._hits_below = [_hits_up_to(recall, num_labels) for recall in _RECALLS]
        self._wanted = np.unique(np.array(self._hits_below, dtype=np.int64) + 1)
        self._found: dict[int, tuple[int, float, float]] = {}
        self._judged, self._last_score = 0, np.nan

    def add(self, is_hit: NDArray[np.bool_], score: NDArray[np.float64]) -> None:
        """Add the next judged predictions."""
        if len(score) == 0:
            return
        places = np.flatnonzero(is_hit)
        before = np.append(self._last_score, score)
        numbers = self.num_hits + 1 + np.arange(len(places))
        for index in np.flatnonzero(np.isin(numbers, self._wanted)):
            place = int(places[index])
            rank = self._judged + place + 1
            self._found[int(numbers[index])] = rank, float(score[place]), float(before[place])
        self.num_hits += len(places)
        self._judged += len(score)
        self._last_score = float(score[-1])

    def precision(self) -> NDArray[np.float64]:
        """Return (101,) precision at each recall; 0 where it is not reached."""
        return self._at_recalls(0)

    def score(self) -> NDArray[np.float64]:
        """Return (101,) score at each recall; 0 where it is not reached."""
        return self._at_recalls(1)

    def _at_recalls(self, column: int) -> NDArray[np.float64]:
        if self.num_hits == 0:
            return np.zeros(len(_RECALLS))
        pairs = zip(_RECALLS, self._hits_below, strict=True)
        return np.array([self._at(float(recall), below)[column] for recall, below in pairs])

    def _at(self, recall: float, below: int) -> tuple[float, float]:
        """Return precision and score at a recall that `below` hits do not exceed."""
        if below >= self.num_hits:
            is_last = recall == self.num_hits / self._num_labels
            end = self.num_hits / self._num_judged, self._last_score
            return end if is_last else (0.0, 0.0)
        rank, score, score_before = self._found[below + 1]
        precision = (below + 1) / rank
        if rank == 1:
            return precision, score
        share = recall * self._num_labels - below
        start = below / (rank - 1)
        return (
            start + share * (precision - start),
            score_before + share * (score - score_before),
        )


def _hits_up_to(recall: float, num_labels: int) -> int:
    """Return the largest number of hits whose recall does not exceed this one."""
    hits = int(recall * num_labels) + 1
    while num_labels and hits / num_labels > recall:
        hits -= 1
    return hits if num_labels else 0


def _average_precision(ranked: RankedHits) -> float:
    sampled = ranked.precision()[_FIRST:] - MIN_PRECISION
    return min(float(np.maximum(sampled, 0.0).mean() / (1.0 - MIN_PRECISION)), 1.0)


def _errors(records: CategoryRecords, row: int, ranked: RankedHits) -> tuple[float, float, float]:
    """Return translation, scale and orientation errors, means over the recalls reached."""
    confidence = ranked.score()
    reached = np.flatnonzero(confidence)
    last = int(reached[-1]) if len(reached) else 0
    if last < _FIRST:
        return 1.0, 1.0, 1.0
    running = RunningMeans(confidence[_FIRST : last + 1])
    for block in records.predictions():
        hit = block["found"][:, row] == HIT
        running.add(block["score"][hit], block["errors"][hit])
    means = running.values().mean(axis=0)
    return float(means[0]), float(means[1]), float(means[2])


class RunningMeans:
    """Running means of errors over hits, best score first, interpolated at given scores."""

    def __init__(self, scores: NDArray[np.float64]) -> None:
        self._wanted = scores
        self._values = np.full((len(scores), 3), np.nan)
        self._count, self._sum = 0, np.zeros(3)
        self._last: tuple[float, NDArray[np.float64]] = (np.inf, np.zeros(3))

    def add(self, score: NDArray[np.float64], errors: NDArray[np.float64]) -> None:
        """Add the next hits: (H,) scores and (H, 3) errors."""
        if len(score) == 0:
            return
        numbers = self._count + np.arange(1, len(score) + 1)
        running = (self._sum + np.cumsum(errors, axis=0)) / numbers[:, None]
        scores = np.append(self._last[0], score)
        means = np.concatenate([self._last[1][None], running])
        place = np.searchsorted(-score, -self._wanted)
        for index in np.flatnonzero((place < len(score)) & np.isnan(self._values[:, 0])):
            at = place[index]
            high, low = scores[at], scores[at + 1]
            share = 0.0 if np.isinf(high) else (self._wanted[index] - low) / (high - low)
            self._values[index] = means[at + 1] + share * (means[at] - means[at + 1])
        self._count += len(score)
        self._sum = self._sum + errors.sum(axis=0)
        self._last = float(score[-1]), running[-1]

    def values(self) -> NDArray[np.float64]:
        """Return (S, 3) means; below the last hit's score, that of all hits."""
        return np.where(np.isnan(self._values), self._last[1], self._values)
