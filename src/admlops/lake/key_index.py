"""Finding frames by key in little memory: sixteen bytes a frame, however many there are."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from admlops.structures.frame import FrameKey

_BATCH_ROWS = 65_536


class KeyIndex:
    """Row numbers of a table by key; a key is known by 64 bits of a SHA-256."""

    def __init__(self, hashes: NDArray[np.uint64]) -> None:
        self._order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]

    @classmethod
    def of_table(cls, table: pa.Table) -> Self:
        """Return the index of a table with the columns log, scene and timestamp_ns."""
        parts = [np.empty(0, dtype=np.uint64)]
        for batch in table.to_batches(max_chunksize=_BATCH_ROWS):
            columns = (batch.column(name).to_pylist() for name in ("log", "scene", "timestamp_ns"))
            parts.append(_hashes(FrameKey(*values) for values in zip(*columns, strict=True)))
        return cls(np.concatenate(parts))

    def rows_of(self, keys: Sequence[FrameKey]) -> NDArray[np.int64]:
        """Return (N,) the row of each key, -1 where there is none."""
        wanted = _hashes(keys)
        place = np.searchsorted(self._hashes, wanted)
        found = place < len(self._hashes)
        found[found] = self._hashes[place[found]] == wanted[found]
        rows = np.full(len(wanted), -1, dtype=np.int64)
        rows[found] = self._order[place[found]]
        return rows


def _hashes(keys: Iterable[FrameKey]) -> NDArray[np.uint64]:
    digests = (hashlib.sha256(repr(tuple(key)).encode()).digest()[:8] for key in keys)
    return np.array([int.from_bytes(digest) for digest in digests], dtype=np.uint64)
