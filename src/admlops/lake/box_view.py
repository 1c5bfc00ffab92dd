"""The views `boxes` and `boxes_2d`: one row per box, of which only the asked columns are read.

A query names few columns, and the next query often the same ones, so they are flattened, kept in
memory while they fit, and handed to DuckDB as an Arrow dataset, which it scans by columns and
filters. Lance's scanner reads a list of structs whole; its file reader can read single fields.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from lance.file import LanceFileReader

from admlops.lake.reading import data_files
from admlops.lake.storage import explain_errors, is_remote

MEMORY_BYTES = 1 << 30
"""Columns of a view that are kept in memory, all together; beyond, boxes are streamed."""
BATCH_ROWS = 8192
"""Frames whose boxes are flattened at a time."""
PARENT_COLUMNS = ("log", "scene", "timestamp_ns", "frame_id", "split", "tags")
"""Columns of the frame that every box shows."""

_COUNTING = "timestamp_ns"


class BoxView(ds.Dataset):  # type: ignore[misc]  # what DuckDB scans by columns
    """The boxes of all frames as a dataset of Arrow's.

    Strings are dictionaries, which DuckDB groups by their numbers; results hold plain strings.
    """

    def __init__(
        self, table: lance.LanceDataset, frames: pa.Table, column: str, box_type: pa.StructType
    ) -> None:
        """Show the column `boxes` or `boxes_2d` of a version with its table of frames."""
        self._lance, self._frames, self._column = table, frames, column
        self._uri = str(table.uri)
        self._box_type = box_type
        self._kept: dict[str, pa.ChunkedArray] = {}
        own = [pa.field(field.name, _stored(field.type)) for field in box_type]
        parents = [
            pa.field(name, _stored(frames.schema.field(name).type)) for name in PARENT_COLUMNS
        ]
        self._schema = pa.schema([*parents, *own])

    @property
    def schema(self) -> pa.Schema:
        """The columns: those of the frame, then those of the box."""
        return self._schema

    def scanner(
        self,
        columns: Sequence[str] | None = None,
        filter: ds.Expression | None = None,  # noqa: A002 - the name that callers use
        **options: Any,  # noqa: ANN401, ARG002 - how to batch and cache does not matter here
    ) -> ds.Scanner:
        """Return a scanner of some columns, from memory where they fit."""
        wanted = list(self._schema.names if columns is None else columns)
        names = [name for name in self._schema.names if name in wanted or _uses(filter, name)]
        names = names or [next(iter(self._kept), _COUNTING)]
        if self._num_boxes * sum(map(self._width, {*names, *self._kept})) <= MEMORY_BYTES:
            dataset = ds.InMemoryDataset(self._load(names))
            return dataset.scanner(columns=wanted, filter=filter)
        schema = pa.schema([self._schema.field(name) for name in names])
        batches = self._batches(names)
        return ds.Scanner.from_batches(batches, schema=schema, columns=wanted, filter=filter)

    @property
    def _num_boxes(self) -> int:
        return pc.sum(self._frames[f"num_{self._column}"]).as_py() or 0

    def _width(self, name: str) -> int:
        kind = self._schema.field(name).type
        return 32 if pa.types.is_list(kind) else 4 if pa.types.is_dictionary(kind) else 8

    def _load(self, names: Sequence[str]) -> pa.Table:
        absent = [name for name in names if name not in self._kept]
        if absent:
            schema = pa.schema([self._schema.field(name) for name in absent])
            whole = pa.Table.from_batches(self._batches(absent), schema)
            self._kept |= dict(zip(absent, whole.unify_dictionaries().columns, strict=True))
        return pa.table({name: self._kept[name] for name in names})

    def _batches(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of some columns, as many at a time as Lance reads frames."""
        start = 0
        with explain_errors(self._uri, f"reading {self._column}"):
            for lists in self._read([name for name in names if name not in PARENT_COLUMNS]):
                lengths = pc.fill_null(lists.value_lengths(), 0).to_numpy(zero_copy_only=False)
                rows = np.repeat(np.arange(start, start + len(lists)), lengths)
                start += len(lists)
                flat = lists.flatten()
                arrays = [self._array(name, flat, rows) for name in names]
                yield pa.record_batch(arrays, names=list(names))

    def _read(self, names: Sequence[str]) -> Iterator[pa.ListArray]:
        """Yield the lists of all frames in order, with at least these fields of the boxes."""
        item = self._lance.schema.field(self._column).type.value_field.name
        fields = names or [_first_number(self._box_type)]
        paths = [f"{self._column}.{item}.{name}" for name in fields]
        folder = Path(self._uri.removeprefix("file://")) / "data"
        files = data_files(self._lance, self._column, folder)
        for fragment in self._lance.get_fragments():
            # the file holds deleted rows too, and a remote one needs the store's options
            if fragment.num_deletions or is_remote(self._uri):
                batches = fragment.scanner(columns=[self._column]).to_batches()
            else:
                file = str(files[fragment.fragment_id])
                batches = (
                    LanceFileReader(file, columns=paths)
                    .read_all(batch_size=BATCH_ROWS)
                    .to_batches()
                )
            for batch in batches:
                yield batch.column(0)

    def _array(self, name: str, flat: pa.StructArray, rows: np.ndarray) -> pa.Array:
        if name in PARENT_COLUMNS:
            found = self._frames[name].take(pa.array(rows)).combine_chunks()
        else:
            found = pc.struct_field(flat, name)
        is_text = pa.types.is_string(found.type)
        return found.dictionary_encode() if is_text else found


def _first_number(box_type: pa.StructType) -> str:
    """Return the field that is read where only the number of boxes counts."""
    return next(field.name for field in box_type if pa.types.is_floating(field.type))


def _stored(kind: pa.DataType) -> pa.DataType:
    return pa.dictionary(pa.int32(), pa.string()) if pa.types.is_string(kind) else kind


def _uses(condition: ds.Expression | None, name: str) -> bool:
    return condition is not None and name in str(condition)
