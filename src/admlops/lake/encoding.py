"""Frames and boxes to and from Arrow, exact in every field."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from admlops.lake.schema import (
    BLOBS,
    BOX_2D_TYPE,
    BOX_TYPE,
    CAMERA_BLOB,
    COLUMNS,
    LIDAR_BLOB,
    OTHER_CAMERAS_BLOB,
)
from admlops.structures.box_table import BoxTable
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import CalibratedSensor, CameraImage, Frame, FrameKey, LidarSweep

_PARTS: dict[str, tuple[str, int | None]] = {
    "x_m": ("center_m", 0),
    "y_m": ("center_m", 1),
    "z_m": ("center_m", 2),
    "length_m": ("size_m", 0),
    "width_m": ("size_m", 1),
    "height_m": ("size_m", 2),
    "left_px": ("box2d_px", 0),
    "top_px": ("box2d_px", 1),
    "right_px": ("box2d_px", 2),
    "bottom_px": ("box2d_px", 3),
    "vx_mps": ("velocity_mps", 0),
    "vy_mps": ("velocity_mps", 1),
}
"""Columns of a box in the lake that are parts of an array, and where; others have its name."""

_NOTHING = np.empty(0, np.uint8)

TableT = TypeVar("TableT", bound=BoxTable)


def encode_boxes(per_frame: Sequence[Boxes | None]) -> pa.ListArray:
    """Return one list of boxes per frame, null where the frame is not annotated."""
    return _encode_lists(Boxes, BOX_TYPE, per_frame)


def decode_boxes(column: pa.ListArray) -> list[Boxes | None]:
    """Return the boxes of each row; the inverse of `encode_boxes`."""
    return _decode_lists(Boxes, BOX_TYPE, column)


def encode_boxes_2d(per_frame: Sequence[Boxes2d | None]) -> pa.ListArray:
    """Return one list of boxes in images per frame, null where the images are not annotated."""
    return _encode_lists(Boxes2d, BOX_2D_TYPE, per_frame)


def decode_boxes_2d(column: pa.ListArray) -> list[Boxes2d | None]:
    """Return the boxes in images of each row; the inverse of `encode_boxes_2d`."""
    return _decode_lists(Boxes2d, BOX_2D_TYPE, column)


def _encode_lists(
    kind: type[TableT], row_type: pa.StructType, per_frame: Sequence[TableT | None]
) -> pa.ListArray:
    present = [boxes if boxes is not None else kind.empty() for boxes in per_frame]
    flat = kind.concatenate(present)
    columns = []
    for field in row_type:
        name, part = _PARTS.get(field.name, (field.name, None))
        values = getattr(flat, name) if part is None else getattr(flat, name)[:, part]
        columns.append(pa.array(values, type=field.type, from_pandas=True))
    offsets = np.concatenate([[0], np.cumsum([len(boxes) for boxes in present])])
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()),
        pa.StructArray.from_arrays(columns, fields=list(row_type)),
        type=pa.list_(row_type),
        mask=pa.array([boxes is None for boxes in per_frame], pa.bool_()),
    )


def _decode_lists(
    kind: type[TableT], row_type: pa.StructType, column: pa.ListArray
) -> list[TableT | None]:
    flat = _flat_boxes(kind, row_type, column.flatten())
    lengths = np.nan_to_num(column.value_lengths().to_numpy(zero_copy_only=False)).astype(np.int64)
    ends = np.cumsum(lengths)
    absent = column.is_null().to_numpy(zero_copy_only=False)
    return [
        None if is_absent else flat.select(slice(end - length, end))
        for end, length, is_absent in zip(ends, lengths, absent, strict=True)
    ]


def _flat_boxes(kind: type[TableT], row_type: pa.StructType, structs: pa.StructArray) -> TableT:
    columns: dict[str, list[NDArray[Any]]] = {}
    for field, array in zip(row_type, structs.flatten(), strict=True):
        name, _ = _PARTS.get(field.name, (field.name, None))
        columns.setdefault(name, []).append(array.to_numpy(zero_copy_only=False))
    given = {
        name: parts[0] if len(parts) == 1 else np.column_stack(parts)
        for name, parts in columns.items()
    }
    return kind.from_columns(len(structs), given)


def encode_frames(frames: Sequence[Frame], sensor_digests: Sequence[str]) -> pa.RecordBatch:
    """Return one row per frame in the layout of `schema.COLUMNS`."""
    lists = {
        "boxes": encode_boxes([frame.boxes for frame in frames]),
        "boxes_2d": encode_boxes_2d([frame.boxes_2d for frame in frames]),
    }
    rows = [_row(frame, digest) for frame, digest in zip(frames, sensor_digests, strict=True)]
    arrays = [
        lists[field.name]
        if field.name in lists
        else pa.array([row[field.name] for row in rows], type=field.type)
        for field in COLUMNS
    ]
    return pa.record_batch(arrays, schema=COLUMNS)


def _row(frame: Frame, sensor_digest: str) -> dict[str, Any]:
    lidar, camera = frame.lidar, frame.camera
    return {
        **frame.key._asdict(),
        "frame_id": frame.frame_id,
        "split": frame.split,
        "tags": list(frame.tags),
        "source": frame.source,
        "sensor_digest": sensor_digest,
        "content_digest": content_digest(frame, sensor_digest),
        "label_digest": label_digest(frame.boxes, frame.split),
        "global_from_ego": _flat(frame.global_from_ego),
        "lidar_sensor": None if lidar is None else _sensor_row(lidar.sensor),
        "lidar_num_points": None if lidar is None else len(lidar.points),
        LIDAR_BLOB: None if lidar is None else points_to_bytes(lidar.points),
        "camera_sensor": None if camera is None else _sensor_row(camera.sensor),
        "camera_width_px": None if camera is None else camera.width_px,
        "camera_height_px": None if camera is None else camera.height_px,
        "camera_ignore_regions_px": None if camera is None else _regions(camera),
        CAMERA_BLOB: None if camera is None else camera.encoded,
        "num_boxes": None if frame.boxes is None else len(frame.boxes),
        "label_2d_digest": label_2d_digest(frame.boxes_2d),
        "num_boxes_2d": None if frame.boxes_2d is None else len(frame.boxes_2d),
        "other_cameras": [_image_row(image) for image in frame.other_cameras],
        OTHER_CAMERAS_BLOB: b"".join(image.encoded for image in frame.other_cameras) or None,
    }


def _image_row(image: CameraImage) -> dict[str, Any]:
    return {
        "sensor": _sensor_row(image.sensor),
        "width_px": image.width_px,
        "height_px": image.height_px,
        "ignore_regions_px": _regions(image),
        "num_bytes": len(image.encoded),
    }


def _regions(image: CameraImage) -> list[list[float]]:
    return np.asarray(image.ignore_regions_px, dtype=np.float64).reshape(-1, 4).tolist()


def _sensor_row(sensor: CalibratedSensor) -> dict[str, Any]:
    matrix = sensor.camera_matrix
    return {
        "name": sensor.name,
        "ego_from_sensor": _flat(sensor.ego_from_sensor),
        "camera_matrix": None if matrix is None else _flat(matrix),
        "distortion": _flat(sensor.distortion),
    }


def _flat(matrix: NDArray[np.floating]) -> list[float]:
    return np.asarray(matrix, dtype=np.float64).ravel().tolist()


def points_to_bytes(points: NDArray[np.float32]) -> bytes:
    """Return the (N, 4) points as N x 4 little-endian float32."""
    return np.ascontiguousarray(points, dtype="<f4").tobytes()


def points_from_bytes(data: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return (N, 4) points that share the memory of the bytes; the inverse of the above."""
    return data.view("<f4").reshape(-1, 4)


