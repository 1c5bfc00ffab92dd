"""Random access to frames: descriptions from memory, payloads straight from the data files."""

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from admlops.lake.encoding import decode_frames
from admlops.lake.schema import BLOBS, FRAME_COLUMNS
from admlops.lake.storage import is_remote
from admlops.structures.frame import Frame

METADATA_BYTES = 256 << 20
"""Descriptions and boxes up to this size are kept in memory; beyond, they are read per call."""

_ROW_BYTES, _BOX_BYTES = 800, 160
_FRAGMENT_BITS = 32

Payloads = dict[int, NDArray[np.uint8]]


class FrameReader:
    """Reads the frames of one version of a dataset by row number."""

    def __init__(self, table: lance.LanceDataset, uri: str) -> None:
        self._table = table
        self._uri = uri
        self._places: dict[str, NDArray[np.int64]] = {}

    def take(self, rows: NDArray[np.int64], blobs: Sequence[str]) -> list[Frame]:
        """Return the frames of rows, which are in range and in rising order, with some payloads."""
        if self._metadata is None:
            described = self._table.take(rows.tolist(), columns=list(FRAME_COLUMNS))
        else:
            described = self._metadata.take(pa.array(rows))
        return list(decode_frames(described, {name: self._payloads(name, rows) for name in blobs}))

    @cached_property
    def _metadata(self) -> pa.Table | None:
        num_boxes = self._table.to_table(columns=["num_boxes"])["num_boxes"]
        size = len(num_boxes) * _ROW_BYTES + (pc.sum(num_boxes).as_py() or 0) * _BOX_BYTES
        if size > METADATA_BYTES:
            return None
        return self._table.to_table(columns=list(FRAME_COLUMNS)).combine_chunks()

    def _payloads(self, column: str, rows: NDArray[np.int64]) -> Payloads:
        if is_remote(self._uri):
            return dict(self._blobs(column, rows))
        return dict(self._local_blobs(column, rows))

    def _blobs(
        self, column: str, rows: NDArray[np.int64]
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        blobs = self._table.take_blobs(column, indices=rows.tolist())
        for position, blob in enumerate(blobs):
            if blob is not None and blob.size():
                yield position, np.frombuffer(bytearray(blob.readall()), np.uint8)

    def _local_blobs(
        self, column: str, rows: NDArray[np.int64]
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yield payloads by the place that Lance names for each: one read, no copy.

        Three times as fast as Lance's own blob files, which read in steps of 512 KiB.
        """
        if column not in self._places:
            self._places[column] = _places(self._table, column)
        where = self._places[column]
        for position, (file, offset, size) in enumerate(where[rows].tolist()):
            if size:
                payload = np.empty(size, np.uint8)
                _read_into(self._files[column][file], offset, payload)
                yield position, payload

    @cached_property
    def _files(self) -> dict[str, dict[int, Path]]:
        folder = Path(self._uri.removeprefix("file://")) / "data"
        return {column: data_files(self._table, column, folder) for column in BLOBS}


def _places(table: lance.LanceDataset, column: str) -> NDArray[np.int64]:
    """Return (N, 3): fragment, first byte in its data file and size of each row's payload."""
    found = table.scanner(
        columns=[column], blob_handling="blobs_descriptions", with_row_address=True
    ).to_table()
    descriptions = found[column].combine_chunks()
    parts = [
        pc.fill_null(pc.struct_field(descriptions, name), 0).to_numpy(zero_copy_only=False)
        for name in ("position", "size")
    ]
    fragments = found["_rowaddr"].to_numpy() >> _FRAGMENT_BITS
    return np.column_stack([fragments, *parts]).astype(np.int64).reshape(-1, 3)


def data_files(table: lance.LanceDataset, column: str, folder: Path) -> dict[int, Path]:
    """Return the file of each fragment that holds a column."""
    field = next(item for item in table.lance_schema.fields() if item.name() == column)
    while field.children():  # files name the leaves
        field = field.children()[0]
    return {
        fragment.fragment_id: folder / file.path
        for fragment in table.get_fragments()
        for file in fragment.metadata.files
        if field.id() in file.fields
    }


def _read_into(path: Path, offset: int, payload: NDArray[np.uint8]) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        view, done = payload.data, 0
        while done < len(payload):
            count = os.preadv(handle, [view[done:]], offset + done)
            if count == 0:
                raise OSError(f"{path} ends at byte {offset + done}, inside a payload")
            done += count
    finally:
        os.close(handle)
