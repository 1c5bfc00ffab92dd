"""Reads MCAP files as a stream, whole or cut, with or without chunks and summary.

Source: the MCAP format specification, https://mcap.dev/spec. A parser of our own, because the
public one believes lengths, needs a whole file, and sorts a file without summary in memory.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from admlops.errors import DataError
from admlops.recordings.byte_file import CHUNKS_KEPT, ByteFile, Bytes, take
from admlops.recordings.messages import (
    MAX_TIME_NS,
    Definition,
    OnDamage,
    Place,
    RawMessage,
    Topic,
    ros_type_name,
)
from admlops.recordings.unpacking import unpack

MAGIC = b"\x89MCAP0\r\n"

_FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END = 0x02, 0x03, 0x04, 0x05, 0x06, 0x0F
_RECORD = struct.Struct("<BQ")
_MESSAGE_HEAD = struct.Struct("<HIQQ")
_CHUNK_HEAD = struct.Struct("<QQQI")


@dataclass(slots=True)
class _Names:
    """Schemas and channels met so far."""

    schemas: dict[int, tuple[str, Definition]] = field(default_factory=dict)
    topics: dict[int, Topic] = field(default_factory=dict)

    def note_schema(self, body: Bytes) -> None:
        (schema_id,) = struct.unpack_from("<H", body)
        name, at = _string(body, 2)
        self.schemas[schema_id] = (name, _definition(body, at))

    def note_channel(self, body: Bytes) -> None:
        channel_id, schema_id = struct.unpack_from("<HH", body)
        name, at = _string(body, 4)
        encoding, _ = _string(body, at)
        if schema_id and schema_id not in self.schemas:
            raise DataError(f"channel {name!r} names schema {schema_id}, which is absent")
        type_name, definition = self.schemas.get(schema_id, ("", Definition()))
        self.topics[channel_id] = Topic(name, ros_type_name(type_name), encoding, definition)


class McapFile:
    """One MCAP file."""

    def __init__(self, path: Path, file_index: int = 0) -> None:
        """Open a file.

        Raises:
            DataError: it is no MCAP file, or one of another major version.
        """
        self._bytes = ByteFile(path)
        self._file_index = file_index
        self._cached_chunk_at = lru_cache(CHUNKS_KEPT)(self._chunk_at)
        start = self._bytes.read(0, min(len(MAGIC), self._bytes.num_bytes))
        if start != MAGIC:
            self._bytes.close()
            if start[:5] == MAGIC[:5] and start[5:6] != MAGIC[5:6]:
                raise DataError(f"{path}: MCAP version {start[5:6]!r}; version b'0' is read")
            raise DataError(f"{path}: no MCAP file; it starts with {start!r}")

    def close(self) -> None:
        """Close the file."""
        self._bytes.close()

    def read(self, place: Place) -> Bytes:
        """Return the data of the message at a place.

        Raises:
            DataError: the file is damaged there.
        """
        where = f"{self._bytes.path.name} at {place.chunk}, {place.offset}"
        if place.chunk < 0:
            head = self._bytes.read(place.offset, _RECORD.size)
            opcode, length = _RECORD.unpack(head)
            body: Bytes = self._bytes.read(place.offset + _RECORD.size, length)
        else:
            chunk = self._cached_chunk_at(place.chunk)
            opcode, length = _RECORD.unpack(take(chunk, place.offset, _RECORD.size, where))
            body = take(chunk, place.offset + _RECORD.size, length, where)
        if opcode != _MESSAGE or length < _MESSAGE_HEAD.size:
            raise DataError(f"{where}: no message")
        return memoryview(body)[_MESSAGE_HEAD.size :]

    def messages(self, on_damage: OnDamage) -> Iterator[RawMessage]:
        """Yield the messages in the order in which they were written, one chunk in memory.

        A damaged chunk is left out; where the file is cut, reading ends. Both are told.
        """
        names = _Names()
        at = len(MAGIC)
        try:
            while at < self._bytes.num_bytes:
                opcode, length = _RECORD.unpack(self._bytes.read(at, _RECORD.size))
                if opcode in (_DATA_END, _FOOTER) and self._ends_well():
                    return
                if opcode in (_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK):
                    body = self._bytes.read(at + _RECORD.size, length)
                    yield from self._record(opcode, body, at, names, on_damage)
                at += _RECORD.size + length
        except DataError as error:
            on_damage(str(error))
            return
        on_damage(f"{self._bytes.path.name}: ends without a footer; it was not closed, or is cut")

    def _ends_well(self) -> bool:
        end = self._bytes.num_bytes - len(MAGIC)
        return self._bytes.read(end, len(MAGIC)) == MAGIC

    def _record(
        self, opcode: int, body: bytes, at: int, names: _Names, on_damage: OnDamage
    ) -> Iterator[RawMessage]:
        try:
            if opcode == _CHUNK:
                chunk = _unpack_chunk(body)
                yield from self._chunk(chunk, at, names)
            elif opcode == _MESSAGE:
                yield self._message(memoryview(body), Place(self._file_index, -1, at), names)
            else:
                _note(opcode, body, names)
        except (struct.error, DataError) as error:
            on_damage(f"{self._bytes.path.name} at byte {at}: {error}")

    def _chunk(self, chunk: Bytes, chunk_at: int, names: _Names) -> Iterator[RawMessage]:
        at = 0
        while at < len(chunk):
            opcode, length = _RECORD.unpack(take(chunk, at, _RECORD.size, "chunk"))
            body = take(chunk, at + _RECORD.size, length, "chunk")
            if opcode == _MESSAGE:
                yield self._message(body, Place(self._file_index, chunk_at, at), names)
            else:
                _note(opcode, body, names)
            at += _RECORD.size + length

    def _message(self, body: memoryview, place: Place, names: _Names) -> RawMessage:
        channel_id, _, log_time_ns, _ = _MESSAGE_HEAD.unpack_from(body)
        if channel_id not in names.topics:
            raise DataError(f"a message of channel {channel_id}, which is absent")
        if log_time_ns > MAX_TIME_NS:
            raise DataError(f"a message with log time {log_time_ns} ns")
        topic = names.topics[channel_id]
        return RawMessage(topic, log_time_ns, body[_MESSAGE_HEAD.size :], place)

    def _chunk_at(self, at: int) -> Bytes:
        opcode, length = _RECORD.unpack(self._bytes.read(at, _RECORD.size))
        if opcode != _CHUNK:
            raise DataError(f"{self._bytes.path.name} at byte {at}: no chunk")
        try:
            return _unpack_chunk(self._bytes.read(at + _RECORD.size, length))
        except struct.error as error:
            raise DataError(f"{self._bytes.path.name} at byte {at}: {error}") from error


def _note(opcode: int, body: Bytes, names: _Names) -> None:
    if opcode == _SCHEMA:
        names.note_schema(body)
    elif opcode == _CHANNEL:
        names.note_channel(body)


def _unpack_chunk(body: bytes) -> Bytes:
    _, _, num_bytes, crc = _CHUNK_HEAD.unpack_from(body)
    compression, at = _string(body, _CHUNK_HEAD.size)
    (num_packed,) = struct.unpack_from("<Q", body, at)
    chunk = unpack(compression, take(body, at + 8, num_packed, "chunk"), num_bytes)
    if crc and zlib.crc32(chunk) != crc:
        raise DataError("a chunk's checksum is wrong")
    return chunk


def _definition(data: Bytes, at: int) -> Definition:
    """Return the definition at an offset; a damaged one is passed over, since none is needed."""
    try:
        kind, at = _string(data, at)
        (length,) = struct.unpack_from("<I", data, at)
        return Definition(kind, bytes(take(data, at + 4, length, "schema")))
    except (struct.error, DataError):
        return Definition()


def _string(data: Bytes, at: int) -> tuple[str, int]:
    """Return the string at an offset, and the offset behind it."""
    (length,) = struct.unpack_from("<I", data, at)
    text = take(data, at + 4, length, "string")
    try:
        return str(text, "utf-8"), at + 4 + length
    except UnicodeDecodeError as error:
        raise DataError(f"a name is no UTF-8 ({error})") from error
