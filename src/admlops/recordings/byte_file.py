"""A file of records, read piece by piece; no length in it is believed before it is checked."""

import weakref
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from admlops.errors import DataError
from admlops.recordings.messages import check_length

Bytes = bytes | memoryview


class ByteFile:
    """Reads exact ranges of a file."""

    def __init__(self, path: Path) -> None:
        """Open a file; raises DataError if it cannot be opened."""
        self.path = path
        try:
            self._file = path.open("rb")
            self.num_bytes = path.stat().st_size
        except OSError as error:
            raise DataError(f"{path}: cannot be opened ({error.strerror})") from error
        weakref.finalize(self, self._file.close)

    def read(self, at: int, num_bytes: int) -> bytes:
        """Return `num_bytes` bytes from offset `at`.

        Raises:
            DataError: the file ends before, or the length is beyond belief.
        """
        where = f"{self.path.name} at byte {at}"
        check_length(num_bytes, where)
        if at < 0 or at + num_bytes > self.num_bytes:
            raise DataError(f"{where}: {num_bytes} bytes are announced, the file ends before")
        try:
            self._file.seek(at)
            data = self._file.read(num_bytes)
        except OSError as error:
            raise DataError(f"{where}: cannot be read ({error.strerror})") from error
        if len(data) != num_bytes:
            raise DataError(f"{where}: the file has become shorter while it was read")
        return data

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class ChunkCache:
    """Keeps the last few unpacked chunks, since neighbouring messages share them."""

    def __init__(self, load: Callable[[int], Bytes], capacity: int = 4) -> None:
        """Make an empty cache of chunks that `load` reads by their offset in the file."""
        self._load = load
        self._capacity = capacity
        self._chunks: OrderedDict[int, Bytes] = OrderedDict()

    def get(self, at: int) -> Bytes:
        """Return the unpacked chunk at an offset."""
        if at not in self._chunks:
            self._chunks[at] = self._load(at)
            while len(self._chunks) > self._capacity:
                self._chunks.popitem(last=False)
        self._chunks.move_to_end(at)
        return self._chunks[at]


def take(data: Bytes, at: int, num_bytes: int, where: str) -> memoryview:
    """Return a view of `num_bytes` bytes of a chunk.

    Raises:
        DataError: the chunk ends before.
    """
    check_length(num_bytes, where)
    if at < 0 or at + num_bytes > len(data):
        raise DataError(f"{where}: {num_bytes} bytes are announced, {len(data) - at} are left")
    return memoryview(data)[at : at + num_bytes]
