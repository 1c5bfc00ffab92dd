"""Tracks over the frames of a scene: ANNO030 to ANNO035."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from admlops.annotation.acceptance_config import TrackLimits
from admlops.annotation.acceptance_defects import Defect, box_defect
from admlops.geometry.pose import wrap_angle
from admlops.structures.boxes import Boxes

_AXES = ("length", "width", "height")
_BACKWARD_RAD = 3 * np.pi / 4


@dataclass(frozen=True, slots=True)
class TrackedFrame:
    """The delivered boxes of one frame of a scene.

    Attributes:
        frame_id: its number in the package.
        time_s: its time.
        global_from_ego: (4, 4) pose of the vehicle.
        boxes: with finite places and sizes.
        index: (N,) numbers of the boxes in the delivery.
    """

    frame_id: str
    time_s: float
    global_from_ego: NDArray[np.float64]
    boxes: Boxes
    index: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _State:
    """One box of a track."""

    frame: TrackedFrame
    row: int
    place_m: NDArray[np.float64]
    yaw_rad: float

    @property
    def category(self) -> str:
        return str(self.frame.boxes.category[self.row])

    @property
    def size_m(self) -> NDArray[np.float64]:
        size: NDArray[np.float64] = self.frame.boxes.size_m[self.row]
        return size

    def defect(self, rule_id: str, what: str) -> Defect:
        found = box_defect(rule_id, self.frame.boxes, self.row, what)
        box = int(self.frame.index[self.row])
        return found.replace(frame_id=self.frame.frame_id, box=box)


@dataclass(frozen=True, slots=True)
class TrackRules:
    """What tracks are held against."""

    limits: TrackLimits
    size_is_constant: bool = True

    def find_defects(self, frames: Sequence[TrackedFrame]) -> list[Defect]:
        """Return the defects of a scene's tracks; frames have rising times."""
        defects: list[Defect] = []
        tracks: dict[str, list[_State]] = defaultdict(list)
        for frame in frames:
            seen: dict[str, int] = {}
            for state in _states(frame):
                track = str(frame.boxes.track_id[state.row])
                if not track:
                    continue
                if track in seen:
                    what = f"track {track!r} has boxes {seen[track]} and {frame.index[state.row]}"
                    defects.append(state.defect("ANNO035", what))
                    continue
                seen[track] = int(frame.index[state.row])
                tracks[track].append(state)
        switched = set[tuple[str, str]]()
        for first, second, defect in self._switches(tracks):
            switched |= {(first, defect.frame_id), (second, defect.frame_id)}
            defects.append(defect)
        for track, states in tracks.items():
            defects += self._changed_categories(track, states)
            defects += self._motion(track, states, switched)
            if self.size_is_constant:
                defects += self._changed_sizes(track, states)
        return defects

    def _motion(
        self, track: str, states: Sequence[_State], switched: set[tuple[str, str]]
    ) -> Iterator[Defect]:
        votes: dict[int, int] = {}
        for place, (before, after) in enumerate(pairwise(states)):
            gap_s = after.frame.time_s - before.frame.time_s
            if not 0 < gap_s <= self.limits.max_gap_s or (track, after.frame.frame_id) in switched:
                continue
            moved = (after.place_m - before.place_m)[:2]
            distance_m = float(np.hypot(*moved))
            fastest = self.limits.speed_limits_mps.get(after.category, self.limits.max_speed_mps)
            if distance_m > fastest * gap_s + self.limits.jump_allowance_m:
                what = f"track {track!r} moves {distance_m:.1f} m in {gap_s:.2f} s; "
                what += f"a {after.category} moves {fastest:g} m/s at most"
                yield after.defect("ANNO030", what)
            elif distance_m > self.limits.heading_speed_mps * gap_s:
                course = float(np.arctan2(moved[1], moved[0]))
                for number, state in ((place, before), (place + 1, after)):
                    vote = 1 if _is_backward(state.yaw_rad, course) else -1
                    votes[number] = votes.get(number, 0) + vote
            elif _is_backward(before.yaw_rad, after.yaw_rad):
                votes.setdefault(place, 0)
                votes.setdefault(place + 1, 0)
        yield from self._headings(track, states, votes)

    def _headings(
        self, track: str, states: Sequence[_State], votes: Mapping[int, int]
    ) -> Iterator[Defect]:
        """Yield the boxes that head backward by the motion, or against most of a slow track."""
        for number, vote in sorted(votes.items()):
            state = states[number]
            against = sum(_is_backward(state.yaw_rad, other.yaw_rad) for other in states)
            is_alone = 2 * against > len(states) or (len(states) == 2 and number == 1)
            is_free = state.category in self.limits.free_turning
            if vote > 0 or (vote == 0 and against and is_alone and not is_free):
                course = "where it moves" if vote > 0 else "the rest of its track"
                yield state.defect("ANNO034", f"track {track!r} heads against {course}")

    def _changed_sizes(self, track: str, states: Sequence[_State]) -> Iterator[Defect]:
        if len(states) < 2:
            return
        sizes = np.array([state.size_m for state in states])
        usual = np.median(sizes, axis=0)
        change = np.abs(sizes - usual)
        is_odd = (change > self.limits.max_size_change * usual) & (
            change > self.limits.min_size_change_m
        )
        for row in np.flatnonzero(is_odd.any(axis=1)).tolist():
            axis = int(np.argmax(change[row]))
            what = f"track {track!r}: {_AXES[axis]} {sizes[row, axis]:.2f} m, "
            what += f"usually {usual[axis]:.2f} m"
            yield states[row].defect("ANNO031", what)

    def _changed_categories(self, track: str, states: Sequence[_State]) -> Iterator[Defect]:
        counts = Counter(state.category for state in states)
        usual = counts.most_common(1)[0][0]
        for state in states:
            if state.category != usual:
                what = f"track {track!r} is a {state.category} here, a {usual} in "
                what += f"{counts[usual]} of {len(states)} frames"
                yield state.defect("ANNO032", what)

    def _switches(self, tracks: dict[str, list[_State]]) -> Iterator[tuple[str, str, Defect]]:
        """Yield pairs of tracks whose ways go on much better when exchanged, where they part."""
        steps: dict[tuple[str, str], list[tuple[str, _Step]]] = defaultdict(list)
        for track, states in tracks.items():
            for place in range(1, len(states)):
                before, after = states[place - 1], states[place]
                if 0 < after.frame.time_s - before.frame.time_s <= self.limits.max_gap_s:
                    step = _Step(
                        before,
                        after,
                        self._velocity(states[place - 2 : place]),
                        self._velocity(states[place : place + 2]),
                    )
                    steps[before.frame.frame_id, after.frame.frame_id].append((track, step))
        for moving in steps.values():
            for (one, first), (two, second) in combinations(moving, 2):
                if first.before.category != second.before.category:
                    continue
                kept = (_miss(first, first), _miss(second, second))
                exchanged = (_miss(first, second), _miss(second, first))
                gain = self.limits.switch_gain_m
                if all(new < old - gain for new, old in zip(exchanged, kept, strict=True)):
                    what = f"tracks {one!r} and {two!r} leave their ways by {kept[0]:.1f} and "
                    what += f"{kept[1]:.1f} m, exchanged by {exchanged[0]:.1f} and "
                    what += f"{exchanged[1]:.1f} m"
                    yield one, two, first.after.defect("ANNO033", what)

    def _velocity(self, states: Sequence[_State]) -> NDArray[np.float64] | None:
        """Return (2,) m/s between two boxes of a track; None where there are not two near ones."""
        if len(states) != 2:
            return None
        gap_s = states[1].frame.time_s - states[0].frame.time_s
        if not 0 < gap_s <= self.limits.max_gap_s:
            return None
        velocity: NDArray[np.float64] = (states[1].place_m - states[0].place_m)[:2] / gap_s
        return velocity


