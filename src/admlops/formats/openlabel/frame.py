"""One frame of an OpenLABEL file: from its JSON to boxes, sensors and a pose."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from admlops.formats.label_file import BrokenLabelError, LabelledFrame
from admlops.formats.openlabel.coordinates import CoordinateSystems
from admlops.formats.openlabel.index import OpenLabelIndex, member
from admlops.formats.openlabel.layout import EXTENSION, SHAPES, Json
from admlops.formats.openlabel.sensors import read_sensors
from admlops.formats.openlabel.shapes import Shape, Tilt, decode_table
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import Frame, FrameKey

_MAX_DIGITS = 9


@dataclass
class Seen:
    """What is said of frames beside their content.

    Attributes:
        others: shapes that are no boxes, by kind, of all frames.
        lean: which boxes of the latest frame do not stand upright, in words.
    """

    others: Counter[str] = field(default_factory=Counter)
    lean: str = ""


def decode_frame(index: OpenLabelIndex, number: int, seen: Seen) -> LabelledFrame:
    """Return a frame by its number, and note what is to be said of it.

    Raises:
        DataError: the file cannot be read, or is not what it was.
        BrokenLabelError: a part of the frame is not as the format says.
    """
    seen.lean = ""
    values = index.frame(number)
    return LabelledFrame(_decode(index, number, values, seen), _uris_of(values))


def _decode(index: OpenLabelIndex, number: int, frame: Json, seen: Seen) -> Frame:
    properties = member(frame, "frame_properties")
    own = member(properties, EXTENSION)
    systems = CoordinateSystems(index.systems, member(properties, "transforms"))
    shapes = _shapes(index, member(frame, "objects"), seen)
    tilt = Tilt()
    boxes = decode_table(Boxes, shapes["cuboid"], systems, tilt)
    boxes_2d = decode_table(Boxes2d, shapes["bbox"], systems, tilt)
    seen.lean = tilt.text if tilt.count else ""
    streams = member(properties, "streams") if "streams" in properties else index.streams
    lidar, camera, others = read_sensors(index.streams, streams, systems, own)
    has_boxes = own.get("has_boxes", bool(shapes["cuboid"]) or not shapes["bbox"])
    has_boxes_2d = own.get("has_boxes_2d", bool(shapes["bbox"]))
    name = index.path.stem
    return Frame(
        key=FrameKey(
            _text(own, "log", name),
            _text(own, "scene", name),
            _timestamp_ns(properties.get("timestamp"), number),
        ),
        frame_id=_text(own, "frame_id", str(number)),
        global_from_ego=systems.global_from_ego(),
        lidar=lidar,
        camera=camera,
        boxes=boxes if has_boxes is True else None,
        tags=_tags(own),
        split=_text(own, "split", ""),
        source=_text(own, "source", ""),
        other_cameras=others,
        boxes_2d=boxes_2d if has_boxes_2d is True else None,
    )


def _shapes(index: OpenLabelIndex, objects: Json, seen: Seen) -> dict[str, list[Shape]]:
    """Return track, category and shape of all cuboids, and of all boxes, of one frame."""
    shapes: dict[str, list[Shape]] = {kind: [] for kind in SHAPES}
    for uid in objects:
        track, category = index.identity(uid)
        for kind, items in member(member(objects, uid), "object_data").items():
            if not isinstance(items, list):
                raise BrokenLabelError(f"object {uid!r:.40}: {kind!r:.20} is not a list")
            if kind not in SHAPES:
                seen.others[str(kind)] += len(items)
                continue
            for item in items:
                if not isinstance(item, dict):
                    raise BrokenLabelError(f"object {uid!r:.40}: {kind} is {item!r:.40}")
                shapes[kind].append((track, category, item))
    return shapes


def _uris_of(frame: Json) -> dict[str, str]:
    """Return where a frame says that the data of its sensors is, by their names."""
    streams = member(member(frame, "frame_properties"), "streams")
    return {
        name: stream["uri"]
        for name, stream in streams.items()
        if isinstance(stream, dict) and isinstance(stream.get("uri"), str)
    }


def _text(values: Json, name: str, default: str) -> str:
    """Return a member that is text, or the default."""
    value = values.get(name, default)
    return value if isinstance(value, str) else default


def _tags(own: Json) -> tuple[str, ...]:
    tags = own.get("tags")
    return tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else ()


def _timestamp_ns(value: Any, number: int) -> int:  # noqa: ANN401 - any JSON value
    """Return nanoseconds of seconds (a number, or text of one) or of a date and time.

    Frames without a time are counted in tenths of a second; a time without a zone is UTC.

    Raises:
        BrokenLabelError: it is no time.
    """
    if value is None:
        return number * 100_000_000
    try:
        seconds = Decimal(str(value))
    except InvalidOperation:
        return _date_ns(str(value))
    if not seconds.is_finite() or seconds.adjusted() > _MAX_DIGITS:
        raise BrokenLabelError(f"timestamp is {value!r:.60}, too far away")
    return int(seconds.scaleb(9).to_integral_value())


def _date_ns(value: str) -> int:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise BrokenLabelError(f"timestamp is {value!r:.60}, expected seconds or a date") from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return ((since.days * 86_400 + since.seconds) * 10**6 + since.microseconds) * 1000
