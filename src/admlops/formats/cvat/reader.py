"""Reads CVAT XML 1.1, for video and for images: boxes, and cuboids in space, track by track."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from xml.etree.ElementTree import Element

import numpy as np

from admlops.errors import DataError
from admlops.formats.box_details import TRACK, columns_of, finite
from admlops.formats.cvat.interpolation import Shape, fill_track
from admlops.formats.cvat.values import from_text, read_points
from admlops.formats.label_file import BrokenLabelError, FrameCollector, LabelFile
from admlops.formats.xml_stream import iterate_parts
from admlops.geometry.pose import wrap_angle
from admlops.structures.box_table import BoxTable
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import Frame, FrameKey

MAX_FRAMES = 1_000_000
MAX_SHAPES = 2_000_000
"""Shapes of a file, those between keyframes included."""
_CORNERS = ("xtl", "ytl", "xbr", "ybr")
_KINDS = ("cuboid", "box")
_MAX_TILT_RAD = 0.0175
_NS_PER_FRAME = 100_000_000

TableT = TypeVar("TableT", bound=BoxTable)


def read_cvat(path: Path, frames: Sequence[Frame] | None = None) -> LabelFile:
    """Read a file of CVAT; what is wrong in a frame leaves it out, with a finding.

    Boxes without an attribute `track_id` belong to their track's number; those of images to none.
    CVAT does not know frames that nobody labelled: all frames of the task have boxes in space where
    the file has cuboids, and boxes in images where it has boxes.

    Args:
        path: the XML file.
        frames: the frames of the task by number, which get the labels; without, they are called by
            the task's name and ten of them make a second.

    Raises:
        DataError: the file cannot be read, or is no CVAT XML 1.1.
    """
    task = _Task(path, None if frames is None else len(frames))
    for part in iterate_parts(path, "annotations"):
        task.look(part)
    return task.result(frames)


class _Found(NamedTuple):
    """A shape, with what stands beside it in the file."""

    track: str
    label: str
    shape: Shape


@dataclass
class _Task:
    """A file that is being read."""

    path: Path
    size: int | None
    name: str = ""
    names: dict[int, str] = field(default_factory=dict)
    first: int = 0
    boxes: dict[int, dict[str, list[_Found]]] = field(default_factory=dict)
    broken: dict[int, str] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)
    tilted: Counter[int] = field(default_factory=Counter)
    num_shapes: int = 0

    def look(self, part: Element) -> None:
        if part.tag == "version" and not (part.text or "").strip().startswith("1."):
            raise DataError(f"{self.path}: CVAT XML {part.text!r:.20}; version 1.1 is read")
        if part.tag == "meta":
            self._look_at_meta(part)
        elif part.tag == "track":
            self._look_at_track(part)
        elif part.tag == "image":
            self._look_at_image(part)

    def result(self, frames: Sequence[Frame] | None) -> LabelFile:
        """Return the frames of the task, all that it has or that the shapes name."""
        listed = range(self.first, self.first + (self.size or 0))
        kinds = {kind for found in self.boxes.values() for kind in found}
        collected = FrameCollector()
        for number in sorted({*listed, *self.boxes, *self.broken, *self.names}):
            where = f"frame {number}"
            if number in self.broken:
                collected.refuse("EXCH001", where, self.broken[number])
                continue
            if frames is not None and number >= len(frames):
                collected.refuse("EXCH004", where, f"the task has {len(frames)} frames")
                continue
            if self.tilted[number]:
                collected.note("EXCH002", where, f"{self.tilted[number]} boxes lean")
            try:
                collected.add(self._frame(number, frames, kinds), where)
            except BrokenLabelError as error:
                collected.refuse("EXCH001", where, str(error))
        for kind, count in sorted(self.others.items()):
            collected.note("EXCH003", self.path.name, f"{count} shapes of the kind {kind!r:.40}")
        return collected.result()

    def _frame(self, number: int, frames: Sequence[Frame] | None, kinds: set[str]) -> Frame:
        found = self.boxes.get(number, {})
        boxes = _table(Boxes, found.get("cuboid", []))
        boxes_2d = _table(Boxes2d, found.get("box", []))
        if frames is None:
            name = self.name or self.path.stem
            key = FrameKey(name, name, number * _NS_PER_FRAME)
            frame = Frame(key, self.names.get(number, f"{number:06d}"), np.eye(4))
        else:
            frame = frames[number]
        return replace(
            frame,
            boxes=boxes if "cuboid" in kinds or "box" not in kinds else None,
            boxes_2d=boxes_2d if "box" in kinds else None,
        )

    def _look_at_meta(self, meta: Element) -> None:
        task = meta.find("task")
        if task is None:
            task = meta.find("job")
        if task is None:
            raise DataError(f"{self.path}: not an export of one task; export the task by itself")
        self.name = (task.findtext("name") or "").strip()
        if self.size is None:
            self.first = _frame_number(task.findtext("start_frame") or "0") or 0
            self.size = _frame_number(task.findtext("size") or "0")

    def _look_at_track(self, track: Element) -> None:
        label, own_id = track.get("label", ""), track.get("id", "")
        for kind in _KINDS:
            shapes: list[Shape] = []
            for element in track.findall(kind):
                shape = self._read(kind, element, _frame_number(element.get("frame", "")))
                if shape is not None:
                    shapes.append(shape)
            shapes.sort(key=lambda shape: shape.frame)
            for shape in fill_track(_once_a_frame(shapes), self.first + (self.size or 0)):
                self._keep(kind, label, shape, own_id)
        self._count_others(track)

    def _look_at_image(self, image: Element) -> None:
        number = _frame_number(image.get("id", ""))
        if number is None:
            raise DataError(f"{self.path}: image id {image.get('id')!r:.40} is no frame number")
        if number in self.names:
            self.broken[number] = "a second image of this id"
        self.names[number] = image.get("name", str(number))
        for kind in _KINDS:
            for element in image.findall(kind):
                shape = self._read(kind, element, number)
                if shape is not None:
                    self._keep(kind, element.get("label", ""), shape, "")
        self._count_others(image)

    def _read(self, kind: str, element: Element, frame: int | None) -> Shape | None:
        """Return a shape; None where it is of another kind, or broken, which its frame notes."""
        if frame is None:
            number = element.get("frame", "")
            raise DataError(f"{self.path}: a {kind} is in frame {number!r:.40}, no frame number")
        if (kind == "cuboid" and "points" not in element.attrib) or _is_rotated(element):
            self.others["rotated box" if kind == "box" else "cuboid in an image"] += 1
            return None
        try:
            numbers = self._numbers(kind, element, frame)
            order = int(finite(element.get("z_order", "0"), "z_order"))
        except BrokenLabelError as error:
            self.broken[frame] = str(error)
            return None
        is_outside = element.get("outside") == "1"
        return Shape(frame, is_outside, np.array(numbers), order, _details(element))

    def _numbers(self, kind: str, element: Element, frame: int) -> list[float]:
        if kind == "box":
            return [finite(element.get(name), name) for name in _CORNERS]
        x, y, z, roll, pitch, yaw, length, width, height = read_points(element.get("points", ""))
        if min(length, width, height) < 0:
            raise BrokenLabelError(f"a cuboid has sizes {length}, {width}, {height}")
        if max(abs(roll), abs(pitch)) > _MAX_TILT_RAD:
            self.tilted[frame] += 1
        if not -np.pi <= yaw < np.pi:
            yaw = float(wrap_angle(yaw))
        return [x, y, z, length, width, height, yaw]

    def _keep(self, kind: str, label: str, shape: Shape, own_id: str) -> None:
        self.num_shapes += 1
        if self.num_shapes > MAX_SHAPES:
            raise DataError(f"{self.path}: more than {MAX_SHAPES} shapes; export it in parts")
        found = _Found(str(shape.details.get(TRACK, own_id)), label, shape)
        self.boxes.setdefault(shape.frame, {}).setdefault(kind, []).append(found)

    def _count_others(self, parent: Element) -> None:
        self.others.update(child.tag for child in parent if child.tag not in (*_KINDS, "attribute"))


def _once_a_frame(shapes: Sequence[Shape]) -> list[Shape]:
    """Return the shapes with the last of each frame; CVAT writes a frame of a track once."""
    return list({shape.frame: shape for shape in shapes}.values())


def _frame_number(text: str) -> int | None:
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        return None
    return int(text) if int(text) < MAX_FRAMES else None


def _is_rotated(element: Element) -> bool:
    return element.tag == "box" and element.get("rotation", "0").strip("0.") != ""


def _details(element: Element) -> dict[str, Any]:
    details: dict[str, Any] = {
        child.get("name", ""): from_text(child.text or "") for child in element.findall("attribute")
    }
    for name in (TRACK, "camera"):
        if name in details and not isinstance(details[name], str):
            texts = (
                child.text for child in element.findall("attribute") if child.get("name") == name
            )
            details[name] = next(texts) or ""
    return {"occlusion": int(element.get("occluded") == "1"), **details}


def _table(kind: type[TableT], found: Sequence[_Found]) -> TableT:
    found = sorted(found, key=lambda item: item.shape.order)
    columns: dict[str, Any] = columns_of([_own_details(item.shape) for item in found], kind)
    columns["track_id"] = np.array([item.track for item in found], dtype=object)
    columns["category"] = np.array([item.label for item in found], dtype=object)
    numbers = [item.shape.numbers for item in found]
    if kind is Boxes:
        rows = np.array(numbers).reshape(-1, 7)
        columns |= {"center_m": rows[:, :3], "size_m": rows[:, 3:6], "yaw_rad": rows[:, 6]}
    else:
        cameras = [str(item.shape.details.get("camera", "")) for item in found]
        columns["box2d_px"] = np.array(numbers).reshape(-1, 4)
        columns["camera"] = np.array(cameras, dtype=object)
    return kind.from_columns(len(found), columns)


def _own_details(shape: Shape) -> dict[str, Any]:
    """Return what is said of a box without what is kept elsewhere."""
    elsewhere = {TRACK} | ({"camera"} if len(shape.numbers) == 4 else set())
    return {name: value for name, value in shape.details.items() if name not in elsewhere}


def is_cvat(path: Path) -> bool:
    """Return whether a file looks like CVAT XML, by its first bytes."""
    with path.open("rb") as file:
        return b"<annotations" in file.read(4096)
