"""A file of records, read piece by piece; no length in it is believed before it is checked."""

import weakref
from pathlib import Path

from admlops.errors import DataError
from admlops.recordings.messages import check_length

Bytes = bytes | memoryview
CHUNKS_KEPT = 4
"""Unpacked chunks that a file keeps, since neighbouring messages share them."""


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


def take(data: Bytes, at: int, num_bytes: int, where: str) -> memoryview:
    """Return a view of `num_bytes` bytes of a chunk.

    Raises:
        DataError: the chunk ends before.
    """
    check_length(num_bytes, where)
    if at < 0 or at + num_bytes > len(data):
        raise DataError(f"{where}: {num_bytes} bytes are announced, {len(data) - at} are left")
    return memoryview(data)[at : at + num_bytes]
