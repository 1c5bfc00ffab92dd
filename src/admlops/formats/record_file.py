"""Records that are kept on disk until they are asked for, in a file without a name.

The file is gone with the object, whatever ends the process. Records are read by place, so that a
process that was forked may read, too.
"""

import os
import tempfile
import weakref
from array import array
from contextlib import suppress
from pathlib import Path
from typing import IO

from admlops.errors import DataError

_WRITE_BYTES = 1 << 16
"""Small records are written together."""


class RecordFile:
    """Records by number, from 0.

    Args:
        about: the file whose content is kept, for messages.

    Raises:
        DataError: there is no folder for temporary files.
    """

    def __init__(self, about: Path) -> None:
        self._about = about
        self._ends = array("q", [0])
        self._waiting = bytearray()
        try:
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed with the object
        except OSError as error:
            raise self._explained(error) from error
        weakref.finalize(self, _close, self._file)

    def __len__(self) -> int:
        """Return how many records there are."""
        return len(self._ends) - 1

    @property
    def num_bytes(self) -> int:
        """How many bytes all records have."""
        return self._ends[-1]

    def append(self, record: bytes) -> int:
        """Keep a record and return its number.

        Raises:
            DataError: there is no room for it.
        """
        self._ends.append(self._ends[-1] + len(record))
        self._waiting += record
        try:
            if len(self._waiting) > _WRITE_BYTES:
                self._write()
        except OSError as error:
            raise self._explained(error) from error
        return len(self) - 1

    def read(self, number: int) -> bytes:
        """Return a record.

        Raises:
            DataError: the disk does not give it.
        """
        start, end = self._ends[number : number + 2]
        try:
            self._write()
            return os.pread(self._file.fileno(), end - start, start)
        except OSError as error:
            raise self._explained(error) from error

    def _write(self) -> None:
        """Write what waits, at its place: the file's own place is shared with forked processes."""
        place = self._ends[-1] - len(self._waiting)
        while self._waiting:
            size = os.pwrite(self._file.fileno(), self._waiting, place)
            del self._waiting[:size]
            place += size

    def _explained(self, error: OSError) -> DataError:
        what = f"cannot be kept in a temporary file ({error.strerror})"
        return DataError(f"{self._about}: {what}; make room, or set TMPDIR")


def _close(file: IO[bytes]) -> None:
    with suppress(OSError):  # what is not yet written is not needed any more
        file.close()
