"""Embedding columns: one vector per frame, added to a dataset once computed."""

from collections.abc import Iterator, Mapping

import lance
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from admlops.errors import DataError
from admlops.lake.appending import keys_of
from admlops.lake.relabelling import commit_columns
from admlops.lake.schema import EMBEDDING_PREFIX, KEY_COLUMNS
from admlops.lake.storage import explain_errors
from admlops.structures.frame import FrameKey

INDEX_TYPE = "IVF_FLAT"
NUM_PROBES = 20
"""Cells that are searched: of a million vectors 2 %."""
MIN_INDEXED = 10_000
"""Vectors from which on an index pays."""
_BATCH_ROWS = 4096

Vectors = Mapping[FrameKey, NDArray[np.float32]]


def list_embeddings(dataset: lance.LanceDataset) -> list[str]:
    """Return the names of the embeddings that a dataset holds."""
    names = [name for name in dataset.schema.names if name.startswith(EMBEDDING_PREFIX)]
    return sorted(name.removeprefix(EMBEDDING_PREFIX) for name in names)


def write_embedding(
    dataset: lance.LanceDataset, name: str, vectors: Vectors, options: Mapping[str, str]
) -> lance.LanceDataset:
    """Return the version in which frames have the vectors; others keep theirs, or have none.

    Nothing but the column is written.

    Raises:
        DataError: vectors differ in length, from each other or from those that are there, or a
            key is not in the dataset.
        ServiceError: the object store failed.
    """
    column = EMBEDDING_PREFIX + name
    width = _width(dataset, column, vectors)
    with explain_errors(dataset.uri, "reading keys"):
        present = dataset.to_table(columns=list(KEY_COLUMNS), with_row_id=True)
    keys = keys_of(present)
    absent = vectors.keys() - set(keys)
    if absent:
        raise DataError(
            f"{dataset.uri}: {len(absent)} of {len(vectors)} frames to embed are not in the "
            f"dataset, for example {min(absent)}"
        )
    vector_type = pa.list_(pa.float32(), width)
    if column in dataset.schema.names:
        rows = [row for row, key in enumerate(keys) if key in vectors]
        changes = pa.table(
            {
                "_rowid": present["_rowid"].take(pa.array(rows, pa.int64())),
                column: pa.array([vectors[keys[row]] for row in rows], vector_type),
            }
        )
        return commit_columns(dataset, changes, options)
    schema = pa.schema([(column, vector_type)])
    batches = _column_batches(keys, vectors, schema)
    with explain_errors(dataset.uri, "adding an embedding"):
        dataset.add_columns(pa.RecordBatchReader.from_batches(schema, batches))
    return dataset


def read_embedding(dataset: lance.LanceDataset, name: str) -> NDArray[np.float32]:
    """Return (rows, D) vectors, NaN for frames that have none.

    Raises:
        DataError: the dataset has no such embedding; the message lists those it has.
    """
    column = _existing(dataset, name)
    width = dataset.schema.field(column).type.list_size
    with explain_errors(dataset.uri, "reading an embedding"):
        found = dataset.to_table(columns=[column])[column].combine_chunks()
    vectors = np.full((len(found), width), np.nan, dtype=np.float32)
    valid = found.is_valid().to_numpy(zero_copy_only=False)
    vectors[valid] = found.drop_null().flatten().to_numpy().reshape(-1, width)
    return vectors


def index_embedding(dataset: lance.LanceDataset, name: str) -> lance.LanceDataset:
    """Return the version with an inverted-file index of the vectors, which `find_nearest` uses.

    Vectors are stored whole in about as many cells as the root of their number.

    Raises:
        DataError: the dataset has no such embedding, or fewer vectors than pay an index.
    """
    column = _existing(dataset, name)
    with explain_errors(dataset.uri, "counting vectors"):
        count = dataset.count_rows(f"{column} IS NOT NULL")
    if count < MIN_INDEXED:
        raise DataError(
            f"{dataset.uri}: {count} frames have the embedding {name!r}; from {MIN_INDEXED} on an "
            "index pays, below that every search looks at all of them"
        )
    with explain_errors(dataset.uri, "indexing an embedding"):
        return dataset.create_index(
            column, INDEX_TYPE, metric="L2", num_partitions=int(np.sqrt(count)), replace=True
        )


def find_nearest(
    dataset: lance.LanceDataset,
    name: str,
    vector: NDArray[np.floating],
    count: int,
    condition: str = "",
) -> list[tuple[FrameKey, float]]:
    """Return the keys of the nearest frames and their Euclidean distances, nearest first.

    Raises:
        DataError: the dataset has no such embedding, the vector has another length, or the
            condition is wrong.
    """
    column = _existing(dataset, name)
    width = dataset.schema.field(column).type.list_size
    if vector.shape != (width,):
        raise DataError(
            f"{dataset.uri}: the embedding {name!r} has {width} values, the vector that is looked "
            f"for has shape {vector.shape}"
        )
    nearest = {"column": column, "q": vector.astype(np.float32), "k": count, "nprobes": NUM_PROBES}
    with explain_errors(dataset.uri, f"searching {name!r} where {condition or 'true'}"):
        found = dataset.scanner(
            columns=[*KEY_COLUMNS, "_distance"],
            nearest=nearest,
            filter=condition or None,
            prefilter=bool(condition),
        ).to_table()
    squared = found["_distance"].to_numpy()
    return list(zip(keys_of(found), np.sqrt(squared).astype(float).tolist(), strict=True))


def _existing(dataset: lance.LanceDataset, name: str) -> str:
    """Return the column of an embedding that is there."""
    if name not in list_embeddings(dataset):
        has = ", ".join(list_embeddings(dataset)) or "none"
        raise DataError(f"{dataset.uri}: no embedding is called {name!r}; there are: {has}")
    return EMBEDDING_PREFIX + name


def _width(dataset: lance.LanceDataset, column: str, vectors: Vectors) -> int:
    widths = {len(vector) for vector in vectors.values()}
    if column in dataset.schema.names:
        widths.add(dataset.schema.field(column).type.list_size)
    if len(widths) != 1:
        raise DataError(
            f"{dataset.uri}: the vectors of {column} must have one length, found {sorted(widths)}"
        )
    return widths.pop()


def _column_batches(
    keys: list[FrameKey], vectors: Vectors, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    for start in range(0, len(keys), _BATCH_ROWS):
        part = [vectors.get(key) for key in keys[start : start + _BATCH_ROWS]]
        yield pa.record_batch([pa.array(part, schema.field(0).type)], schema=schema)
