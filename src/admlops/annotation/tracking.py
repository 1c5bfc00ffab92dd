"""Tracks through a scene: names for objects, boxes between detections, and smooth paths.

Automatic labels are made after the drive, so that every box may know what came after it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from admlops.annotation.association import NO_TRACK, CategoryTracking, Detections, associate
from admlops.annotation.fusion import OTHERS, FusedBoxes
from admlops.annotation.motion import smooth
from admlops.config import Config
from admlops.geometry.pose import invert, transform_points, wrap_angle
from admlops.structures.boxes import Boxes
from admlops.structures.frame import FrameKey

_STATE = [0, 1, 2, 6]


class TrackingConfig(Config):
    """How objects are followed, by category."""

    categories: dict[str, CategoryTracking] = Field(
        default_factory=lambda: {
            "pedestrian": CategoryTracking(
                noise_m=0.15, noise_rad=0.4, speed_mps=1.2, acceleration_mps2=1.0
            ),
            "cyclist": CategoryTracking(noise_m=0.2, speed_mps=4.0),
            OTHERS: CategoryTracking(),
        }
    )
    """Settings by category; "" is for all others."""
    min_hits: int = Field(default=2, ge=1)
    """Detections from which on a track is one; boxes of shorter ones get no track."""

    def of(self, category: str) -> CategoryTracking:
        """Return the settings of a category."""
        fallback = self.categories.get(OTHERS) or CategoryTracking()
        return self.categories.get(category, fallback)


@dataclass(frozen=True, slots=True)
class TrackedBoxes:
    """N boxes of one frame after tracking.

    Attributes:
        boxes: in the ego frame; on tracks the smoothed place, the track's mean size, the velocity
            over ground, and as score the mean of the box's own and its track's.
        agreement: (N,) float64, share of the models that show the object; 0 between detections.
        contested: (N,) whether a box of another category covers the same place.
        num_hits: (N,) int64, detections on the box's track; 1 without a track.
        is_interpolated: (N,) whether no model showed it and its track leads through it.
    """

    boxes: Boxes
    agreement: NDArray[np.float64]
    contested: NDArray[np.bool_]
    num_hits: NDArray[np.int64]
    is_interpolated: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SceneDetections:
    """Fused boxes of the frames of one scene, in the order of time.

    Attributes:
        keys: F keys.
        global_from_ego: (F, 4, 4) poses.
        fused: boxes of each frame in its ego frame.
    """

    keys: Sequence[FrameKey]
    global_from_ego: NDArray[np.float64]
    fused: Sequence[FusedBoxes]


@dataclass(frozen=True, slots=True)
class _Rows:
    """Boxes of a scene in the global frame, one row each."""

    frame: NDArray[np.int64]
    box_7: NDArray[np.float64]
    velocity_mps: NDArray[np.float64]
    score: NDArray[np.float64]
    track: NDArray[np.int64]
    agreement: NDArray[np.float64]
    contested: NDArray[np.bool_]
    num_hits: NDArray[np.int64]
    is_interpolated: NDArray[np.bool_]

    def pick(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> "_Rows":
        return _Rows(*(getattr(self, name)[index] for name in self.__slots__))

    @classmethod
    def join(cls, parts: Sequence["_Rows"]) -> "_Rows":
        names = cls.__slots__
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def track_scene(scene: SceneDetections, config: TrackingConfig) -> list[TrackedBoxes]:
    """Return the boxes of each frame with tracks, interpolated and smoothed.

    Weak detections that continue no track are left out. Time and memory are linear in frames.
    """
    times_s = np.array([key.timestamp_ns - scene.keys[0].timestamp_ns for key in scene.keys]) / 1e9
    found = _gather(scene)
    category = np.concatenate([np.empty(0, object), *(f.boxes.category for f in scene.fused)])
    parts: dict[str, _Rows] = {}
    for name in sorted(set(category)):
        rows = found.pick(np.flatnonzero(category == name))
        parts[name] = _track_category(times_s, rows, config.of(name), config.min_hits)
    return _by_frame(scene, parts)


def _gather(scene: SceneDetections) -> _Rows:
    """Return all boxes of a scene, moved into the global frame; scenes without boxes have none."""
    boxes_7 = [
        move_boxes(pose, fused.boxes.as_7())
        for pose, fused in zip(scene.global_from_ego, scene.fused, strict=True)
    ]
    frame = np.repeat(np.arange(len(scene.fused)), [len(rows) for rows in boxes_7])
    count = len(frame)
    return _Rows(
        frame=frame,
        box_7=np.concatenate([np.empty((0, 7)), *boxes_7]),
        velocity_mps=np.full((count, 2), np.nan),
        score=np.concatenate([np.empty(0), *(fused.boxes.score for fused in scene.fused)]),
        track=np.full(count, NO_TRACK),
        agreement=np.concatenate([np.empty(0), *(fused.agreement for fused in scene.fused)]),
        contested=np.concatenate([np.empty(0, bool), *(f.contested for f in scene.fused)]),
        num_hits=np.ones(count, np.int64),
        is_interpolated=np.zeros(count, bool),
    )


def _track_category(
    times_s: NDArray[np.float64], rows: _Rows, config: CategoryTracking, min_hits: int
) -> _Rows:
    """Return the rows of one category on tracks, those between them, and strong ones alone."""
    track = associate(times_s, Detections(rows.frame, rows.box_7, rows.score), config)
    order = np.argsort(track, kind="stable")
    starts = np.searchsorted(track[order], np.arange(track.max(initial=NO_TRACK) + 2))
    out: list[_Rows] = [rows.pick(np.empty(0, np.int64))]
    for number, (first, last) in enumerate(pairwise(starts)):
        hits = rows.pick(order[first:last])
        if last - first >= min_hits:
            out.append(_follow(times_s, hits, number, config))
        else:
            out.append(hits)
    return _Rows.join(out)


def _follow(
    times_s: NDArray[np.float64], hits: _Rows, number: int, config: CategoryTracking
) -> _Rows:
    """Return one track, with every frame between its first and last detection."""
    frames = np.arange(hits.frame[0], hits.frame[-1] + 1)
    place = hits.frame - frames[0]
    is_seen = np.zeros(len(frames), bool)
    is_seen[place] = True
    measured = np.zeros((len(frames), 4))
    measured[place] = hits.box_7[:, _STATE]
    states = smooth(times_s[frames], measured, is_seen, config.variances())
    yaw = states[:, 3, 0]
    if (hits.score * np.cos(hits.box_7[:, 6] - yaw[place])).sum() < 0.0:
        yaw = yaw + np.pi  # the filter follows the first heading, the detections outvote it
    size = np.average(hits.box_7[:, 3:6], axis=0, weights=hits.score)
    own = np.zeros(len(frames))
    own[place] = hits.score
    agreement = np.zeros(len(frames))
    agreement[place] = hits.agreement
    contested = np.zeros(len(frames), bool)
    contested[place] = hits.contested
    return _Rows(
        frame=frames,
        box_7=np.column_stack([states[:, :3, 0], np.tile(size, (len(frames), 1)), yaw]),
        velocity_mps=states[:, :2, 1],
        score=(own + hits.score.mean()) / 2.0,
        track=np.full(len(frames), number),
        agreement=agreement,
        contested=contested,
        num_hits=np.full(len(frames), len(place)),
        is_interpolated=~is_seen,
    )


def _by_frame(scene: SceneDetections, parts: Mapping[str, _Rows]) -> list[TrackedBoxes]:
    names = np.repeat(np.array([*parts], object), [len(rows.frame) for rows in parts.values()])
    rows = _Rows.join([*parts.values()]) if parts else _gather(scene)
    order = np.lexsort([-rows.score, rows.frame])
    rows, names = rows.pick(order), names[order]
    tracks = np.array(
        [
            "" if track == NO_TRACK else f"{scene.keys[0].scene}-{name}-{track}"
            for name, track in zip(names, rows.track, strict=True)
        ],
        dtype=object,
    )
    bounds = np.searchsorted(rows.frame, np.arange(len(scene.keys) + 1))
    out = []
    for frame, pose in enumerate(scene.global_from_ego):
        index = np.arange(bounds[frame], bounds[frame + 1])
        own = rows.pick(index)
        ego_from_global = invert(pose)
        boxes_7 = move_boxes(ego_from_global, own.box_7)
        boxes = Boxes.make(
            boxes_7[:, :3],
            boxes_7[:, 3:6],
            boxes_7[:, 6],
            names[index],
            score=np.clip(own.score, 0.0, 1.0),
            track_id=tracks[index],
            velocity_mps=own.velocity_mps @ ego_from_global[:2, :2].T,
        )
        out.append(
            TrackedBoxes(boxes, own.agreement, own.contested, own.num_hits, own.is_interpolated)
        )
    return out


def move_boxes(
    target_from_source: NDArray[np.float64], boxes_7: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (N, 7) boxes in the target frame; boxes stand upright in both."""
    moved = boxes_7.copy()
    moved[:, :3] = transform_points(target_from_source, boxes_7[:, :3])
    turn = np.arctan2(target_from_source[1, 0], target_from_source[0, 0])
    moved[:, 6] = wrap_angle(boxes_7[:, 6] + turn)
    return moved
