"""Rows by part, kept on disk: what memory holds is where they are, not what they say."""

from array import array
from collections import defaultdict
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from admlops.errors import DataError
from admlops.formats.record_file import RecordFile

PART = "part"
"""The column that tells a row's part."""
_SIZE_BYTES = 8
"""Before each record, the size of what is packed in it."""


class PartFile:
    """Tables whose rows are added in any order and read part by part, in order of arrival."""

    def __init__(self, about: Path, max_size: int) -> None:
        """Begin.

        Args:
            about: the folder of the tables, for messages.
            max_size: bytes on disk at most.

        Raises:
            DataError: there is no folder for temporary files.
        """
        self._about, self._max_size = about, max_size
        self._file = RecordFile(about)
        self._codec = pa.Codec("zstd", 1)
        self._schemas: dict[str, pa.Schema] = {}
        self._records: defaultdict[tuple[str, int], array[int]] = defaultdict(lambda: array("q"))

    def add(self, table: str, rows: pa.RecordBatch) -> None:
        """Add rows that tell their parts.

        Raises:
            DataError: there is no room for them, or they take more than `max_size` bytes.
        """
        self._schemas[table] = rows.schema
        parts = rows[PART].to_numpy()
        order = np.argsort(parts, kind="stable")
        rows, parts = rows.take(pa.array(order)), parts[order]
        starts = np.flatnonzero(np.diff(parts, prepend=-1)).tolist()
        for start, end in zip(starts, [*starts, len(parts)][1:], strict=True):
            number = self._append(rows.slice(start, end - start).serialize())
            self._records[table, int(parts[start])].append(number)

    def _append(self, content: pa.Buffer) -> int:
        packed = self._codec.compress(content, asbytes=True)
        record = content.size.to_bytes(_SIZE_BYTES, "little") + packed
        if self._file.num_bytes + len(record) > self._max_size:
            raise DataError(
                f"{self._about}: rows that belong together take more than {self._max_size} bytes, "
                "far more than the tables: tokens that tell rows apart are given many times"
            )
        return self._file.append(record)

    def read(self, table: str, parts: Iterable[int]) -> pa.Table:
        """Return a table's rows of some parts.

        Raises:
            DataError: the disk does not give them.
        """
        schema = self._schemas[table]
        numbers = chain.from_iterable(self._records.get((table, part), ()) for part in parts)
        batches = [pa.ipc.read_record_batch(self._read(number), schema) for number in numbers]
        return pa.Table.from_batches(batches, schema).combine_chunks()

    def _read(self, number: int) -> pa.Buffer:
        record = memoryview(self._file.read(number))
        size = int.from_bytes(record[:_SIZE_BYTES], "little")
        return self._codec.decompress(record[_SIZE_BYTES:], size)


def distinct(key: NDArray[np.uint64], part: NDArray[np.int32]) -> pa.Table:
    """Return pairs of a key and a part, each once."""
    order = np.lexsort((part, key))
    key, part = key[order], part[order]
    is_new = np.ones(len(key), dtype=np.bool_)
    is_new[1:] = (key[1:] != key[:-1]) | (part[1:] != part[:-1])
    return pa.table({"key": key[is_new], PART: part[is_new]})
