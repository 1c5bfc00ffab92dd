"""SQL over frames and boxes through DuckDB."""

import duckdb
import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from admlops.errors import DataError
from admlops.lake.schema import BOX_2D_TYPE, BOX_TYPE, SQL_COLUMNS

_VIEWS = tuple(
    f"CREATE VIEW {name} AS SELECT log, scene, timestamp_ns, frame_id, split, tags, "  # noqa: S608
    f"unnest({name}, recursive := true) FROM lake WHERE num_{name} > 0"
    for name in ("boxes", "boxes_2d")
)


def run_sql(dataset: lance.LanceDataset, frames: pa.Table, sql: str) -> pa.Table:
    """Return the result of a query on the views ``frames``, ``boxes`` and ``boxes_2d``.

    Args:
        dataset: where ``boxes`` and ``boxes_2d`` are streamed from.
        frames: the table behind ``frames``.
        sql: one SELECT.

    Raises:
        DataError: the SQL is wrong; the message lists the columns.
    """
    with duckdb.connect(config={"enable_external_access": "false"}) as connection:
        connection.register("frames", frames)
        connection.register("lake", dataset)
        for view in _VIEWS:
            connection.execute(view)
        try:
            return connection.sql(sql).to_arrow_table()
        except (duckdb.Error, AttributeError) as error:
            raise DataError(
                f"{dataset.uri}: the SQL {sql!r} failed: {str(error).splitlines()[0]}. "
                f"The view frames has the columns {', '.join(frames.column_names)}; the "
                "views boxes and boxes_2d have log, scene, timestamp_ns, frame_id, split, tags; "
                f"boxes also {', '.join(BOX_TYPE.names)}; "
                f"boxes_2d also {', '.join(BOX_2D_TYPE.names)}"
            ) from error


def load_frames_view(dataset: lance.LanceDataset) -> pa.Table:
    """Return the table behind the view ``frames``: a row number and what describes a frame."""
    table = dataset.to_table(columns=list(SQL_COLUMNS))
    rows = pa.array(np.arange(table.num_rows), pa.int64())
    is_keyframe = pc.or_(table["num_boxes"].is_valid(), table["num_boxes_2d"].is_valid())
    return table.add_column(0, "row", rows).append_column("is_keyframe", is_keyframe)


def rows_where(dataset: lance.LanceDataset, frames: pa.Table, condition: str) -> NDArray[np.int64]:
    """Return the numbers of the rows of ``frames`` for which the SQL condition holds, in order."""
    sql = f"SELECT row FROM frames WHERE ({condition}) ORDER BY row"  # noqa: S608 - read-only
    return run_sql(dataset, frames, sql)["row"].to_numpy().astype(np.int64)