def decode_frames(
    table: pa.Table, payloads: Mapping[str, Mapping[int, NDArray[np.uint8]]]
) -> Iterator[Frame]:
    """Yield a frame per row.

    Args:
        table: the columns `schema.FRAME_COLUMNS`.
        payloads: bytes by blob column and position in the table; absent ones stay empty.
    """
    table = table.combine_chunks()
    boxes = decode_boxes(_one_chunk(table["boxes"]))
    boxes_2d = decode_boxes_2d(_one_chunk(table["boxes_2d"]))
    rows = table.drop_columns(["boxes", "boxes_2d"]).to_pylist()
    for position, row in enumerate(rows):
        own = {name: payloads.get(name, {}).get(position, _NOTHING) for name in BLOBS}
        yield Frame(
            key=FrameKey(row["log"], row["scene"], row["timestamp_ns"]),
            frame_id=row["frame_id"],
            global_from_ego=np.array(row["global_from_ego"]).reshape(4, 4),
            lidar=_lidar(row, own[LIDAR_BLOB]),
            camera=_camera(row, own[CAMERA_BLOB]),
            boxes=boxes[position],
            tags=tuple(row["tags"]),
            split=row["split"],
            source=row["source"],
            other_cameras=_other_cameras(row["other_cameras"], own[OTHER_CAMERAS_BLOB]),
            boxes_2d=boxes_2d[position],
        )


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _lidar(row: Mapping[str, Any], payload: NDArray[np.uint8]) -> LidarSweep | None:
    if row["lidar_sensor"] is None:
        return None
    sensor = _sensor(row["lidar_sensor"], is_lidar=True)
    return LidarSweep(sensor=sensor, points=points_from_bytes(payload))


