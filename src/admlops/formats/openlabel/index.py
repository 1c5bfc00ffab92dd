"""What an OpenLABEL file holds and where: small members, names of objects, places of frames.

Frames, of which files have gigabytes, stay in the file until they are asked for.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from admlops.errors import DataError
from admlops.formats.box_details import TRACK
from admlops.formats.json_stream import Item, iterate_members, read_items
from admlops.formats.label_file import BrokenLabelError, FrameCollector
from admlops.formats.openlabel.layout import SCHEMA_VERSION, Json

MAX_KEPT_BYTES = 64 << 20
"""Of streams, coordinate systems and metadata, which are held in memory."""
_KEPT = ("metadata", "streams", "coordinate_systems")
_PARTS = ("frames", "objects", *_KEPT)

Identity = tuple[str, str]
"""Track and category of an object."""


@dataclass
class OpenLabelIndex:
    """A file that was read through once.

    Attributes:
        path: the file.
        streams: of the whole file.
        systems: coordinate systems of the whole file.
        objects: track and category of each object, or what is wrong with it.
        numbers: (N,) of the frames, rising; those that have none are not among them.
    """

    path: Path
    streams: Json
    systems: Json
    objects: Mapping[str, Identity | str]
    numbers: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    _places: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 2), np.int64))
    _texts: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path, collected: FrameCollector) -> "OpenLabelIndex":
        """Read a file through; frames without a number of their own are refused.

        Raises:
            DataError: it cannot be read, or is no OpenLABEL 1.0 document.
        """
        document = _load(path)
        streams, systems = document.get("streams", {}), document.get("coordinate_systems", {})
        index = cls(path, streams, systems, document.get("objects", {}))
        index._number(document.get("frames", {}), collected)
        return index

    def frame(self, number: int) -> Json:
        """Return what the file says of a frame.

        Raises:
            DataError: the file cannot be read, or is not what it was.
            BrokenLabelError: the frame is not a JSON object.
        """
        row = int(np.searchsorted(self.numbers, number))
        (value,) = read_items(self.path, [self._places[row].tolist()])
        name = self._texts.get(number, str(number))
        return member({name: value}, name)

    def identity(self, uid: str) -> Identity:
        """Return track and category of an object; where none is named, its UID is the track.

        Raises:
            BrokenLabelError: it is not declared as the format says.
        """
        found = self.objects.get(uid)
        if found is None:
            found = _identity(uid, None)
        if isinstance(found, str):
            raise BrokenLabelError(found)
        return found

    def _number(self, frames: Mapping[str, tuple[int, int]], collected: FrameCollector) -> None:
        places: dict[int, tuple[int, int]] = {}
        for text, place in frames.items():
            if not (text.isascii() and text.isdigit() and len(text) < 19):
                collected.refuse("EXCH001", f"frame {text!r:.40}", "not a frame number")
            elif int(text) in places:
                collected.refuse("EXCH004", f"frame {text!r:.40}", "its number is repeated")
            else:
                places[int(text)] = place
                if str(int(text)) != text:
                    self._texts[int(text)] = text
        self.numbers = np.array(sorted(places), dtype=np.int64)
        rows = [places[number] for number in self.numbers.tolist()]
        self._places = np.array(rows, dtype=np.int64).reshape(-1, 2)


def _load(path: Path) -> dict[str, Any]:
    """Return the document with what is kept of its members."""
    try:
        document = _slim(path)
    except OSError as error:
        raise DataError(f"{path}: labels cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error!s:.200}); export the file again") from error
    if document is None:
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


def _slim(path: Path) -> dict[str, Any] | None:
    """Return what a reader of the whole would, with places for frames and names for objects.

    None where there is no document. Members may come in any order, and again.
    """
    document: dict[str, Any] | None = None
    num_kept = 0
    for names, item in iterate_members(path, depth=3):
        if names == ("openlabel",):
            document = {} if isinstance(item.value, dict) else None
        if document is None or len(names) < 2 or names[0] != "openlabel" or names[1] not in _PARTS:
            continue
        if len(names) == 2:
            document[names[1]] = item.value
            continue
        num_kept += item.size if names[1] in _KEPT else 0
        if num_kept > MAX_KEPT_BYTES:
            raise ValueError(f"{', '.join(_KEPT)} have over {MAX_KEPT_BYTES} bytes")
        document[names[1]][names[2]] = _kept(names[1], names[2], item)
    return document


def _kept(part: str, name: str, item: Item) -> Any:  # noqa: ANN401 - any JSON value
    """Return what is kept of a member of a part of the document."""
    if part == "frames":
        return item.offset, item.size
    return _identity(name, item.value) if part == "objects" else item.value


def _identity(uid: str, value: Any) -> Identity | str:  # noqa: ANN401 - any JSON value
    """Return track and category of an object, or what is wrong with it."""
    try:
        entry = member({uid: value}, uid)
        category = entry.get("type")
        if not isinstance(category, str):
            return f"object {uid!r:.40} is not declared with a type"
        return next(_texts_of(entry), uid), category
    except BrokenLabelError as error:
        return str(error)


def _texts_of(entry: Json) -> Iterator[str]:
    """Yield the texts called "track_id" of a declared object."""
    items = member(entry, "object_data").get("text", [])
    for item in items if isinstance(items, list) else []:
        is_track = isinstance(item, dict) and item.get("name") == TRACK
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
