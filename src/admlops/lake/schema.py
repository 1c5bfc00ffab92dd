"""The layout of a dataset: one row per frame, in a Lance table."""

import pyarrow as pa

SCHEMA_VERSION = 1
SCHEMA_VERSION_KEY = b"admlops:schema_version"
LICENCES_KEY = b"admlops:licences"

LIDAR_BLOB = "lidar_points"
"""N x 4 float32, little endian, x y z intensity in the sensor frame."""
CAMERA_BLOB = "camera_encoded"
"""The bytes of a PNG or JPEG file."""
EMBEDDING_PREFIX = "embedding_"
"""Columns that are added once computed: one float32 vector per frame."""

_BLOB_METADATA = {"lance-encoding:blob": "true"}


def _matrix(rows: int, columns: int) -> pa.DataType:
    return pa.list_(pa.float64(), rows * columns)


BOX_TYPE = pa.struct(
    [
        ("x_m", pa.float64()),
        ("y_m", pa.float64()),
        ("z_m", pa.float64()),
        ("length_m", pa.float64()),
        ("width_m", pa.float64()),
        ("height_m", pa.float64()),
        ("yaw_rad", pa.float64()),
        ("category", pa.string()),
        ("score", pa.float64()),
        ("track_id", pa.string()),
        ("num_points", pa.int64()),
        ("occlusion", pa.int64()),
        ("truncation", pa.float64()),
        ("left_px", pa.float64()),
        ("top_px", pa.float64()),
        ("right_px", pa.float64()),
        ("bottom_px", pa.float64()),
        ("vx_mps", pa.float64()),
        ("vy_mps", pa.float64()),
    ]
)
"""One box in the ego frame; what is absent (NaN in `Boxes`) is null."""

BOXES_TYPE = pa.list_(BOX_TYPE)

SENSOR_TYPE = pa.struct(
    [
        ("name", pa.string()),
        ("ego_from_sensor", _matrix(4, 4)),
        ("camera_matrix", _matrix(3, 3)),
    ]
)

KEY_COLUMNS = ("log", "scene", "timestamp_ns")

COLUMNS = pa.schema(
    [
        ("log", pa.string()),
        ("scene", pa.string()),
        ("timestamp_ns", pa.int64()),
        ("frame_id", pa.string()),
        ("split", pa.string()),
        ("tags", pa.list_(pa.string())),
        ("source", pa.string()),
        ("sensor_digest", pa.string()),
        ("content_digest", pa.string()),
        ("label_digest", pa.string()),
        ("global_from_ego", _matrix(4, 4)),
        ("lidar_sensor", SENSOR_TYPE),
        ("lidar_num_points", pa.int64()),
        ("camera_sensor", SENSOR_TYPE),
        ("camera_width_px", pa.int64()),
        ("camera_height_px", pa.int64()),
        ("camera_ignore_regions_px", pa.list_(_matrix(1, 4))),
        ("num_boxes", pa.int64()),
        ("boxes", BOXES_TYPE),
        pa.field(LIDAR_BLOB, pa.large_binary(), metadata=_BLOB_METADATA),
        pa.field(CAMERA_BLOB, pa.large_binary(), metadata=_BLOB_METADATA),
    ]
)

_BOOKKEEPING = {
    "sensor_digest",
    "content_digest",
    "label_digest",
    "lidar_num_points",
    "num_boxes",
    LIDAR_BLOB,
    CAMERA_BLOB,
}

FRAME_COLUMNS = tuple(name for name in COLUMNS.names if name not in _BOOKKEEPING)
"""What makes a `Frame`, payloads aside."""

SQL_COLUMNS = (
    *KEY_COLUMNS,
    "frame_id",
    "split",
    "tags",
    "source",
    "sensor_digest",
    "lidar_num_points",
    "camera_width_px",
    "camera_height_px",
    "num_boxes",
)
"""What the view `frames` shows, beside `row` and `is_keyframe`."""
