"""Rows that may outgrow memory: kept in order, or sorted by score, in temporary files."""

import tempfile
import weakref
from collections.abc import Callable, Iterator
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

MEMORY_BYTES = 32 << 20
"""What a spool keeps in memory before it moves to a file."""
RUN_ROWS = 1 << 18
"""Rows that are sorted at a time."""
MERGED_ROWS = 1 << 17
"""Rows of all runs together that are merged at a time, about."""

Rows = NDArray[np.void]


class Spool:
    """Arrays that are written once and read again in the same order, as often as wanted."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES)  # noqa: SIM115
        self._sizes: list[int] = []
        weakref.finalize(self, self._file.close)

    def append(self, *arrays: NDArray[Any]) -> None:
        """Add arrays that belong together."""
        self._file.seek(0, 2)
        for array in arrays:
            np.lib.format.write_array(self._file, array, allow_pickle=False)
        self._sizes.append(len(arrays))

    def __iter__(self) -> Iterator[tuple[NDArray[Any], ...]]:
        """Yield what was added, in order."""
        position = 0
        for size in self._sizes:
            self._file.seek(position)
            arrays = [np.lib.format.read_array(self._file, allow_pickle=False) for _ in range(size)]
            position = self._file.tell()
            yield tuple(arrays)


class SortedRows:
    """Rows by falling score, however many there are; equal scores stay in order of arrival.

    An external merge sort: runs of `RUN_ROWS` rows are sorted in memory and written to one
    temporary file; `blocks` merges them. Where all rows fit in one run nothing is written.
    """

    def __init__(self, dtype: np.dtype[np.void]) -> None:
        self._dtype = dtype
        self._buffer: list[Rows] = []
        self._num_buffered = 0
        self._file: IO[bytes] | None = None
        self._run_rows: list[int] = []

    def __len__(self) -> int:
        """Return the number of rows."""
        return sum(self._run_rows) + self._num_buffered

    def add(self, rows: Rows) -> None:
        """Add rows in any order; they have a field "score"."""
        for start in range(0, len(rows), RUN_ROWS):
            part = rows[start : start + RUN_ROWS]
            if self._num_buffered + len(part) > RUN_ROWS:
                self._write_run()
            self._buffer.append(part)
            self._num_buffered += len(part)

    def blocks(self) -> Iterator[Rows]:
        """Yield all rows by falling score, a block at a time; can be called again."""
        last = _by_score(self._buffered())
        if not self._run_rows:
            if len(last):
                yield last
            return
        places = self._run_places()
        size = max(1, MERGED_ROWS // (len(places) + 1))
        runs = [_Run(self._read, start, end, size) for start, end in places]
        runs.append(_Run(lambda start, end: last[start:end], 0, len(last), size))
        yield from _merge(runs)

    def _buffered(self) -> Rows:
        return np.concatenate(self._buffer) if self._buffer else np.empty(0, self._dtype)

    def _write_run(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with this object
            weakref.finalize(self, self._file.close)
        self._file.seek(0, 2)
        self._file.write(_by_score(self._buffered()).tobytes())
        self._run_rows.append(self._num_buffered)
        self._buffer, self._num_buffered = [], 0

    def _run_places(self) -> list[tuple[int, int]]:
        ends = np.cumsum(self._run_rows)
        return [(int(end) - size, int(end)) for end, size in zip(ends, self._run_rows, strict=True)]

    def _read(self, start: int, end: int) -> Rows:
        if self._file is None:
            raise ValueError("no run was written")
        size = self._dtype.itemsize
        self._file.seek(start * size)
        return np.frombuffer(self._file.read((end - start) * size), self._dtype)


class _Run:
    """One sorted run, read from the front."""

    def __init__(
        self, read: Callable[[int, int], Rows], start: int, end: int, block_rows: int
    ) -> None:
        self._read = read
        self._next, self._end = start, end
        self._block_rows = block_rows
        self.pending: Rows = read(start, start)

    def fill(self) -> None:
        """Read on where nothing is pending."""
        if len(self.pending) == 0 and self._next < self._end:
            stop = min(self._next + self._block_rows, self._end)
            self.pending = self._read(self._next, stop)
            self._next = stop

    @property
    def is_read(self) -> bool:
        """Whether what is pending is all that is left."""
        return self._next == self._end

    def take(self, count: int) -> Rows:
        """Remove and return the first pending rows."""
        taken, self.pending = self.pending[:count], self.pending[count:]
        return taken


def _merge(runs: list[_Run]) -> Iterator[Rows]:
    """Yield the rows of all runs by falling score, those of earlier runs first where equal.

    What comes before the last pending row of every run that goes on is safe to hand out.
    """
    while True:
        for run in runs:
            run.fill()
        if not any(len(run.pending) for run in runs):
            return
        ends = [
            (-run.pending["score"][-1], number)
            for number, run in enumerate(runs)
            if not run.is_read
        ]
        limit, limiting = min(ends, default=(np.inf, len(runs)))
        parts = []
        for number, run in enumerate(runs):
            side = "right" if number <= limiting else "left"
            count = np.searchsorted(-run.pending["score"], limit, side)  # type: ignore[call-overload]
            parts.append(run.take(int(count)))
        yield _by_score(np.concatenate(parts))


def _by_score(rows: Rows) -> Rows:
    return rows[np.argsort(-rows["score"], kind="stable")]
