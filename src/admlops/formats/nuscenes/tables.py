"""nuScenes' tables, read by DuckDB: they are JSON arrays of up to gigabytes.

Most rows are of radars and of images between key frames, which are not read; nor are they kept.
Source: https://www.nuscenes.org/nuscenes#data-format and the development kit's schema page.
"""

from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from admlops.errors import DataError

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
"""The columns that are read of each table, in the order in which the tables are read."""
_SENSORS_OF = """(
    SELECT cs.token FROM calibrated_sensor cs JOIN sensor ON sensor.token = cs.sensor_token
    WHERE sensor.modality = '{}' AND cs.token IS NOT NULL
)"""
_KEPT = {
    "sample_data": (
        f"coalesce(calibrated_sensor_token, '') NOT IN {_SENSORS_OF.format('radar')} AND "
        f"(is_key_frame OR coalesce(calibrated_sensor_token, '') NOT IN "
        f"{_SENSORS_OF.format('camera')})"
    ),
    "ego_pose": "token IN (SELECT ego_pose_token FROM sample_data)",
}
"""Which rows of a table are kept; all of the others. References that lead nowhere stay."""

_SWEEPS = """
SELECT sd.token, sd.sample_token, sd.timestamp, sd.filename, sd.is_key_frame,
    scene.token AS scene_token, scene.name AS scene, scene.description, log.logfile, log.location,
    ep.translation AS ego_translation, ep.rotation AS ego_rotation,
    cs.translation, cs.rotation
FROM sample_data sd
LEFT JOIN calibrated_sensor cs ON cs.token = sd.calibrated_sensor_token
LEFT JOIN sensor ON sensor.token = cs.sensor_token
LEFT JOIN ego_pose ep ON ep.token = sd.ego_pose_token
LEFT JOIN sample ON sample.token = sd.sample_token
LEFT JOIN scene ON scene.token = sample.scene_token
LEFT JOIN log ON log.token = scene.log_token
WHERE sensor.channel = 'LIDAR_TOP' OR sensor.channel IS NULL
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
"""


class Tables:
    """The tables of one version of the dataset.

    Raises:
        DataError: a table is absent, or is not as the format says.
    """

    def __init__(self, folder: Path) -> None:
        self._connection = duckdb.connect()
        for name, columns in COLUMNS.items():
            path = folder / f"{name}.json"
            if not path.is_file():
                raise DataError(f"{path}: absent; a version of nuScenes has {', '.join(COLUMNS)}")
            self._load(path, name, columns)

    def _load(self, path: Path, name: str, columns: dict[str, str]) -> None:
        kinds = ", ".join(f"{column}: '{kind}'" for column, kind in columns.items())
        sql = (
            f"CREATE TABLE {name} AS SELECT * FROM read_json(?, format = 'array', "
            f"columns = {{{kinds}}}) WHERE {_KEPT.get(name, 'true')}"
        )
        try:
            self._connection.execute(sql, [str(path)])
        except (duckdb.Error, UnicodeDecodeError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"{path}: not a table of nuScenes: {reason}") from error

    def sweeps(self) -> pa.Table:
        """Return every sweep of the lidar, scene by scene in order of time."""
        return self._connection.sql(_SWEEPS).to_arrow_table().combine_chunks()

    def images(self, scene_token: str) -> list[dict[str, Any]]:
        """Return the images of a scene's key frames."""
        return self._rows(_IMAGES, [scene_token])

    def boxes(self, scene_token: str) -> list[dict[str, Any]]:
        """Return the annotations of a scene, with their neighbours in time."""
        return self._rows(_BOXES, [scene_token])

    def _rows(self, sql: str, values: list[str]) -> list[dict[str, Any]]:
        table = self._connection.sql(sql, params=values).to_arrow_table()
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows
