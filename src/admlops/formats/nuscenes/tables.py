"""nuScenes' tables, read by DuckDB: they are JSON arrays of up to gigabytes.

The long ones are read once as a stream and put down scene by scene in a temporary file; what a
scene needs is joined when it is asked for. Most rows are of radars and of images between key
frames, which are not read; nor are they kept.
Source: https://www.nuscenes.org/nuscenes#data-format and the development kit's schema page.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from admlops.errors import DataError
from admlops.formats.nuscenes.parts import PART, PartFile, distinct
from admlops.formats.reading import Latest

_TEXT, _FLOATS = "VARCHAR", "DOUBLE[]"
_POSE = {"token": _TEXT, "translation": _FLOATS, "rotation": _FLOATS}
COLUMNS: dict[str, dict[str, str]] = {
    "sensor": {"token": _TEXT, "channel": _TEXT, "modality": _TEXT},
    "calibrated_sensor": {**_POSE, "sensor_token": _TEXT, "camera_intrinsic": "DOUBLE[][]"},
    "sample_data": {
        "token": _TEXT,
        "sample_token": _TEXT,
        "ego_pose_token": _TEXT,
        "calibrated_sensor_token": _TEXT,
        "timestamp": "BIGINT",
        "filename": _TEXT,
        "is_key_frame": "BOOLEAN",
        "width": "BIGINT",
        "height": "BIGINT",
    },
    "ego_pose": _POSE,
    "scene": {"token": _TEXT, "name": _TEXT, "description": _TEXT, "log_token": _TEXT},
    "log": {"token": _TEXT, "logfile": _TEXT, "location": _TEXT, "date_captured": _TEXT},
    "sample": {"token": _TEXT, "timestamp": "BIGINT", "scene_token": _TEXT},
    "sample_annotation": {
        "token": _TEXT,
        "sample_token": _TEXT,
        "instance_token": _TEXT,
        "visibility_token": _TEXT,
        "attribute_tokens": "VARCHAR[]",
        "translation": _FLOATS,
        "size": _FLOATS,
        "rotation": _FLOATS,
        "num_lidar_pts": "BIGINT",
        "num_radar_pts": "BIGINT",
        "prev": _TEXT,
        "next": _TEXT,
    },
    "instance": {"token": _TEXT, "category_token": _TEXT},
    "category": {"token": _TEXT, "name": _TEXT},
    "attribute": {"token": _TEXT, "name": _TEXT},
}
"""The columns that are read of each table."""
_LONG = ("sample_data", "ego_pose", "sample_annotation")
_SENSORS_OF = """(
    SELECT cs.token FROM calibrated_sensor cs JOIN sensor ON sensor.token = cs.sensor_token
    WHERE sensor.modality = '{}' AND cs.token IS NOT NULL
)"""
_PLACES = """
CREATE TABLE name AS
SELECT name, (row_number() OVER (ORDER BY name) - 1)::INTEGER AS part
FROM (SELECT DISTINCT name FROM scene WHERE name IS NOT NULL);
SET VARIABLE nowhere = (SELECT count(*) FROM name);
CREATE TABLE place AS
SELECT DISTINCT sample.token, coalesce(name.part, getvariable('nowhere'))::INTEGER AS part
FROM sample
LEFT JOIN scene ON scene.token = sample.scene_token
LEFT JOIN name ON name.name = scene.name;
"""
"""A part is the scenes of one name, in order of names; the last one is of no scene at all."""
_PARTS_OF_SCENES = "SELECT scene.token, name.part FROM scene JOIN name ON name.name = scene.name"
_SENSOR_DATA = f"""
SELECT coalesce(place.part, getvariable('nowhere'))::INTEGER AS part,
    hash(long.ego_pose_token) AS key, long.*
FROM {{rows}} long LEFT JOIN place ON place.token = long.sample_token
WHERE coalesce(calibrated_sensor_token, '') NOT IN {_SENSORS_OF.format("radar")} AND
    (is_key_frame OR coalesce(calibrated_sensor_token, '') NOT IN {_SENSORS_OF.format("camera")})
"""
"""Which rows of sample_data are kept. References that lead nowhere stay."""
_ANNOTATIONS = """
SELECT coalesce(place.part, getvariable('nowhere'))::INTEGER AS part, long.*
FROM {rows} long LEFT JOIN place ON place.token = long.sample_token
"""
_POSES = """
SELECT wanted.part, long.* FROM {rows} long JOIN wanted ON wanted.key = hash(long.token)
"""
_NEIGHBOURS = """
SELECT wanted.part, long.* FROM {rows} long JOIN wanted ON wanted.key = long.token
"""
_SETTINGS = {"threads": 1, "temp_directory": ""}
"""An array is parsed by one thread, however many wait with their buffers; no file is needed."""
_AS_WRITTEN = "SET disabled_optimizers = 'join_order,build_side_probe_side'"
"""The rows of a file are guessed to be few, and held; so a join is to hold its right side."""
_ROWS_AT_ONCE, _PARTS_AT_ONCE = 32_768, 16
_SMALL_BYTES = 1 << 20

_SWEEPS = """
SELECT sd.token, sd.sample_token, sd.timestamp, sd.filename, sd.is_key_frame,
    scene.token AS scene_token, scene.name AS scene, scene.description, log.logfile, log.location,
    ep.translation AS ego_translation, ep.rotation AS ego_rotation,
    cs.translation, cs.rotation, sd.part
