"""Writes labels as CVAT XML 1.1, for video (tracks) or for images (shapes by frame).

CVAT's XML has cuboids as they look in an image only. A box in space is written as ``<cuboid>`` with
the 16 numbers that CVAT's server keeps for it, in the attribute `points`.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

import numpy as np

from admlops.errors import DataError
from admlops.files import write_atomically
from admlops.formats.box_details import TRACK, details_of
from admlops.formats.cvat.values import cuboid_points, is_unsafe, to_text
from admlops.structures.box_table import BoxTable
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import Frame

Mode = Literal["video", "images"]
CAMERA = "camera"


@dataclass(frozen=True, slots=True)
class _Shape:
    """One box on its way into the file."""

    frame: int
    table: BoxTable
    row: int

    @property
    def category(self) -> str:
        return str(self.table.category[self.row])

    @property
    def track(self) -> str:
        return str(self.table.track_id[self.row])


def write_cvat(path: Path, frames: Iterable[Frame], name: str = "", mode: Mode = "video") -> int:
    """Write the boxes of frames, numbered from 0, and return how many frames.

    Args:
        path: the file.
        frames: their boxes in space and in images are written.
        name: of the task.
        mode: "video" has tracks, every box a keyframe; "images" has boxes by frame.

    Raises:
        DataError: a box has a number that is not finite, or a name that XML cannot hold.
    """
    listed = list(frames)
    root = Element("annotations")
    SubElement(root, "version").text = "1.1"
    root.append(_meta(listed, name, mode))
    root.extend(list(_tracks(listed) if mode == "video" else _images(listed)))
    indent(root, " ")
    buffer = io.BytesIO()
    ElementTree(root).write(buffer, encoding="utf-8", xml_declaration=True)
    write_atomically(path, buffer.getvalue() + b"\n")
    return len(listed)


def _meta(frames: Sequence[Frame], name: str, mode: Mode) -> Element:
    meta = Element("meta")
    task = SubElement(meta, "task")
    for key, value in (
        ("name", _checked(name, "task")),
        ("size", str(len(frames))),
        ("mode", "interpolation" if mode == "video" else "annotation"),
        ("start_frame", "0"),
        ("stop_frame", str(len(frames) - 1)),
    ):
        SubElement(task, key).text = value
    labels = SubElement(task, "labels")
    for category in sorted({shape.category for shape in _shapes(frames)}):
        SubElement(SubElement(labels, "label"), "name").text = _checked(category, "label")
    return meta


def _shapes(frames: Sequence[Frame]) -> Iterator[_Shape]:
    for number, frame in enumerate(frames):
        for table in (frame.boxes, frame.boxes_2d):
            if table is not None:
                yield from (_Shape(number, table, row) for row in range(len(table)))


def _tracks(frames: Sequence[Frame]) -> Iterator[Element]:
    """Yield a track per object: one label, and at most one shape of each kind in a frame."""
    tracks: dict[tuple[str, str, str, int], list[_Shape]] = {}
    for index, shape in enumerate(_shapes(frames)):
        if not shape.track:
            tracks["", "", "", index] = [shape]
            continue
        kind, place = type(shape.table).__name__, 0
        key = (shape.track, shape.category, kind, place)
        while key in tracks and tracks[key][-1].frame == shape.frame:
            place += 1
            key = (shape.track, shape.category, kind, place)
        tracks.setdefault(key, []).append(shape)
    for number, shapes in enumerate(tracks.values()):
        label = _checked(shapes[0].category, "label")
        track = Element("track", id=str(number), label=label, source="manual")
        for place, shape in enumerate(shapes):
            following = shapes[place + 1].frame if place + 1 < len(shapes) else len(frames)
            track.append(_element(shape, frame=str(shape.frame), outside="0", keyframe="1"))
            if following > shape.frame + 1:
                gone = str(shape.frame + 1)
                track.append(_element(shape, frame=gone, outside="1", keyframe="1"))
        yield track


def _images(frames: Sequence[Frame]) -> Iterator[Element]:
    elements = []
    for number, frame in enumerate(frames):
        camera = frame.camera
        width, height = (0, 0) if camera is None else (camera.width_px, camera.height_px)
        named = _checked(frame.frame_id, "frame")
        own = {"id": str(number), "name": named, "width": str(width), "height": str(height)}
        elements.append(Element("image", own))
    for shape in _shapes(frames):
        label = _checked(shape.category, "label")
        elements[shape.frame].append(_element(shape, label=label, source="manual"))
    yield from elements


def _element(shape: _Shape, **attributes: str) -> Element:
    table, row = shape.table, shape.row
    own = {**attributes, "occluded": "0", "z_order": str(row)}
    details = {**details_of(table, row), TRACK: shape.track}
    if isinstance(table, Boxes):
        center, size = table.center_m[row].tolist(), table.size_m[row].tolist()
        _require_finite(shape, [*center, *size, float(table.yaw_rad[row])])
        own["points"] = cuboid_points(center, float(table.yaw_rad[row]), size)
        tag, occlusion = "cuboid", int(table.occlusion[row])
    else:
        assert isinstance(table, Boxes2d)  # noqa: S101 - there are two tables
        corners = table.box2d_px[row].tolist()
        _require_finite(shape, corners)
        own |= zip(("xtl", "ytl", "xbr", "ybr"), map(repr, corners), strict=True)
        details[CAMERA] = str(table.camera[row])
        tag, occlusion = "box", int(table.occlusion[row])
    own["occluded"] = str(int(occlusion > 0))
    element = Element(tag, own)
    for name, value in (details | {"occlusion": occlusion}).items():
        child = SubElement(element, "attribute", name=_checked(name, "attribute"))
        child.text = to_text(value)
    return element


def _checked(name: str, what: str) -> str:
    if is_unsafe(name):
        raise DataError(f"{what} {name!r:.40} holds characters that XML cannot; rename it")
    return name


def _require_finite(shape: _Shape, numbers: list[float]) -> None:
    if not np.isfinite(numbers).all():
        raise DataError(f"frame {shape.frame}: box {shape.row} is {numbers}; it cannot be written")
