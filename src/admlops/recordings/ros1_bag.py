"""Reads ROS 1 bags as a stream, whole or cut, indexed or not.

Source: the bag format, version 2.0, http://wiki.ros.org/Bags/Format/2.0.
"""

import struct
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from admlops.errors import DataError
from admlops.recordings.byte_file import CHUNKS_KEPT, ByteFile, Bytes, take
from admlops.recordings.messages import (
    Definition,
    OnDamage,
    Place,
    RawMessage,
    Topic,
    ros_type_name,
)
from admlops.recordings.unpacking import unpack

MAGIC = b"#ROSBAG V"

_VERSION_LINE = b"#ROSBAG V2.0\n"
_MESSAGE, _BAG_HEADER, _CHUNK, _CONNECTION = 0x02, 0x03, 0x05, 0x07

Fields = dict[str, bytes]


class Ros1Bag:
    """One ROS 1 bag."""

    def __init__(self, path: Path, file_index: int = 0) -> None:
        """Open a bag.

        Raises:
            DataError: it is no bag, or one of another version.
        """
        self._bytes = ByteFile(path)
        self._file_index = file_index
        self._cached_chunk_at = lru_cache(CHUNKS_KEPT)(self._chunk_at)
        start = self._bytes.read(0, min(len(_VERSION_LINE), self._bytes.num_bytes))
        if start != _VERSION_LINE:
            self._bytes.close()
            if start.startswith(MAGIC):
                raise DataError(f"{path}: bag version {start!r}; version 2.0 is read")
            raise DataError(f"{path}: no ROS 1 bag; it starts with {start!r}")

    def close(self) -> None:
        """Close the file."""
        self._bytes.close()

    def read(self, place: Place) -> Bytes:
        """Return the data of the message at a place.

        Raises:
            DataError: the file is damaged there.
        """
        data: Bytes
        if place.chunk < 0:
            fields, data, _ = self._file_record(place.offset)
        else:
            fields, data, _ = _record_in(self._cached_chunk_at(place.chunk), place.offset)
        if _opcode(fields) != _MESSAGE:
            raise DataError(f"{self._bytes.path.name} at {place}: no message")
        return data

    def messages(self, on_damage: OnDamage) -> Iterator[RawMessage]:
        """Yield the messages in the order in which they were written, one chunk in memory.

        A damaged chunk is left out; where the file is cut, reading ends. Both are told.
        """
        topics: dict[int, Topic] = {}
        at = len(_VERSION_LINE)
        while at < self._bytes.num_bytes:
            try:
                fields, data, end = self._file_record(at)
                opcode = _opcode(fields)
            except DataError as error:
                on_damage(str(error))
                return
            try:
                if opcode == _CHUNK:
                    yield from self._chunk(_unpack_chunk(fields, data), at, topics)
                elif opcode == _BAG_HEADER and not _integer(fields, "index_pos", "<Q"):
                    on_damage(f"{self._bytes.path.name}: has no index; it was not closed")
                else:
                    place = Place(self._file_index, -1, at)
                    yield from _message(opcode, fields, data, place, topics)
            except DataError as error:
                on_damage(f"{self._bytes.path.name} at byte {at}: {error}")
            at = end

    def _chunk(self, chunk: Bytes, chunk_at: int, topics: dict[int, Topic]) -> Iterator[RawMessage]:
        at = 0
        while at < len(chunk):
            fields, data, end = _record_in(chunk, at)
            place = Place(self._file_index, chunk_at, at)
            yield from _message(_opcode(fields), fields, data, place, topics)
            at = end

    def _file_record(self, at: int) -> tuple[Fields, bytes, int]:
        """Return header fields and data of the record at an offset, and where the next begins."""
        (head,) = struct.unpack("<I", self._bytes.read(at, 4))
        fields = _parse_fields(self._bytes.read(at + 4, head))
        (length,) = struct.unpack("<I", self._bytes.read(at + 4 + head, 4))
        return fields, self._bytes.read(at + 8 + head, length), at + 8 + head + length

    def _chunk_at(self, at: int) -> Bytes:
        fields, data, _ = self._file_record(at)
        return _unpack_chunk(fields, data)


def _message(
    opcode: int, fields: Fields, data: Bytes, place: Place, topics: dict[int, Topic]
) -> Iterator[RawMessage]:
    if opcode == _CONNECTION:
        more = _parse_fields(data)
        name, kind = _text(fields, "topic"), _text(more, "type")
        definition = Definition("ros1msg", more.get("message_definition", b""))
        topics[_integer(fields, "conn")] = Topic(name, ros_type_name(kind), "ros1", definition)
    elif opcode == _MESSAGE:
        connection = _integer(fields, "conn")
        if connection not in topics:
            raise DataError(f"a message of connection {connection}, which is absent")
        time = _integer(fields, "time", "<Q")
        log_time_ns = (time & 0xFFFFFFFF) * 1_000_000_000 + (time >> 32)
        yield RawMessage(topics[connection], log_time_ns, data, place)


def _unpack_chunk(fields: Fields, data: Bytes) -> Bytes:
    return unpack(_text(fields, "compression"), data, _integer(fields, "size"))


def _record_in(chunk: Bytes, at: int) -> tuple[Fields, memoryview, int]:
    (head,) = struct.unpack("<I", take(chunk, at, 4, "chunk"))
    fields = _parse_fields(take(chunk, at + 4, head, "chunk"))
    (length,) = struct.unpack("<I", take(chunk, at + 4 + head, 4, "chunk"))
    return fields, take(chunk, at + 8 + head, length, "chunk"), at + 8 + head + length


def _parse_fields(data: Bytes) -> Fields:
    """Return the fields of a header: each is a length and then name=value."""
    fields: Fields = {}
    at = 0
    while at < len(data):
        (length,) = struct.unpack("<I", take(data, at, 4, "header"))
        name, sign, value = bytes(take(data, at + 4, length, "header")).partition(b"=")
        if not sign:
            raise DataError("a header field without a value")
        fields[name.decode("latin-1")] = value
        at += 4 + length
    return fields


def _opcode(fields: Fields) -> int:
    return _integer(fields, "op", "<B")


def _integer(fields: Fields, name: str, layout: str = "<I") -> int:
    value = fields.get(name, b"")
    if len(value) != struct.calcsize(layout):
        raise DataError(f"header field {name!r} is absent or has {len(value)} bytes")
    (number,) = struct.unpack(layout, value)
    return int(number)


def _text(fields: Fields, name: str) -> str:
    try:
        return fields[name].decode()
    except (KeyError, UnicodeDecodeError) as error:
        raise DataError(f"header field {name!r} is absent or no UTF-8") from error
