"""Tracks in space: ANNO030, ANNO031 and ANNO034, beside what holds for all tracks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from admlops.annotation.acceptance_config import TrackLimits
from admlops.annotation.acceptance_defects import Defect
from admlops.annotation.acceptance_frames import DeliveredFrame
from admlops.annotation.acceptance_tracks import IdentityLimits, TrackedBox, identify
from admlops.geometry.pose import wrap_angle
from admlops.structures.boxes import Boxes

_AXES = ("length", "width", "height")
_BACKWARD_RAD = 3 * np.pi / 4


@dataclass(frozen=True, slots=True)
class SpaceBox(TrackedBox):
    """A box of a track in the global frame.

    Attributes:
        yaw_rad: its heading there.
        size_m: length, width, height.
    """

    yaw_rad: float = 0.0
    size_m: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class SpaceTrackRules:
    """What tracks in space are held against.

    Attributes:
        limits: of tracks.
        size_is_constant: whether rigid objects keep one size.
        lasting: attributes that have one value over a track.
    """

    limits: TrackLimits
    size_is_constant: bool = True
    lasting: tuple[str, ...] = ()

    def find_defects(self, frames: Sequence[DeliveredFrame[Boxes]]) -> list[Defect]:
        """Return the defects of a scene's tracks; frames have rising times."""
        limits = IdentityLimits(self.limits.max_gap_s, self.limits.switch_gain_m, self.lasting)
        found = identify((box for frame in frames for box in _in_global_frame(frame)), limits)
        defects = list(found.defects)
        for track, boxes in found.tracks.items():
            defects += self._motion(track, boxes, found.switched)
            if self.size_is_constant:
                defects += self._changed_sizes(track, boxes)
        return defects

    def _motion(
        self, track: str, boxes: Sequence[SpaceBox], switched: frozenset[tuple[str, str]]
    ) -> Iterator[Defect]:
        votes: dict[int, int] = {}
        for place, (before, after) in enumerate(pairwise(boxes)):
            gap_s = after.time_s - before.time_s
            if not 0 < gap_s <= self.limits.max_gap_s or (track, after.frame_id) in switched:
                continue
            moved = after.place - before.place
            distance_m = float(np.hypot(*moved))
            fastest = self.limits.speed_limits_mps.get(after.category, self.limits.max_speed_mps)
            if distance_m > fastest * gap_s + self.limits.jump_allowance_m:
                what = f"track {track!r} moves {distance_m:.1f} m in {gap_s:.2f} s; "
                what += f"a {after.category} moves {fastest:g} m/s at most"
                yield after.defect("ANNO030", what)
            elif distance_m > self.limits.heading_speed_mps * gap_s:
                course = float(np.arctan2(moved[1], moved[0]))
                for number, box in ((place, before), (place + 1, after)):
                    vote = 1 if _is_backward(box.yaw_rad, course) else -1
                    votes[number] = votes.get(number, 0) + vote
            elif _is_backward(before.yaw_rad, after.yaw_rad):
                votes.setdefault(place, 0)
                votes.setdefault(place + 1, 0)
        yield from self._headings(track, boxes, votes)

    def _headings(
        self, track: str, boxes: Sequence[SpaceBox], votes: Mapping[int, int]
    ) -> Iterator[Defect]:
        """Yield the boxes that head backward by the motion, or against most of a slow track."""
        for number, vote in sorted(votes.items()):
            box = boxes[number]
            against = sum(_is_backward(box.yaw_rad, other.yaw_rad) for other in boxes)
            is_alone = 2 * against > len(boxes) or (len(boxes) == 2 and number == 1)
            is_free = box.category in self.limits.free_turning
            if vote > 0 or (vote == 0 and against and is_alone and not is_free):
                course = "where it moves" if vote > 0 else "the rest of its track"
                yield box.defect("ANNO034", f"track {track!r} heads against {course}")

    def _changed_sizes(self, track: str, boxes: Sequence[SpaceBox]) -> Iterator[Defect]:
        if len(boxes) < 2:
            return
        sizes = np.array([box.size_m for box in boxes])
        usual = np.median(sizes, axis=0)
        change = np.abs(sizes - usual)
        is_odd = (change > self.limits.max_size_change * usual) & (
            change > self.limits.min_size_change_m
        )
        for row in np.flatnonzero(is_odd.any(axis=1)).tolist():
            axis = int(np.argmax(change[row]))
            what = f"track {track!r}: {_AXES[axis]} {sizes[row, axis]:.2f} m, "
            what += f"usually {usual[axis]:.2f} m"
            yield boxes[row].defect("ANNO031", what)


def _is_backward(yaw_rad: float, course_rad: float) -> bool:
    return bool(abs(wrap_angle(yaw_rad - course_rad)) > _BACKWARD_RAD)


def _in_global_frame(frame: DeliveredFrame[Boxes]) -> Iterator[SpaceBox]:
    rotation, origin = frame.global_from_ego[:3, :3], frame.global_from_ego[:3, 3]
    boxes = frame.boxes
    places = boxes.center_m @ rotation.T + origin
    yaw = boxes.yaw_rad + float(np.arctan2(rotation[1, 0], rotation[0, 0]))
    for row in range(len(boxes)):
        yield SpaceBox(
            frame_id=frame.frame_id,
            time_s=frame.time_s,
            boxes=boxes,
            row=row,
            index=int(frame.index[row]),
            place=places[row, :2],
            yaw_rad=float(yaw[row]),
            size_m=tuple(boxes.size_m[row].tolist()),
        )
