"""Reads the SQLite files of rosbag2 as a stream."""

import sqlite3
import struct
import weakref
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from admlops.errors import DataError
from admlops.recordings.messages import (
    MAX_RECORD_BYTES,
    MAX_TIME_NS,
    Definition,
    OnDamage,
    Place,
    RawMessage,
    Topic,
)

MAGIC = b"SQLite format 3\0"

_NO_CHUNK = -1
_DAMAGE = (sqlite3.Error, UnicodeDecodeError, OverflowError)
"""What sqlite3 raises on a damaged file; its own messages may be damaged text."""


class SqliteBag:
    """One .db3 file."""

    def __init__(self, path: Path, file_index: int = 0) -> None:
        """Open a file.

        Raises:
            DataError: it is no database, or not one that rosbag2 wrote.
        """
        self._path = path
        self._file_index = file_index
        uri = f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1"
        try:
            self._database = sqlite3.connect(uri, uri=True, check_same_thread=False)
            weakref.finalize(self, self._database.close)
            self._database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_RECORD_BYTES)
            self._database.execute("PRAGMA trusted_schema = OFF")
            self._topics = self._read_topics()
        except _DAMAGE as error:
            raise DataError(f"{path}: no readable SQLite file of rosbag2 ({error})") from error

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _read_topics(self) -> dict[int, Topic]:
        """Return the topics by their row; views are refused, since they may never end."""
        for table in ("topics", "messages"):
            if not self._has_table(table):
                raise DataError(f"{self._path}: no table {table!r}; rosbag2 did not write this")
        rows = self._database.execute("SELECT id, name, type, serialization_format FROM topics")
        topics = {}
        definitions = self._read_definitions()
        for row_id, name, type_name, encoding in rows:
            if not all(isinstance(value, str) for value in (name, type_name, encoding)):
                raise DataError(f"{self._path}: row {row_id} of topics holds no names")
            definition = definitions.get(type_name, Definition())
            topics[row_id] = Topic(name, type_name, encoding, definition)
        return topics

    def _has_table(self, name: str) -> bool:
        """Return whether there is a plain table of a name, and no view or virtual table."""
        query = "SELECT type, sql FROM sqlite_master WHERE name = ?"
        found = self._database.execute(query, (name,)).fetchall()
        is_table = len(found) == 1 and found[0][0] == "table"
        return is_table and "VIRTUAL" not in str(found[0][1]).upper()

    def _read_definitions(self) -> dict[str, Definition]:
        """Return the definitions of types; old bags have none, and nothing here needs them."""
        if not self._has_table("message_definitions"):
            return {}
        query = "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
        try:
            rows = self._database.execute(query).fetchall()
        except _DAMAGE:
            return {}
        return {
            name: Definition(kind, text.encode())
            for name, kind, text in rows
            if all(isinstance(value, str) for value in (name, kind, text))
        }

    def _is_cut(self) -> bool:
        """Return whether pages are missing at the end (SQLite file format, 1.3)."""
        try:
            with self._path.open("rb") as file:
                page_bytes, num_pages = struct.unpack(">16xH10xI", file.read(32))
                return (
                    self._path.stat().st_size
                    < (page_bytes if page_bytes > 1 else 65536) * num_pages
                )
        except (OSError, struct.error):
            return True

    def messages(self, on_damage: OnDamage) -> Iterator[RawMessage]:
        """Yield the messages in the order in which they were written.

        A damaged row is left out; where the database is damaged, reading ends. Both are told.
        """
        if self._is_cut():
            on_damage(f"{self._path.name}: is shorter than its header says")
        query = "SELECT rowid, topic_id, timestamp, data FROM messages ORDER BY rowid"
        try:
            for row_id, topic_id, timestamp_ns, data in self._database.execute(query):
                is_sound = isinstance(timestamp_ns, int) and isinstance(data, bytes)
                topic = self._topics.get(topic_id)
                if topic is None or not is_sound or not 0 <= timestamp_ns <= MAX_TIME_NS:
                    on_damage(f"{self._path.name}: row {row_id} of messages is damaged")
                    continue
                place = Place(self._file_index, _NO_CHUNK, row_id)
                yield RawMessage(topic, timestamp_ns, data, place)
        except _DAMAGE as error:
            on_damage(f"{self._path.name}: the database is damaged ({error})")

    def read(self, place: Place) -> bytes:
        """Return the data of the message at a place.

        Raises:
            DataError: the file is damaged there.
        """
        query = "SELECT data FROM messages WHERE rowid = ?"
        try:
            row = self._database.execute(query, (place.offset,)).fetchone()
        except _DAMAGE as error:
            raise DataError(f"{self._path}: row {place.offset}: {error}") from error
        if row is None or not isinstance(row[0], bytes):
            raise DataError(f"{self._path}: no message in row {place.offset}")
        return row[0]