FROM sample_data sd
LEFT JOIN calibrated_sensor cs ON cs.token = sd.calibrated_sensor_token
LEFT JOIN sensor ON sensor.token = cs.sensor_token
LEFT JOIN ego_pose ep ON ep.token = sd.ego_pose_token AND ep.part = sd.part
LEFT JOIN sample ON sample.token = sd.sample_token
LEFT JOIN scene ON scene.token = sample.scene_token
LEFT JOIN log ON log.token = scene.log_token
LEFT JOIN name ON name.name = scene.name
WHERE (sensor.channel = 'LIDAR_TOP' OR sensor.channel IS NULL) AND
    coalesce(name.part, getvariable('nowhere')) = sd.part
ORDER BY scene.name, sd.timestamp, sd.token
"""
_IMAGES = """
SELECT sd.sample_token, sensor.channel, sd.filename, sd.width, sd.height,
    ep.translation AS ego_translation, ep.rotation AS ego_rotation,
    cs.translation, cs.rotation, cs.camera_intrinsic
FROM sample_data sd
JOIN calibrated_sensor cs ON cs.token = sd.calibrated_sensor_token
JOIN sensor ON sensor.token = cs.sensor_token AND sensor.modality = 'camera'
JOIN ego_pose ep ON ep.token = sd.ego_pose_token
JOIN sample ON sample.token = sd.sample_token
WHERE sd.is_key_frame AND sample.scene_token = ?
ORDER BY sd.sample_token, sensor.channel
"""
_BOXES = """
SELECT a.sample_token, a.instance_token, a.translation, a.size, a.rotation, a.num_lidar_pts,
    a.num_radar_pts, a.visibility_token, category.name AS category,
    (SELECT list(attribute.name) FROM attribute
        WHERE list_contains(a.attribute_tokens, attribute.token)) AS attributes,
    before.translation AS before_m, after.translation AS after_m,
    sample.timestamp AS time_us, sb.timestamp AS before_us, sa.timestamp AS after_us
