"""Reads ASAM OpenLABEL 1.0 JSON: cuboids and boxes, attributes, sensors and poses by frame."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NoReturn

from admlops.errors import DataError
from admlops.formats.label_file import BrokenLabelError, FrameCollector, LabelFile
from admlops.formats.openlabel.coordinates import CoordinateSystems
from admlops.formats.openlabel.layout import EXTENSION, SCHEMA_VERSION, SHAPES
from admlops.formats.openlabel.sensors import read_sensors
from admlops.formats.openlabel.shapes import Tilt, decode_table
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import Frame, FrameKey

MAX_BYTES = 1 << 30
"""Larger files are refused: a document is read as a whole, and takes ten times as much memory."""
_MAX_DIGITS = 9

Json = Mapping[str, Any]


def read_openlabel(path: Path) -> LabelFile:
    """Read a file of OpenLABEL; what is wrong in a frame leaves it out, with a finding.

    Boxes come back in the vehicle's frame, with the category that the file names. A box belongs to
    the track of its object; object and frame are those of the file where another tool wrote it.

    Raises:
        DataError: the file cannot be read, or is no OpenLABEL 1.0 document.
    """
    document = _load(path)
    return _Document(document, path.stem).read()


def _load(path: Path) -> Json:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DataError(f"{path}: {size} bytes; more than {MAX_BYTES} are not read")
        whole = json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except OSError as error:
        raise DataError(f"{path}: labels cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error!s:.200}); export the file again") from error
    document = whole.get("openlabel") if isinstance(whole, dict) else None
    if not isinstance(document, dict):
        raise DataError(f"{path}: not OpenLABEL: it has no member 'openlabel' at the top")
    metadata = document.get("metadata")
    version = metadata.get("schema_version") if isinstance(metadata, dict) else None
    if version != SCHEMA_VERSION:
        raise DataError(
            f"{path}: OpenLABEL schema_version is {version!r:.40}; {SCHEMA_VERSION} is read"
        )
    for name in ("frames", "objects", "streams", "coordinate_systems"):
        if not isinstance(document.get(name, {}), dict):
            raise DataError(f"{path}: '{name}' is not a JSON object; export the file again")
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


@dataclass
class _Document:
    """A file that is being read."""

    values: Json
    name: str
    collected: FrameCollector = field(default_factory=FrameCollector)
    others: Counter[str] = field(default_factory=Counter)

    def read(self) -> LabelFile:
        frames = self.values.get("frames", {})
        numbers: dict[int, str] = {}
        for text in frames:
            if not (text.isascii() and text.isdigit() and len(text) < 19):
                self.collected.refuse("EXCH001", f"frame {text!r:.40}", "not a frame number")
            elif int(text) in numbers:
                self.collected.refuse("EXCH004", f"frame {text!r:.40}", "its number is repeated")
            else:
                numbers[int(text)] = text
        for number in sorted(numbers):
            where = f"frame {number}"
            try:
                frame = member(frames, numbers[number])
                self.collected.add(self._frame(number, frame), where, uris_of(frame))
            except BrokenLabelError as error:
                self.collected.refuse("EXCH001", where, str(error))
        for kind, count in sorted(self.others.items()):
            self.collected.note("EXCH003", self.name, f"{count} shapes of the kind {kind}")
        return self.collected.result()

    def _frame(self, number: int, frame: Json) -> Frame:
        properties = member(frame, "frame_properties")
        own = member(properties, EXTENSION)
        systems = CoordinateSystems(
            self.values.get("coordinate_systems", {}), member(properties, "transforms")
        )
        shapes = self._shapes(member(frame, "objects"))
        tilt = Tilt()
        boxes = decode_table(Boxes, shapes["cuboid"], systems, tilt)
        boxes_2d = decode_table(Boxes2d, shapes["bbox"], systems, tilt)
        if tilt.count:
            self.collected.note("EXCH002", f"frame {number}", tilt.text)
        declared = self.values.get("streams", {})
        streams = member(properties, "streams") if "streams" in properties else declared
        lidar, camera, others = read_sensors(declared, streams, systems, own)
        has_boxes = own.get("has_boxes", bool(shapes["cuboid"]) or not shapes["bbox"])
        has_boxes_2d = own.get("has_boxes_2d", bool(shapes["bbox"]))
        return Frame(
            key=FrameKey(
                text(own, "log", self.name),
                text(own, "scene", self.name),
                read_timestamp(properties.get("timestamp"), number),
            ),
            frame_id=text(own, "frame_id", str(number)),
            global_from_ego=systems.global_from_ego(),
            lidar=lidar,
            camera=camera,
            boxes=boxes if has_boxes is True else None,
            tags=_tags(own),
            split=text(own, "split", ""),
            source=text(own, "source", ""),
            other_cameras=others,
            boxes_2d=boxes_2d if has_boxes_2d is True else None,
        )

    def _shapes(self, objects: Json) -> dict[str, list[tuple[str, str, Json]]]:
        """Return track, category and shape of all cuboids, and of all boxes, of one frame."""
        shapes: dict[str, list[tuple[str, str, Json]]] = {kind: [] for kind in SHAPES}
        for uid, entry in objects.items():
            track, category = self._identity(uid)
            for kind, items in member(member({uid: entry}, uid), "object_data").items():
                if not isinstance(items, list):
                    raise BrokenLabelError(f"object {uid!r:.40}: {kind!r:.20} is not a list")
                if kind not in SHAPES:
                    self.others[str(kind)] += len(items)
                    continue
                for item in items:
                    if not isinstance(item, dict):
                        raise BrokenLabelError(f"object {uid!r:.40}: {kind} is {item!r:.40}")
                    shapes[kind].append((track, category, item))
        return shapes

    def _identity(self, uid: str) -> tuple[str, str]:
        """Return track and category of an object; where none is named, its UID is the track."""
        entry = member(self.values.get("objects", {}), uid)
        category = entry.get("type")
        if not isinstance(category, str):
            raise BrokenLabelError(f"object {uid!r:.40} is not declared with a type")
        for item in texts_of(entry):
            return item, category
        return uid, category


def uris_of(frame: Json) -> dict[str, str]:
    """Return where a frame says that the data of its sensors is, by their names."""
    streams = member(member(frame, "frame_properties"), "streams")
    return {
        name: stream["uri"]
        for name, stream in streams.items()
        if isinstance(stream, dict) and isinstance(stream.get("uri"), str)
    }


def texts_of(entry: Json) -> Iterator[str]:
    """Yield the texts called "track_id" of a declared object."""
    items = member(entry, "object_data").get("text", [])
    for item in items if isinstance(items, list) else []:
        is_track = isinstance(item, dict) and item.get("name") == "track_id"
        if is_track and isinstance(item.get("val"), str):
            yield item["val"]


def member(values: Json, name: str) -> Json:
    """Return a member that is a JSON object; empty where it is absent.

    Raises:
        BrokenLabelError: it is something else.
    """
    value = values.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BrokenLabelError(f"{name!r:.40} is {value!r:.40}, expected a JSON object")
    return value


def text(values: Json, name: str, default: str) -> str:
    """Return a member that is text, or the default."""
    value = values.get(name, default)
    return value if isinstance(value, str) else default


def _tags(own: Json) -> tuple[str, ...]:
    tags = own.get("tags")
    return tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else ()


def read_timestamp(value: Any, number: int) -> int:  # noqa: ANN401 - any JSON value
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


def is_openlabel(path: Path) -> bool:
    """Return whether a file looks like OpenLABEL, by its first bytes."""
    with path.open("rb") as file:
        head = file.read(4096)
    return head.lstrip().startswith(b"{") and b'"openlabel"' in head
