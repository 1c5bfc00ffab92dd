"""Predictions of a model on a dataset: one Parquet file, a row per frame, streamed."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from admlops.errors import DataError
from admlops.files import open_atomically
from admlops.lake.appending import keys_of
from admlops.lake.encoding import decode_boxes, encode_boxes
from admlops.lake.schema import BOXES_TYPE, KEY_COLUMNS
from admlops.structures.boxes import Boxes
from admlops.structures.frame import FrameKey

VECTORS_FILE = "vectors.parquet"
"""Name of a detector's features in the predictions of a shard."""
ROW_GROUP_FRAMES = 512

_SCHEMA = pa.schema(
    [
        ("log", pa.string()),
        ("scene", pa.string()),
        ("timestamp_ns", pa.int64()),
        ("boxes", BOXES_TYPE),
    ],
    metadata={"admlops:predictions": "1"},
)


def write_predictions(path: Path, items: Iterable[tuple[FrameKey, Boxes]]) -> int:
    """Write one row per frame, whole or not at all, and return how many.

    Frames without detections are written too, so that a reader knows that they were looked at.
    """
    num_frames = 0
    with open_atomically(path) as file, pq.ParquetWriter(file, _SCHEMA) as writer:
        for batch in _batches(items):
            writer.write_batch(batch)
            num_frames += batch.num_rows
    return num_frames


def iterate_predictions(path: Path) -> Iterator[tuple[FrameKey, Boxes]]:
    """Yield the key and the boxes of each frame, in the order written.

    Raises:
        DataError: the file is absent or holds no predictions.
    """
    try:
        with pq.ParquetFile(path) as file:
            if file.schema_arrow.names != _SCHEMA.names:
                raise DataError(
                    f"{path}: holds {', '.join(file.schema_arrow.names)}, which is not a file of "
                    f"predictions ({', '.join(_SCHEMA.names)})"
                )
            for batch in file.iter_batches(batch_size=ROW_GROUP_FRAMES):
                yield from _decode(batch)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: predictions cannot be read ({error}); predict again") from error


def write_vectors(path: Path, vectors: Mapping[FrameKey, NDArray[np.float32]]) -> None:
    """Write one (D,) vector per frame."""
    columns = {name: [getattr(key, name) for key in vectors] for name in KEY_COLUMNS}
    matrix = np.stack([vector.astype(np.float32) for vector in vectors.values()])
    rows = pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), matrix.shape[1])
    pq.write_table(pa.table({**columns, "vector": rows}), path)


def read_vectors(path: Path) -> dict[FrameKey, NDArray[np.float32]]:
    """Return what `write_vectors` wrote.

    Raises:
        DataError: the file is absent or damaged.
    """
    try:
        table = pq.read_table(path).combine_chunks()
        matrix = table["vector"].combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1)
        return dict(zip(keys_of(table), matrix, strict=True))
    except (OSError, KeyError, pa.ArrowException) as error:
        raise DataError(f"{path}: vectors cannot be read ({error}); predict again") from error


def _batches(items: Iterable[tuple[FrameKey, Boxes]]) -> Iterator[pa.RecordBatch]:
    waiting: list[tuple[FrameKey, Boxes]] = []
    for item in items:
        waiting.append(item)
        if len(waiting) == ROW_GROUP_FRAMES:
            yield _encode(waiting)
            waiting = []
    if waiting:
        yield _encode(waiting)


def _encode(items: list[tuple[FrameKey, Boxes]]) -> pa.RecordBatch:
    keys = [key for key, _ in items]
    return pa.record_batch(
        [
            pa.array([key.log for key in keys], pa.string()),
            pa.array([key.scene for key in keys], pa.string()),
            pa.array([key.timestamp_ns for key in keys], pa.int64()),
            encode_boxes([boxes for _, boxes in items]),
        ],
        schema=_SCHEMA,
    )


def _decode(batch: pa.RecordBatch) -> Iterator[tuple[FrameKey, Boxes]]:
    columns = [batch.column(name).to_pylist() for name in ("log", "scene", "timestamp_ns")]
    boxes = decode_boxes(batch.column("boxes"))
    for log, scene, timestamp_ns, found in zip(*columns, boxes, strict=True):
        yield FrameKey(log, scene, timestamp_ns), Boxes.empty() if found is None else found
