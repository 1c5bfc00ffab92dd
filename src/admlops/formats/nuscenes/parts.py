"""Rows by part, in a temporary file: what memory holds is where they are, not what they say."""

import os
import tempfile
import weakref
from array import array
from collections import defaultdict
from collections.abc import Iterable
from itertools import chain

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from admlops.errors import DataError

PART = "part"
"""The column that tells a row's part."""


class PartFile:
    """Tables whose rows are added in any order and read part by part, in order of arrival.

    The file has no name: it is gone with the process, however that ends.
    """

    def __init__(self, max_size: int) -> None:
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed with this object
        weakref.finalize(self, self._file.close)
        self._codec = pa.Codec("zstd", 1)
        self._size, self._max_size = 0, max_size
        self._schemas: dict[str, pa.Schema] = {}
        self._places: defaultdict[tuple[str, int], array[int]] = defaultdict(lambda: array("q"))

    def add(self, table: str, rows: pa.RecordBatch) -> None:
        """Add rows that tell their parts.

        Raises:
            DataError: the folder of temporary files has no room, or the rows take more than
                `max_size` bytes.
        """
        self._schemas[table] = rows.schema
        parts = rows[PART].to_numpy()
        order = np.argsort(parts, kind="stable")
        rows, parts = rows.take(pa.array(order)), parts[order]
        starts = np.flatnonzero(np.diff(parts, prepend=-1)).tolist()
        for start, end in zip(starts, [*starts, len(parts)][1:], strict=True):
            whole = rows.slice(start, end - start).serialize()
            packed = self._codec.compress(whole, asbytes=True)
            place = (self._size, len(packed), whole.size)
            self._places[table, int(parts[start])].extend(place)
            self._write(packed)

    def _write(self, content: bytes) -> None:
        if self._size + len(content) > self._max_size:
            raise DataError(
                f"the rows of nuScenes' tables that belong together take more than {self._max_size}"
                " bytes, far more than the tables: tokens that tell rows apart are given many times"
            )
        left = memoryview(content)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise DataError(
                f"{tempfile.gettempdir()}: no room for nuScenes' tables after {self._size} bytes "
                f"({error.strerror}); make room, or let TMPDIR name another folder"
            ) from error
        self._size += len(content)

    def read(self, table: str, parts: Iterable[int]) -> pa.Table:
        """Return a table's rows of some parts."""
        schema = self._schemas[table]
        places = chain.from_iterable(self._places.get((table, part), ()) for part in parts)
        batches = [
            pa.ipc.read_record_batch(self._read(*place), schema)
            for place in zip(*[places] * 3, strict=True)
        ]
        return pa.Table.from_batches(batches, schema).combine_chunks()

    def _read(self, start: int, packed_size: int, size: int) -> pa.Buffer:
        # at a place, not from the file's own, which processes that are forked share
        packed = os.pread(self._file.fileno(), packed_size, start)
        return self._codec.decompress(packed, size)


def distinct(key: NDArray[np.uint64], part: NDArray[np.int32]) -> pa.Table:
    """Return pairs of a key and a part, each once."""
    order = np.lexsort((part, key))
    key, part = key[order], part[order]
    is_new = np.ones(len(key), dtype=np.bool_)
    is_new[1:] = (key[1:] != key[:-1]) | (part[1:] != part[:-1])
    return pa.table({"key": key[is_new], PART: part[is_new]})
