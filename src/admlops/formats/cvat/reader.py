"""Reads CVAT XML 1.1, for video and for images: boxes, and cuboids in space, track by track."""

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from admlops.errors import DataError
from admlops.formats.box_details import TRACK, columns_of, finite
from admlops.formats.cvat.interpolation import STAYS, spans_of
from admlops.formats.cvat.shapes import Shape, TaskShapes
from admlops.formats.cvat.values import from_text, read_points
from admlops.formats.label_file import (
    BrokenLabelError,
    FrameCollector,
    LabelFile,
    LabelledFrame,
)
from admlops.formats.source import read_head
from admlops.formats.xml_stream import iterate_inner_parts
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
    task = _Task(path, frames, None if frames is None else len(frames), TaskShapes(path))
    for part, parent in iterate_inner_parts(path, "annotations", ("track",)):
        if parent is None:
            task.look(part)
        else:
            task.look_inside(parent, part)
    return task.result()


@dataclass
class _Track:
    """What the open track has of one kind.

    Attributes:
        shapes: frame, whether the object is gone, and number of each, one after the other.
        broken: what is wrong, by frame.
    """

    shapes: "array[int]" = field(default_factory=lambda: array("q"))
    broken: dict[int, str] = field(default_factory=dict)


@dataclass
class _Task:
    """A file that is being read, and its frames once it is."""

    path: Path
    frames: Sequence[Frame] | None
    size: int | None
    shapes: TaskShapes
    name: str = ""
    names: dict[int, str] = field(default_factory=dict)
    first: int = 0
    track: dict[str, _Track] = field(default_factory=lambda: {kind: _Track() for kind in _KINDS})
    broken: dict[int, str] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)
    tilted: Counter[int] = field(default_factory=Counter)

    def look(self, part: Element) -> None:
        if part.tag == "version" and not (part.text or "").strip().startswith("1."):
            raise DataError(f"{self.path}: CVAT XML {part.text!r:.20}; version 1.1 is read")
        if part.tag == "meta":
            self._look_at_meta(part)
        elif part.tag == "track":
            self._close_track()
        elif part.tag == "image":
            self._look_at_image(part)

    def look_inside(self, track: Element, element: Element) -> None:
        kind = element.tag
        if kind not in _KINDS:
            self._count_other(kind)
            return
        found, frame = self.track[kind], self._frame_of(element)
        shape = self._read(
            element, (frame, track.get("label", ""), track.get("id", "")), found.broken
        )
        if shape is not None:
            is_outside = element.get("outside") == "1"
            found.shapes.extend((frame, is_outside, self.shapes.keep(shape)))

    def result(self) -> LabelFile:
        """Return the frames of the task, all that it has or that the shapes name."""
        listed = np.arange(self.first, self.first + (self.size or 0))
        named = [np.array(list(numbers), np.int64) for numbers in (self.broken, self.names)]
        collected = FrameCollector()
        for number in np.unique(np.concatenate([listed, self.shapes.sort(), *named])).tolist():
            where = f"frame {number}"
            if number in self.broken:
                collected.refuse("EXCH001", where, self.broken[number])
                continue
            if self.frames is not None and number >= len(self.frames):
                collected.refuse("EXCH004", where, f"the task has {len(self.frames)} frames")
                continue
            if self.tilted[number]:
                collected.note("EXCH002", where, f"{self.tilted[number]} boxes lean")
            try:
                collected.add(number, self.frame(number).frame)
            except BrokenLabelError as error:
                collected.refuse("EXCH001", where, str(error))
        for kind, count in sorted(self.others.items()):
            collected.note("EXCH003", self.path.name, f"{count} shapes of the kind {kind!r:.40}")
        return collected.result(self.frame)

    def frame(self, number: int) -> LabelledFrame:
        found, kinds = self.shapes.of_frame(number), self.shapes.kinds
        boxes = _table(Boxes, [shape for shape in found if shape.kind == "cuboid"])
        boxes_2d = _table(Boxes2d, [shape for shape in found if shape.kind == "box"])
        if self.frames is None:
            name = self.name or self.path.stem
            key = FrameKey(name, name, number * _NS_PER_FRAME)
            frame = Frame(key, self.names.get(number, f"{number:06d}"), np.eye(4))
        else:
            frame = self.frames[number]
        labelled = replace(
            frame,
            boxes=boxes if "cuboid" in kinds or "box" not in kinds else None,
            boxes_2d=boxes_2d if "box" in kinds else None,
        )
        return LabelledFrame(labelled, {})

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

    def _close_track(self) -> None:
        for kind, found in self.track.items():
            self.broken |= found.broken
            shapes = np.array(found.shapes, np.int64).reshape(-1, 3)
            self._show(kind, spans_of(shapes, self.first + (self.size or 0)))
            self.track[kind] = _Track()

    def _look_at_image(self, image: Element) -> None:
        number = _frame_number(image.get("id", ""))
        if number is None:
            raise DataError(f"{self.path}: image id {image.get('id')!r:.40} is no frame number")
        if number in self.names:
            self.broken[number] = "a second image of this id"
        self.names[number] = image.get("name", str(number))
        for kind in _KINDS:
            for element in image.findall(kind):
                shape = self._read(element, (number, element.get("label", ""), ""), self.broken)
                if shape is not None:
                    kept = self.shapes.keep(shape)
                    self._show(kind, np.array([[number, number + 1, kept, STAYS]]))
        for child in image:
            self._count_other(child.tag)

    def _frame_of(self, element: Element) -> int:
        number = _frame_number(element.get("frame", ""))
        if number is None:
            text = element.get("frame", "")
            raise DataError(
                f"{self.path}: a {element.tag} is in frame {text!r:.40}, no frame number"
            )
        return number

    def _read(
        self, element: Element, place: tuple[int, str, str], broken: dict[int, str]
    ) -> Shape | None:
        """Return a shape; None where it is of another kind, or broken, which is noted.

        Args:
            element: of the file.
            place: its frame and label, and the number of its track.
            broken: takes what is wrong, by frame.
        """
        frame, label, track = place
        if (element.tag == "cuboid" and "points" not in element.attrib) or _is_rotated(element):
            self.others["rotated box" if element.tag == "box" else "cuboid in an image"] += 1
            return None
        try:
            numbers = self._numbers(element, frame)
            order = int(finite(element.get("z_order", "0"), "z_order"))
        except BrokenLabelError as error:
            broken[frame] = str(error)
            return None
        details = _details(element)
        return Shape(element.tag, str(details.get(TRACK, track)), label, order, numbers, details)

    def _numbers(self, element: Element, frame: int) -> list[float]:
        if element.tag == "box":
            return [finite(element.get(name), name) for name in _CORNERS]
        x, y, z, roll, pitch, yaw, length, width, height = read_points(element.get("points", ""))
        if min(length, width, height) < 0:
            raise BrokenLabelError(f"a cuboid has sizes {length}, {width}, {height}")
        if max(abs(roll), abs(pitch)) > _MAX_TILT_RAD:
            self.tilted[frame] += 1
        if not -np.pi <= yaw < np.pi:
            yaw = float(wrap_angle(yaw))
        return [x, y, z, length, width, height, yaw]

    def _show(self, kind: str, spans: NDArray[np.int64]) -> None:
        self.shapes.show(kind, spans)
        if self.shapes.num_seen > MAX_SHAPES:
            raise DataError(f"{self.path}: more than {MAX_SHAPES} shapes; export it in parts")

    def _count_other(self, tag: str) -> None:
        if tag not in (*_KINDS, "attribute"):
            self.others[tag] += 1


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


