"""Argoverse 2's tables: Feather files with stated columns, read whole and checked.

Source: https://argoverse.github.io/user-guide/datasets/sensor.html and the schemas of its files.
"""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import feather

POSE = ("qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m")
SIZE = ("length_m", "width_m", "height_m")
MAX_BYTES = 1 << 30
"""Of one table in memory."""

Columns = dict[str, NDArray[Any]]


def parse_table(content: bytes, columns: Mapping[str, type]) -> Columns:
    """Return the named columns of a Feather file; others are passed over.

    Args:
        content: the file.
        columns: the kind of each column: float, int or str.

    Raises:
        ValueError: it is no Feather file, a column is absent or of another kind, or a value is.
    """
    try:
        with pa.ipc.open_file(io.BytesIO(content)) as reader:
            missing = sorted(columns.keys() - set(reader.schema.names))
            if missing:
                raise ValueError(f"no column {', '.join(missing)}")
        table = feather.read_table(io.BytesIO(content), columns=list(columns), memory_map=False)
        table.validate(full=True)
        if table.nbytes > MAX_BYTES:
            raise ValueError(f"{table.nbytes} bytes, more than a log can hold")
        return {name: _column(table[name], name, kind) for name, kind in columns.items()}
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"not a Feather file: {str(error).splitlines()[0]}") from None


def _column(values: pa.ChunkedArray, name: str, kind: type) -> NDArray[Any]:
    if values.null_count:
        raise ValueError(f"column {name} has {values.null_count} empty values")
    if kind is str:
        if not pa.types.is_string(values.type) and not pa.types.is_large_string(values.type):
            raise ValueError(f"column {name} is {values.type}, expected text")
        return np.array(values.to_pylist(), dtype=object)
    is_kind = pa.types.is_integer(values.type) if kind is int else _is_number(values.type)
    if not is_kind:
        raise ValueError(f"column {name} is {values.type}, expected {kind.__name__}")
    array = values.to_numpy().astype(np.int64 if kind is int else np.float64)
    if kind is float and not np.isfinite(array).all():
        raise ValueError(f"column {name} holds a value that is not finite")
    return array


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def transforms_of(columns: Columns) -> NDArray[np.float64]:
    """Return (N, 4, 4) transforms of the columns `POSE`.

    Raises:
        ValueError: a quaternion is not of unit length.
    """
    quaternion = np.column_stack([columns[name] for name in POSE[:4]]).reshape(-1, 4)
    with np.errstate(over="ignore"):
        length = np.linalg.norm(quaternion, axis=1)
    if (np.abs(length - 1.0) > 1e-3).any():
        raise ValueError(f"a quaternion has length {length[np.argmax(np.abs(length - 1.0))]:g}")
    w, x, y, z = (quaternion / length[:, None]).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    transforms = np.zeros((len(quaternion), 4, 4))
    transforms[:, :3, :3] = np.moveaxis(np.array(rows), 2, 0)
    transforms[:, :3, 3] = np.column_stack([columns[name] for name in POSE[4:]])
    transforms[:, 3, 3] = 1.0
    return transforms


def write_table(columns: Mapping[str, NDArray[Any]]) -> bytes:
    """Return a Feather file of columns, byte by byte the same for the same columns."""
    sink = io.BytesIO()
    arrays = {
        name: pa.array(values.tolist(), pa.string()) if values.dtype == object else values
        for name, values in columns.items()
    }
    feather.write_feather(pa.table(arrays), sink, compression="zstd")
    return sink.getvalue()
