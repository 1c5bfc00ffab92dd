"""SQL over frames and boxes through DuckDB."""

from functools import cached_property

import duckdb
import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from admlops.errors import DataError
from admlops.lake.box_view import BoxView
from admlops.lake.schema import BOX_2D_TYPE, BOX_TYPE, EGO_COLUMNS, SQL_COLUMNS
from admlops.lake.storage import explain_errors


def quoted(text: str) -> str:
    """Return a text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


class Views:
    """The views ``frames``, ``boxes`` and ``boxes_2d`` of one version.

    They are read when they are asked for, and what one query read the next one finds.
    """

    def __init__(self, dataset: lance.LanceDataset) -> None:
        self._dataset = dataset

    @cached_property
    def frames(self) -> pa.Table:
        """The table behind ``frames``: a row number and what describes a frame.

        Raises:
            DataError: the dataset is corrupt.
            ServiceError: the object store failed.
        """
        with explain_errors(self._dataset.uri, "reading frames"):
            table = self._dataset.to_table(columns=[*SQL_COLUMNS, "global_from_ego"])
        rows = pa.array(np.arange(table.num_rows), pa.int64())
        is_keyframe = pc.or_(table["num_boxes"].is_valid(), table["num_boxes_2d"].is_valid())
        poses = table["global_from_ego"].combine_chunks().flatten().to_numpy().reshape(-1, 4, 4)
        table = table.drop_columns(["global_from_ego"]).add_column(0, "row", rows)
        for axis, name in enumerate(EGO_COLUMNS):
            table = table.append_column(name, pa.array(poses[:, axis, 3]))
        return table.append_column("is_keyframe", is_keyframe)

    @cached_property
    def _boxes(self) -> dict[str, BoxView]:
        kinds = {"boxes": BOX_TYPE, "boxes_2d": BOX_2D_TYPE}
        return {n: BoxView(self._dataset, self.frames, n, kind) for n, kind in kinds.items()}

    def run(self, sql: str) -> pa.Table:
        """Return the result of one SELECT.

        Raises:
            DataError: the SQL is wrong; the message lists the columns.
        """
        with duckdb.connect(config={"enable_external_access": "false"}) as connection:
            connection.register("frames", self.frames)
            for name, view in self._boxes.items():
                connection.register(name, view)
            try:
                return connection.sql(sql).to_arrow_table()
            except (duckdb.Error, AttributeError) as error:
                reason = str(error).splitlines()[0].rstrip("!.")
                raise DataError(
                    f"{self._dataset.uri}: the SQL {sql!r} failed: {reason}. "
                    f"The view frames has the columns {', '.join(self.frames.column_names)}; the "
                    "views boxes and boxes_2d have log, scene, timestamp_ns, frame_id, split, "
                    f"tags; boxes also {', '.join(BOX_TYPE.names)}; "
                    f"boxes_2d also {', '.join(BOX_2D_TYPE.names)}"
                ) from error

    def rows_where(self, condition: str) -> NDArray[np.int64]:
        """Return the numbers of the rows of ``frames`` for which the condition holds, in order.

        Raises:
            DataError: the SQL is wrong.
        """
        sql = f"SELECT row FROM frames WHERE ({condition}) ORDER BY row"
        return self.run(sql)["row"].to_numpy().astype(np.int64)