@dataclass(frozen=True, slots=True)
class _Step:
    """A track's way from one frame to the next, with its velocity before and after, m/s."""

    before: _State
    after: _State
    velocity_before: NDArray[np.float64] | None
    velocity_after: NDArray[np.float64] | None


def _miss(start: _Step, end: _Step) -> float:
    """Return how far an object that starts on one way is off the other's, m; NaN if not known."""
    gap_s = end.after.frame.time_s - start.before.frame.time_s
    moved = (end.after.place_m - start.before.place_m)[:2]
    known = [speed for speed in (start.velocity_before, end.velocity_after) if speed is not None]
    if not known:
        return float("nan")
    return float(np.mean([np.hypot(*(moved - speed * gap_s)) for speed in known]))


def _is_backward(yaw_rad: float, course_rad: float) -> bool:
    return bool(abs(wrap_angle(yaw_rad - course_rad)) > _BACKWARD_RAD)


def _states(frame: TrackedFrame) -> Iterator[_State]:
    rotation, origin = frame.global_from_ego[:3, :3], frame.global_from_ego[:3, 3]
    places = frame.boxes.center_m @ rotation.T + origin
    turn = float(np.arctan2(rotation[1, 0], rotation[0, 0]))
    for row in range(len(frame.boxes)):
        yield _State(frame, row, places[row], float(frame.boxes.yaw_rad[row]) + turn)