FROM sample_annotation a
JOIN sample ON sample.token = a.sample_token
LEFT JOIN instance ON instance.token = a.instance_token
LEFT JOIN category ON category.token = instance.category_token
LEFT JOIN sample_annotation before ON before.token = a.prev
LEFT JOIN sample_annotation after ON after.token = a.next
LEFT JOIN sample sb ON sb.token = before.sample_token
LEFT JOIN sample sa ON sa.token = after.sample_token
WHERE sample.scene_token = ?
ORDER BY a.number, before.number, after.number
"""


class Tables:
    """The tables of one version of the dataset.

    Raises:
        DataError: a table is absent, or is not as the format says; there is no room for the
            temporary file, or it would be larger than the tables.
    """

    def __init__(self, folder: Path) -> None:
        self._paths = {name: folder / f"{name}.json" for name in COLUMNS}
        for path in self._paths.values():
            if not path.is_file():
                raise DataError(f"{path}: absent; a version of nuScenes has {', '.join(COLUMNS)}")
        self._connection = duckdb.connect(config=_SETTINGS)
        for name in COLUMNS:
            if name not in _LONG:
                self._load(name)
        self._connection.execute(_PLACES)
        parts = self._connection.execute(_PARTS_OF_SCENES).fetchall()
        self._part_of_scene: dict[str | None, int] = dict(parts)
        self._num_parts = self._connection.execute("SELECT count(*) + 1 FROM name").fetchone()[0]
        size = sum(path.stat().st_size for path in self._paths.values())
        self._file = PartFile(folder, max_size=4 * size + _SMALL_BYTES)
        self._is_any_nameless = self._has_neighbours = False
        self._put_down_sensor_data()
        self._put_down_annotations()
        self._num_sweeps = np.zeros(self._num_parts, dtype=np.int64)
        self._sweeps_of = Latest(self._read_sweeps)

    def _load(self, name: str) -> None:
        with _explain(self._paths[name]):
            sql = f"CREATE TABLE {name} AS SELECT * FROM {_rows_of(name)}"
            self._connection.execute(sql, [str(self._paths[name])])

    def _put_down_sensor_data(self) -> None:
        keys, parts = [], []
        for rows in self._stream("sample_data", _SENSOR_DATA):
            keys.append(rows["key"].to_numpy().copy())  # a view would hold all columns
            parts.append(rows[PART].to_numpy().copy())
            self._file.add("sample_data", rows.drop_columns("key"))
        wanted = distinct(np.concatenate(keys), np.concatenate(parts))
        for rows in self._stream("ego_pose", _POSES, wanted):
            self._file.add("ego_pose", rows)

    def _put_down_annotations(self) -> None:
        for rows in self._stream("sample_annotation", _ANNOTATIONS):
            self._is_any_nameless |= "" in rows["token"].to_pylist()
            self._file.add("sample_annotation", rows)

    def _named_elsewhere(self, part: int) -> set[str]:
        """Return what annotations of a part name as their neighbours, and is none of the part.

        Tracks do not leave their scene, so in whole data there is none.
        """
        rows = self._file.read("sample_annotation", [part])
        own, before, after = (set(rows[name].to_pylist()) for name in ("token", "prev", "next"))
        no_name = {None} if self._is_any_nameless else {None, ""}
        return (before | after) - own - no_name

    def _put_down_neighbours(self) -> None:
        """Add to each part the annotations of others that it names."""
        wanted = [
            {"key": token, PART: part}
            for part in range(self._num_parts)
            for token in self._named_elsewhere(part)
        ]
        schema = pa.schema({"key": pa.string(), PART: pa.int32()})
        table = pa.Table.from_pylist(wanted, schema)
        for rows in self._stream("sample_annotation", _NEIGHBOURS, table):
            self._file.add("sample_annotation", rows)
        self._has_neighbours = True

    def _stream(
        self, name: str, sql: str, wanted: pa.Table | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Yield rows of a long table; at first none, so that there is a batch in any case."""
        path = self._paths[name]
        self._connection.execute(_AS_WRITTEN)
        with _given(self._connection, {} if wanted is None else {"wanted": wanted}):
            with _explain(path):
                query = self._connection.sql(sql.format(rows=_rows_of(name)), params=[str(path)])
                reader = query.to_arrow_reader(_ROWS_AT_ONCE)
            rows: pa.RecordBatch | None = pa.RecordBatch.from_pylist([], reader.schema)
            while rows is not None:
                yield rows
                with _explain(path):
                    rows = next(reader, None)
        self._connection.execute("RESET disabled_optimizers")

    def sweeps(self) -> Iterator[pa.Table]:
        """Yield every sweep of the lidar, scene by scene in order of time; to be called once."""
        for first in range(0, self._num_parts, _PARTS_AT_ONCE):
            parts = range(first, min(first + _PARTS_AT_ONCE, self._num_parts))
            sweeps = self._query(_SWEEPS, parts, ("sample_data", "ego_pose"), [])
            for rows in sweeps.to_batches():
                self._file.add("sweeps", rows)
                self._num_sweeps += np.bincount(rows[PART], minlength=self._num_parts)
            yield sweeps.drop_columns(PART)

    def sweep(self, number: int) -> dict[str, Any]:
        """Return a sweep by its number among those that were listed."""
        ends = np.cumsum(self._num_sweeps)
        part = int(np.searchsorted(ends, number, "right"))
        place = number - int(ends[part] - self._num_sweeps[part])
        row: dict[str, Any] = self._sweeps_of(str(part)).slice(place, 1).to_pylist()[0]
        return row

    def _read_sweeps(self, part: str) -> pa.Table:
        return self._file.read("sweeps", [int(part)]).drop_columns(PART)

    def images(self, scene_token: str) -> list[dict[str, Any]]:
        """Return the images of a scene's key frames."""
        return self._of_scene(_IMAGES, scene_token, ("sample_data", "ego_pose"))

    def boxes(self, scene_token: str) -> list[dict[str, Any]]:
        """Return the annotations of a scene in their order, with their neighbours in time."""
        if not self._has_neighbours and self._named_elsewhere(self._part_of_scene[scene_token]):
            self._put_down_neighbours()
        return self._of_scene(_BOXES, scene_token, ("sample_annotation",))

    def _of_scene(self, sql: str, token: str, names: Sequence[str]) -> list[dict[str, Any]]:
        table = self._query(sql, [self._part_of_scene[token]], names, [token])
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows

    def _query(
        self, sql: str, parts: Sequence[int], names: Sequence[str], values: Sequence[str]
    ) -> pa.Table:
        """Return what a query makes of some parts of long tables."""
        tables = {name: _numbered(self._file.read(name, parts)) for name in names}
        with _given(self._connection, tables):
            return self._connection.sql(sql, params=list(values)).to_arrow_table().combine_chunks()


def _numbered(table: pa.Table) -> pa.Table:
    """Return a table with the column `number`, by which its order is known."""
    return table.append_column("number", pa.array(np.arange(len(table))))


def _rows_of(name: str) -> str:
    """Return SQL for the rows of a table's file, which is the query's parameter."""
    kinds = ", ".join(f"{column}: '{kind}'" for column, kind in COLUMNS[name].items())
    return f"read_json(?, format = 'array', columns = {{{kinds}}})"


@contextmanager
def _explain(path: Path) -> Iterator[None]:
    """Turn what goes wrong while a table is read into a DataError that names it."""
    try:
        yield
    except (duckdb.Error, OSError, UnicodeDecodeError) as error:  # OSError: from Arrow's stream
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: not a table of nuScenes: {reason}") from error


@contextmanager
def _given(connection: duckdb.DuckDBPyConnection, tables: Mapping[str, pa.Table]) -> Iterator[None]:
    """Let queries in a block know tables by name."""
    for name, table in tables.items():
        connection.register(name, table)
    try:
        yield
    finally:
        for name in tables:
            connection.unregister(name)
