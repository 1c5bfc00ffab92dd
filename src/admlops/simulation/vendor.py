"""A labelling vendor that makes mistakes: the oracle's careless sibling."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Annotated, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from admlops.config import Config
from admlops.geometry.pose import wrap_angle
from admlops.simulation.image_vendor import ImageVendorConfig, draw_in_image
from admlops.structures.box_table import BoxTable
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import Frame

TableT = TypeVar("TableT", bound=BoxTable)
Rate = Annotated[float, Field(ge=0.0, le=1.0)]

BOX_DEFECTS = ("missing", "shifted", "category", "swapped", "flipped", "duplicate")
CONFUSIONS = {
    "car": "van",
    "van": "car",
    "truck": "van",
    "tram": "truck",
    "pedestrian": "cyclist",
    "cyclist": "pedestrian",
}
MOVING_MPS = 0.5
WRONG_PACKAGE = "package-0000000000000000"
_VEHICLES = ("car", "van", "truck", "tram", "cyclist")


class VendorConfig(Config):
    """How carefully the vendor works; rates are per box unless stated."""

    seed: int = Field(default=0, ge=0)
    """Seed of all mistakes."""
    missing: Rate = 0.0
    """Boxes that are not drawn."""
    shifted: Rate = 0.0
    """Boxes beside their object."""
    category: Rate = 0.0
    """Boxes with a category that is easily confused."""
    swapped: Rate = 0.0
    """Boxes with length and width exchanged."""
    flipped: Rate = 0.0
    """Boxes that head backward."""
    duplicate: Rate = 0.0
    """Objects that are labelled twice."""
    extra: Rate = 0.0
    """Frames with a box where nothing is."""
    id_switch: Rate = 0.0
    """Pairs of neighbouring frames in which two tracks exchange their ids."""
    partial: Rate = 0.0
    """Frames that are not delivered."""
    wrong_file: bool = False
    """Whether the labels of another package are delivered."""
    noise_m: float = Field(default=0.02, ge=0, le=1)
    """Standard deviation of centres and sizes."""
    noise_rad: float = Field(default=0.01, ge=0, le=1)
    """Standard deviation of yaw."""
    shift_m: float = Field(default=1.2, gt=0)
    """How far shifted boxes are off."""
    min_points: dict[str, int] = Field(
        default_factory=lambda: {"pedestrian": 3, "cyclist": 3, "": 5}
    )
    """Points from which on an object is labelled, by category; "" is for all others."""
    image: ImageVendorConfig | None = None
    """How boxes are drawn into the front image; None draws none."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake that the vendor made.

    Attributes:
        kind: a name of a rate of `VendorConfig`; of `ImageVendorConfig` after "image ".
        frame_id: the frame's number in the package.
        track_id: the track of the object in the truth; "" where there is none.
    """

    kind: str
    frame_id: str
    track_id: str = ""


@dataclass(frozen=True, slots=True)
class VendorWork:
    """What the vendor delivers.

    Attributes:
        frames: with labels.
        mistakes: what was done wrong, in the order of the frames.
    """

    frames: list[Frame]
    mistakes: list[Mistake]


def label_as_vendor(frames: Sequence[Frame], config: VendorConfig) -> VendorWork:
    """Return what a vendor makes of frames.

    Args:
        frames: of a package in its order, with the true boxes, their numbers of points and tracks.
        config: how carefully the vendor works; equal configs make equal mistakes.
    """
    desk = _Desk(config, np.random.default_rng(config.seed))
    labelled = [desk.label(frame) for frame in frames]
    labelled = desk.switch_tracks(labelled)
    kept = []
    for frame in labelled:
        if desk.random.random() < config.partial:
            desk.mistakes.append(Mistake("partial", frame.frame_id))
        else:
            kept.append(frame)
    if config.wrong_file:
        kept = [replace(frame, key=frame.key._replace(log=WRONG_PACKAGE)) for frame in kept]
        desk.mistakes.append(Mistake("wrong_file", ""))
    return VendorWork([_with_own_tracks(frame) for frame in kept], desk.mistakes)


@dataclass
class _Desk:
    """Where one annotator works."""

    config: VendorConfig
    random: np.random.Generator
    mistakes: list[Mistake] = field(default_factory=list)

    def label(self, frame: Frame) -> Frame:
        """Return the frame with the annotator's boxes."""
        truth = Boxes.empty() if frame.boxes is None else frame.boxes
        least = self.config.min_points
        needed = [least.get(str(name), least.get("", 0)) for name in truth.category]
        boxes = self._draw(truth.select((truth.num_points < 0) | (truth.num_points >= needed)))
        drawn: list[Boxes] = []
        for index in range(len(boxes)):
            kind = self._mistake()
            box = boxes.select([index])
            if kind:
                self._note(kind, frame, str(box.track_id[0]))
            drawn += self._spoil(box, kind)
        if self.random.random() < self.config.extra:
            self._note("extra", frame, "")
            drawn.append(self._extra())
        return replace(frame, boxes=Boxes.concatenate(drawn), boxes_2d=self._label_image(frame))

    def _label_image(self, frame: Frame) -> Boxes2d | None:
        """Return the annotator's boxes in the front image; None where none are asked for."""
        config, camera = self.config.image, frame.camera
        if config is None:
            return None
        truth = Boxes2d.empty() if frame.boxes_2d is None else frame.boxes_2d
        size_px = (0, 0) if camera is None else (camera.width_px, camera.height_px)
        drawn, kinds = draw_in_image(truth, size_px, config, self.random)
        spoilt = np.isin(drawn.track_id, truth.track_id[kinds == "category"])
        names = np.where(
            spoilt, [CONFUSIONS.get(str(name), "car") for name in drawn.category], drawn.category
        )
        moving = {} if frame.boxes is None else _motion_by_track(frame.boxes)
        drawn = drawn.replace(category=names.astype(object))
        attributes = [
            _attributes_text(str(name), is_moving=moving.get(str(track), False))
            for name, track in zip(drawn.category, drawn.track_id, strict=True)
        ]
        for row in np.flatnonzero(kinds != "").tolist():
            self._note(f"image {kinds[row]}", frame, str(truth.track_id[row]))
        return drawn.replace(attributes=np.array(attributes, dtype=object).reshape(-1))

    def switch_tracks(self, frames: Sequence[Frame]) -> list[Frame]:
        """Exchange the ids of two tracks of a category, from some frames to their scene's end."""
        out = list(frames)
        for first, second in pairwise(range(len(out))):
            before, after = out[first], out[second]
            if before.key.scene != after.key.scene:
                continue
            if self.random.random() >= self.config.id_switch:
                continue
            pair = _neighbours(before, after)
            if pair is None:
                continue
            self._note("id_switch", after, pair[0])
            for number in range(second, len(out)):
                if out[number].key.scene == after.key.scene:
                    out[number] = _exchange(out[number], pair)
        return out

    def _note(self, kind: str, frame: Frame, track: str) -> None:
        self.mistakes.append(Mistake(kind, frame.frame_id, track))

    def _mistake(self) -> str:
        """Return the kind of mistake that the next box gets; at most one."""
        luck = self.random.random()
        for kind in BOX_DEFECTS:
            luck -= getattr(self.config, kind)
            if luck < 0:
                return kind
        return ""

    def _draw(self, truth: Boxes) -> Boxes:
        """Return boxes as a careful hand draws them, with what the guideline asks for."""
        count, noise_m = len(truth), self.config.noise_m
        yaw = truth.yaw_rad + self.random.normal(0, self.config.noise_rad, count)
        size = truth.size_m + self.random.normal(0, noise_m, (count, 3))
        attributes = [_attributes(truth, row) for row in range(count)]
        return Boxes.make(
            truth.center_m + self.random.normal(0, noise_m, (count, 3)),
            np.maximum(size, 0.1),
            wrap_angle(yaw),
            truth.category,
            track_id=truth.track_id,
            occlusion=truth.occlusion,
            truncation=truth.truncation,
            attributes=np.array(attributes, dtype=object).reshape(-1),
        )

    def _spoil(self, box: Boxes, kind: str) -> list[Boxes]:
        """Return what is drawn for one object."""
        if kind == "missing":
            return []
        if kind == "duplicate":
            again = box.replace(center_m=box.center_m + self._offset(0.1), track_id=_no_track())
            return [box, again]
        if kind == "shifted":
            return [box.replace(center_m=box.center_m + self._offset(self.config.shift_m))]
        if kind == "swapped":
            return [box.replace(size_m=box.size_m[:, [1, 0, 2]])]
        if kind == "flipped":
            return [box.replace(yaw_rad=wrap_angle(box.yaw_rad + np.pi))]
        if kind == "category":
            wrong = CONFUSIONS.get(str(box.category[0]), "car")
            return [_renamed(box, wrong)]
        return [box]

    def _offset(self, distance_m: float) -> NDArray[np.float64]:
        angle = self.random.uniform(-np.pi, np.pi)
        return distance_m * np.array([[np.cos(angle), np.sin(angle), 0.0]])

    def _extra(self) -> Boxes:
        x, y = self.random.uniform([8.0, -12.0], [35.0, 12.0])
        ghost = Boxes.make(
            [[x, y, 0.9]], [[0.7, 0.6, 1.8]], [0.0], ["pedestrian"], attributes=_no_track()
        )
        return _renamed(ghost, "pedestrian")