def _camera(row: Mapping[str, Any], payload: NDArray[np.uint8]) -> CameraImage | None:
    if row["camera_sensor"] is None:
        return None
    prefix = "camera_"
    described = {name.removeprefix(prefix): row[name] for name in row if name.startswith(prefix)}
    return _image(described, payload)


def _other_cameras(
    described: Sequence[Mapping[str, Any]], payload: NDArray[np.uint8]
) -> tuple[CameraImage, ...]:
    ends = np.cumsum([image["num_bytes"] for image in described], dtype=np.int64)
    return tuple(
        _image(image, payload[end - image["num_bytes"] : end])
        for image, end in zip(described, ends, strict=True)
    )


def _image(described: Mapping[str, Any], payload: NDArray[np.uint8]) -> CameraImage:
    return CameraImage(
        sensor=_sensor(described["sensor"], is_lidar=False),
        encoded=payload.tobytes(),
        width_px=described["width_px"],
        height_px=described["height_px"],
        ignore_regions_px=np.array(described["ignore_regions_px"], np.float64).reshape(-1, 4),
    )


def _sensor(values: Mapping[str, Any], *, is_lidar: bool) -> CalibratedSensor:
    matrix = values["camera_matrix"]
    return CalibratedSensor(
        name=values["name"],
        modality="lidar" if is_lidar else "camera",
        ego_from_sensor=np.array(values["ego_from_sensor"]).reshape(4, 4),
        camera_matrix=None if matrix is None else np.array(matrix).reshape(3, 3),
        distortion=np.array(values["distortion"], dtype=np.float64),
    )


def label_digest(boxes: Boxes | None, split: str) -> str:
    """Return a SHA-256 over the labels in space and the split of a frame."""
    whole = hashlib.sha256(split.encode() + b"\0")
    if boxes is not None:
        _add_boxes(whole, boxes)
    return whole.hexdigest()


def label_2d_digest(boxes_2d: Boxes2d | None) -> str:
    """Return a SHA-256 over the labels in images, "" where there are none."""
    if boxes_2d is None:
        return ""
    whole = hashlib.sha256()
    _add_boxes(whole, boxes_2d)
    return whole.hexdigest()


def _add_boxes(whole: "hashlib._Hash", boxes: BoxTable) -> None:
    whole.update(f"{len(boxes)}\0".encode())
    for name in boxes.columns:
        values = getattr(boxes, name)
        if values.dtype == object:
            whole.update("\0".join(values).encode() + b"\0\0")
        else:
            whole.update(_canonical(values))


def content_digest(frame: Frame, sensor_digest: str) -> str:
    """Return a SHA-256 over all of a frame but its labels, its split and where it came from."""
    key = frame.key
    head = (key.log, key.scene, str(key.timestamp_ns), frame.frame_id, sensor_digest, "")
    whole = hashlib.sha256("\0".join(head).encode())
    whole.update("\0".join(frame.tags).encode() + b"\0")
    whole.update(_canonical(frame.global_from_ego))
    for sensor in (frame.lidar, frame.camera, *frame.other_cameras):
        whole.update(b"-" if sensor is None else _sensor_content(sensor.sensor))
    for image in frame.cameras:
        whole.update(f"{image.width_px} {image.height_px}\0".encode())
        whole.update(_canonical(image.ignore_regions_px))
    return whole.hexdigest()


def _sensor_content(sensor: CalibratedSensor) -> bytes:
    matrix = b"-" if sensor.camera_matrix is None else _canonical(sensor.camera_matrix)
    lens = _canonical(sensor.distortion)
    return sensor.name.encode() + b"\0" + _canonical(sensor.ego_from_sensor) + matrix + lens


def _canonical(values: NDArray[Any]) -> bytes:
    """Return bytes that equal numbers share: one NaN, one zero, little endian."""
    if values.dtype.kind in "iu":
        return values.astype("<i8").tobytes()
    numbers = values.astype("<f8") + 0.0
    numbers[np.isnan(numbers)] = np.nan
    return numbers.tobytes()
