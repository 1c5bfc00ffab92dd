"""Which detections are of one object: tracks of one category through the frames of one scene.

Source: Weng, Wang, Held and Kitani, "3D Multi-Object Tracking: A Baseline and New Evaluation
Metrics", IROS 2020 (AB3DMOT); weak detections keep tracks alive and found none: Zhang et al.,
"ByteTrack", ECCV 2022; validation gate: Bar-Shalom, Li and Kirubarajan, 2001.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from admlops.annotation.assignment import assign
from admlops.annotation.motion import MotionConfig, Variances, predict_all, start, update
from admlops.geometry.boxes import iou_bev

NO_TRACK = -1
_GATE = 9.21
"""Of the squared distance in standard deviations, on the ground: 99 % of the true ones are nearer
(chi-squared, two degrees of freedom)."""
_ALONE = 13.3
"""Cost of a track that is missed (one in five) beside a new object (one in 1000 m2 and frame):
twice the negative logarithm of both, less that of 2 pi, as in the cost of a pair."""
_STANDS = 1.4
"""Cost of the guess that a new object stands: half of them do."""
_MISSED = 1
"""Missed frames that never end a track."""
_STATE = (0, 1, 2, 6)


class CategoryTracking(MotionConfig):
    """How tracks of a category are born, go on and end."""

    birth_score: float = Field(default=0.3, ge=0, le=1)
    """Score from which on a detection founds a track; weaker ones only continue tracks."""
    max_gap_s: float = Field(default=1.5, gt=0)
    """Time after which an object that is not seen is lost; after less than two missed frames
    never, however far frames are apart."""
    min_iou: float = Field(default=0.1, gt=0, le=1)
    """Overlap with the expected box that suffices where the centre is beyond the gate."""


@dataclass(frozen=True, slots=True)
class Detections:
    """M detections of one category in one scene.

    Attributes:
        frame: (M,) int64 number of the frame in the scene, rising.
        box_7: (M, 7) in the global frame.
        score: (M,).
    """

    frame: NDArray[np.int64]
    box_7: NDArray[np.float64]
    score: NDArray[np.float64]


@dataclass(slots=True)
class _Live:
    """The T tracks that go on: number, state, as what and in which frame they were seen last."""

    number: NDArray[np.int64]
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    box_7: NDArray[np.float64]
    seen: NDArray[np.int64]
    is_new: NDArray[np.bool_]

    def keep(self, index: NDArray[np.bool_] | NDArray[np.int64]) -> "_Live":
        return _Live(
            self.number[index],
            self.mean[index],
            self.covariance[index],
            self.box_7[index],
            self.seen[index],
            self.is_new[index],
        )

    def expected_7(self) -> NDArray[np.float64]:
        """Return (T, 7) boxes where the tracks should be now."""
        boxes_7 = self.box_7.copy()
        boxes_7[:, _STATE] = self.mean[:, :, 0]
        return boxes_7


def associate(
    times_s: NDArray[np.float64], detections: Detections, config: CategoryTracking
) -> NDArray[np.int64]:
    """Return (M,) the number of each detection's track, by birth; -1 where it is in none.

    Args:
        times_s: (F,) rising, of the scene's frames.
        detections: of one category.
        config: of that category.
    """
    variances = config.variances()
    tracks = np.full(len(detections.frame), NO_TRACK)
    bounds = np.searchsorted(detections.frame, np.arange(len(times_s) + 1))
    live = _Live(
        np.empty(0, np.int64),
        np.empty((0, 4, 2)),
        np.empty((0, 4, 3)),
        np.empty((0, 7)),
        np.empty(0, np.int64),
        np.empty(0, bool),
    )
    num_born, before_s = 0, times_s[0] if len(times_s) else 0.0
    for frame, now_s in enumerate(times_s):
        rows = np.arange(bounds[frame], bounds[frame + 1])
        is_recent = now_s - times_s[live.seen] <= config.max_gap_s
        live = live.keep(is_recent | (frame - live.seen <= 1 + _MISSED))
        elapsed_s = np.full(len(live.number), now_s - before_s)
        predict_all(live.mean, live.covariance, elapsed_s, variances.acceleration)
        before_s = now_s
        is_strong = detections.score[rows] >= config.birth_score
        for some in (rows[is_strong], rows[~is_strong]):
            tracks[some] = _continue(live, detections, some, frame, (config, variances))
        born = rows[is_strong & (tracks[rows] == NO_TRACK)]
        tracks[born] = num_born + np.arange(len(born))
        num_born += len(born)
        live = _found(live, detections.box_7[born], tracks[born], frame, variances)
    return tracks


def _continue(
    live: _Live,
    detections: Detections,
    rows: NDArray[np.int64],
    frame: int,
    by: tuple[CategoryTracking, Variances],
) -> NDArray[np.int64]:
    """Give detections to tracks that are not seen in this frame yet; return their numbers."""
    config, variances = by
    tracks = np.full(len(rows), NO_TRACK)
    free = np.flatnonzero(live.seen < frame)
    if len(free) == 0 or len(rows) == 0:
        return tracks
    boxes_7 = detections.box_7[rows]
    cost = _price(live.keep(free), boxes_7, config, variances)
    pairs = assign(np.minimum(cost, _ALONE))
    for track, place in zip(*pairs, strict=True):
        if cost[track, place] >= _ALONE:
            continue
        own = free[track]
        measured = boxes_7[place][list(_STATE)]
        update(live.mean[own], live.covariance[own], measured, variances.measured)
        live.box_7[own], live.seen[own], live.is_new[own] = boxes_7[place], frame, False
        tracks[place] = live.number[own]
    return tracks


def _price(
    live: _Live, boxes_7: NDArray[np.float64], config: CategoryTracking, variances: Variances
) -> NDArray[np.float64]:
    """Return (T, N) what it costs that a track shows as a box; infinite where it cannot.

    Twice the negative logarithm of the likelihood, less a constant. A new track's speed is unknown:
    it may go on or stand, and what is likelier counts, or else a missed object in a row of parked
    cars would move all their names on by one.
    """
    noise = variances.measured[:2]
    offset = live.mean[:, None, :2, 0] - boxes_7[None, :, :2]
    distance, cost = _likelihood(offset, (live.covariance[:, :2, 0] + noise)[:, None])
    covers = iou_bev(live.expected_7(), boxes_7) >= config.min_iou
    cost[(distance > _GATE) & ~covers] = np.inf
    from_last = live.box_7[:, None, :2] - boxes_7[None, :, :2]
    distance, stands = _likelihood(from_last, np.broadcast_to(2.0 * noise, (len(live.seen), 1, 2)))
    stands[(distance > _GATE) | ~live.is_new[:, None]] = np.inf
    result: NDArray[np.float64] = np.minimum(cost, stands + _STANDS)
    return result


def _likelihood(
    offset: NDArray[np.float64], spread: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (T, N) squared distances in standard deviations, and costs."""
    distance = (np.square(offset) / spread).sum(axis=-1)
    return distance, np.minimum(distance, _GATE) + np.log(spread).sum(axis=-1)


def _found(
    live: _Live,
    boxes_7: NDArray[np.float64],
    numbers: NDArray[np.int64],
    frame: int,
    variances: Variances,
) -> _Live:
    if len(numbers) == 0:
        return live
    states = [
        start(box_7[list(_STATE)], variances.measured, variances.velocity) for box_7 in boxes_7
    ]
    return _Live(
        np.concatenate([live.number, numbers]),
        np.concatenate([live.mean, [mean for mean, _ in states]]),
        np.concatenate([live.covariance, [covariance for _, covariance in states]]),
        np.concatenate([live.box_7, boxes_7]),
        np.concatenate([live.seen, np.full(len(numbers), frame)]),
        np.concatenate([live.is_new, np.ones(len(numbers), bool)]),
    )
