"""Tracks over the frames of a scene, both shapes: ANNO008, ANNO032, ANNO033 and ANNO035."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from admlops.annotation.acceptance_defects import Defect, box_defect
from admlops.annotation.definition_check import parse_attributes
from admlops.structures.box_table import BoxTable


@dataclass(frozen=True, slots=True)
class TrackedBox:
    """One box of a track.

    Attributes:
        frame_id: number of its frame in the package.
        time_s: its frame's time.
        boxes: those of its frame.
        row: of the box among them.
        index: number of the box in the delivery.
        place: (2,) where it is: m on the ground, or px of its middle in the image.
        unit: what distances between places are measured by: 1 m, or the box's size in px.
    """

    frame_id: str
    time_s: float
    boxes: BoxTable
    row: int
    index: int
    place: NDArray[np.float64]
    unit: float = 1.0

    @property
    def category(self) -> str:
        """Its category."""
        return str(self.boxes.category[self.row])

    def defect(self, rule_id: str, what: str) -> Defect:
        """Return a defect of this box."""
        found = box_defect(rule_id, self.boxes, self.row, what)
        return found.replace(frame_id=self.frame_id, box=self.index)


BoxT = TypeVar("BoxT", bound=TrackedBox)
Tracks = dict[str, list[BoxT]]
"""The boxes of each track, in the order of time."""


@dataclass(frozen=True, slots=True)
class IdentityLimits:
    """From which numbers on boxes of one name are not of one object.

    Attributes:
        max_gap_s: boxes that are farther apart in time are not compared.
        switch_gain: how much nearer both tracks must come when their ids are exchanged, in units
            of their boxes.
        lasting: attributes that have one value over a track.
    """

    max_gap_s: float
    switch_gain: float
    lasting: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Identities(Generic[BoxT]):
    """Which boxes are of which object, and what is wrong with that.

    Attributes:
        tracks: the boxes of each track.
        switched: tracks and frames from which on a track seems to follow another object.
        defects: what was found.
    """

    tracks: Tracks[BoxT]
    switched: frozenset[tuple[str, str]]
    defects: list[Defect]


def identify(boxes: Iterable[BoxT], limits: IdentityLimits) -> Identities[BoxT]:
    """Return the tracks of a scene, or of a camera in it; boxes come in the order of time."""
    defects: list[Defect] = []
    tracks: Tracks[BoxT] = defaultdict(list)
    for box in boxes:
        track = str(box.boxes.track_id[box.row])
        if not track:
            continue
        known = tracks[track][-1] if tracks[track] else None
        if known is not None and known.frame_id == box.frame_id:
            what = f"track {track!r} has boxes {known.index} and {box.index}"
            defects.append(box.defect("ANNO035", what))
            continue
        tracks[track].append(box)
    switched = set[tuple[str, str]]()
    for first, second, defect in _switches(tracks, limits):
        switched |= {(first, defect.frame_id), (second, defect.frame_id)}
        defects.append(defect)
    for track, members in tracks.items():
        defects += _changed_categories(track, members)
        for name in limits.lasting:
            defects += _changed_attributes(track, members, name)
    return Identities(tracks, frozenset(switched), defects)


def _changed_categories(track: str, boxes: Sequence[TrackedBox]) -> Iterator[Defect]:
    counts = Counter(box.category for box in boxes)
    usual = counts.most_common(1)[0][0]
    for box in boxes:
        if box.category != usual:
            what = f"track {track!r} is a {box.category} here, a {usual} in "
            what += f"{counts[usual]} of {len(boxes)} frames"
            yield box.defect("ANNO032", what)


def _changed_attributes(track: str, boxes: Sequence[TrackedBox], name: str) -> Iterator[Defect]:
    """Yield the boxes whose answer is not the one that most boxes of the track have."""
    given = [
        (box, values[name])
        for box in boxes
        if name in (values := parse_attributes(str(box.boxes.attributes[box.row])) or {})
    ]
    if not given:
        return
    usual = Counter(repr(value) for _, value in given).most_common(1)[0][0]
    for box, value in given:
        if repr(value) != usual:
            what = f"{name!r} of track {track!r} is {value!r:.60}, else {usual:.60}"
            yield box.defect("ANNO008", what)


def _switches(
    tracks: Mapping[str, Sequence[TrackedBox]], limits: IdentityLimits
) -> Iterator[tuple[str, str, Defect]]:
    """Yield pairs of tracks whose ways go on much better when exchanged, where they part."""
    steps: dict[tuple[str, str], list[tuple[str, _Step]]] = defaultdict(list)
    for track, boxes in tracks.items():
        for place in range(1, len(boxes)):
            before, after = boxes[place - 1], boxes[place]
            if 0 < after.time_s - before.time_s <= limits.max_gap_s:
                step = _Step(
                    before,
                    after,
                    _velocity(boxes[place - 2 : place], limits),
                    _velocity(boxes[place : place + 2], limits),
                )
                steps[before.frame_id, after.frame_id].append((track, step))
    for moving in steps.values():
        for (one, first), (two, second) in combinations(moving, 2):
            if first.before.category != second.before.category:
                continue
            kept = (_miss(first, first), _miss(second, second))
            exchanged = (_miss(first, second), _miss(second, first))
            if all(
                new < old - limits.switch_gain for new, old in zip(exchanged, kept, strict=True)
            ):
                unit = "m" if first.before.unit == 1.0 else "sizes"
                what = f"tracks {one!r} and {two!r} leave their ways by {kept[0]:.1f} and "
                what += f"{kept[1]:.1f} {unit}, exchanged by {exchanged[0]:.1f} and "
                what += f"{exchanged[1]:.1f} {unit}"
                yield one, two, first.after.defect("ANNO033", what)


def _velocity(boxes: Sequence[TrackedBox], limits: IdentityLimits) -> NDArray[np.float64] | None:
    """Return (2,) per second between two boxes; None where there are not two near ones."""
    if len(boxes) != 2:
        return None
    gap_s = boxes[1].time_s - boxes[0].time_s
    if not 0 < gap_s <= limits.max_gap_s:
        return None
    return np.asarray((boxes[1].place - boxes[0].place) / gap_s)


@dataclass(frozen=True, slots=True)
class _Step:
    """A track's way from one frame to the next, with its velocity before and after."""

    before: TrackedBox
    after: TrackedBox
    velocity_before: NDArray[np.float64] | None
    velocity_after: NDArray[np.float64] | None


def _miss(start: _Step, end: _Step) -> float:
    """Return how far an object that starts on one way is off the other's; NaN if not known."""
    gap_s = end.after.time_s - start.before.time_s
    moved = end.after.place - start.before.place
    known = [speed for speed in (start.velocity_before, end.velocity_after) if speed is not None]
    if not known:
        return float("nan")
    unit = max(start.before.unit, end.after.unit)
    return float(np.mean([np.hypot(*(moved - speed * gap_s)) for speed in known])) / unit