def _table(kind: type[TableT], found: Sequence[Shape]) -> TableT:
    found = sorted(found, key=lambda item: item.order)
    columns: dict[str, Any] = columns_of([_own_details(item) for item in found], kind)
    columns["track_id"] = np.array([item.track for item in found], dtype=object)
    columns["category"] = np.array([item.label for item in found], dtype=object)
    numbers = [item.numbers for item in found]
    if kind is Boxes:
        rows = np.array(numbers).reshape(-1, 7)
        columns |= {"center_m": rows[:, :3], "size_m": rows[:, 3:6], "yaw_rad": rows[:, 6]}
    else:
        cameras = [str(item.details.get("camera", "")) for item in found]
        columns["box2d_px"] = np.array(numbers).reshape(-1, 4)
        columns["camera"] = np.array(cameras, dtype=object)
    return kind.from_columns(len(found), columns)


def _own_details(shape: Shape) -> dict[str, Any]:
    """Return what is said of a box without what is kept elsewhere."""
    elsewhere = {TRACK} | ({"camera"} if len(shape.numbers) == 4 else set())
    return {name: value for name, value in shape.details.items() if name not in elsewhere}


def is_cvat(path: Path) -> bool:
    """Return whether a file looks like CVAT XML, by its first bytes; not if it cannot be read."""
    return b"<annotations" in read_head(path)