def _renamed(box: Boxes, category: str) -> Boxes:
    """Return a box of another category, with the attributes that go with it."""
    renamed = box.replace(category=np.array([category], dtype=object))
    return renamed.replace(attributes=np.array([_attributes(renamed, 0)], dtype=object))


def _attributes(boxes: Boxes, row: int) -> str:
    """Return the attributes that the shipped definition asks for."""
    speed = float(np.hypot(*boxes.velocity_mps[row]))
    return _attributes_text(str(boxes.category[row]), is_moving=speed > MOVING_MPS)


def _attributes_text(category: str, *, is_moving: bool) -> str:
    if category == "pedestrian":
        return '{"posture": "upright"}'
    if category in _VEHICLES:
        return f'{{"motion": "{"moving" if is_moving else "parked"}"}}'
    return ""


def _motion_by_track(boxes: Boxes) -> dict[str, bool]:
    """Return whether each object moves."""
    speed = np.hypot(boxes.velocity_mps[:, 0], boxes.velocity_mps[:, 1])
    return dict(zip(map(str, boxes.track_id), (speed > MOVING_MPS).tolist(), strict=True))


def _no_track() -> NDArray[np.object_]:
    return np.array([""], dtype=object)


def _neighbours(before: Frame, after: Frame) -> tuple[str, str] | None:
    """Return two tracks of one category that both frames show, the nearest to each other."""
    assert before.boxes is not None  # noqa: S101 - labelled before
    assert after.boxes is not None  # noqa: S101 - labelled before
    known = set(before.boxes.track_id) - {""}
    rows = [row for row, track in enumerate(after.boxes.track_id) if track in known]
    best: tuple[float, str, str] | None = None
    for place, first in enumerate(rows):
        for second in rows[place + 1 :]:
            if after.boxes.category[first] == after.boxes.category[second]:
                apart = after.boxes.center_m[first] - after.boxes.center_m[second]
                item = (float(np.hypot(*apart[:2])), *after.boxes.track_id[[first, second]])
                best = item if best is None else min(best, item)
    return None if best is None else best[1:]


def _exchange(frame: Frame, pair: tuple[str, str]) -> Frame:
    assert frame.boxes is not None  # noqa: S101 - labelled before
    other = {pair[0]: pair[1], pair[1]: pair[0]}
    tracks = [other.get(track, track) for track in frame.boxes.track_id]
    return replace(
        frame, boxes=frame.boxes.replace(track_id=np.array(tracks, dtype=object).reshape(-1))
    )


def _with_own_tracks(frame: Frame) -> Frame:
    """Return the frame with track ids that say nothing of the truth's scenes."""
    assert frame.boxes is not None  # noqa: S101 - labelled before
    in_images = frame.boxes_2d
    return replace(
        frame,
        boxes=_renumbered(frame.boxes),
        boxes_2d=None if in_images is None else _renumbered(in_images),
    )


def _renumbered(boxes: TableT) -> TableT:
    tracks = [str(track).rpartition("-")[2] for track in boxes.track_id]
    return boxes.replace(track_id=np.array(tracks, dtype=object).reshape(-1))
