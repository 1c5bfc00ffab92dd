"""The layout of a dataset: one row per frame, in a Lance table."""

import pyarrow as pa

SCHEMA_VERSION = 2
SCHEMA_VERSION_KEY = b"admlops:schema_version"
LICENCES_KEY = b"admlops:licences"

LIDAR_BLOB = "lidar_points"
"""N x 4 float32, little endian, x y z intensity in the sensor frame."""
CAMERA_BLOB = "camera_encoded"
"""The bytes of a PNG or JPEG file."""
OTHER_CAMERAS_BLOB = "other_cameras_encoded"
"""The bytes of the further cameras' files, one after the other."""
BLOBS = (LIDAR_BLOB, CAMERA_BLOB, OTHER_CAMERAS_BLOB)
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
        ("attributes", pa.string()),
    ]
)
"""One box in the ego frame; what is absent (NaN in `Boxes`) is null."""

BOXES_TYPE = pa.list_(BOX_TYPE)

BOX_2D_TYPE = pa.struct(
    [
        ("left_px", pa.float64()),
        ("top_px", pa.float64()),
        ("right_px", pa.float64()),
        ("bottom_px", pa.float64()),
        ("category", pa.string()),
        ("camera", pa.string()),
        ("score", pa.float64()),
        ("track_id", pa.string()),
        ("occlusion", pa.int64()),
        ("truncation", pa.float64()),
        ("attributes", pa.string()),
    ]
)
"""One box in an image; what is absent (NaN in `Boxes2d`) is null."""

SENSOR_TYPE = pa.struct(
    [
        ("name", pa.string()),
        ("ego_from_sensor", _matrix(4, 4)),
        ("camera_matrix", _matrix(3, 3)),
        ("distortion", pa.list_(pa.float64())),
    ]
)

IMAGE_TYPE = pa.struct(
    [
        ("sensor", SENSOR_TYPE),
        ("width_px", pa.int64()),
        ("height_px", pa.int64()),
        ("ignore_regions_px", pa.list_(_matrix(1, 4))),
        ("num_bytes", pa.int64()),
    ]
)
"""One of the further cameras' images; its bytes are the next `num_bytes` of the blob."""

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
        ("label_2d_digest", pa.string()),
        ("num_boxes_2d", pa.int64()),
        ("boxes_2d", pa.list_(BOX_2D_TYPE)),
        ("other_cameras", pa.list_(IMAGE_TYPE)),
        pa.field(LIDAR_BLOB, pa.large_binary(), metadata=_BLOB_METADATA),
        pa.field(CAMERA_BLOB, pa.large_binary(), metadata=_BLOB_METADATA),
        pa.field(OTHER_CAMERAS_BLOB, pa.large_binary(), metadata=_BLOB_METADATA),
    ]
)

_BOOKKEEPING = {
    "sensor_digest",
    "content_digest",
    "label_digest",
    "label_2d_digest",
    "lidar_num_points",
    "num_boxes",
    "num_boxes_2d",
    *BLOBS,
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
    "num_boxes_2d",
)
"""What the view `frames` shows, beside `row`, `is_keyframe` and the place of the vehicle."""
EGO_COLUMNS = ("ego_x_m", "ego_y_m", "ego_z_m")
"""Columns of the view `frames`: where the vehicle is in the global frame."""
