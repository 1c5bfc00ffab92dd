"""Writes logs in Argoverse 2's layout.

The format keeps points as half floats (3 cm at 50 m) and intensity as a byte. Velocities,
occlusion, truncation, 2D boxes and attributes have no place in it.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from admlops.errors import DataError
from admlops.files import write_atomically
from admlops.formats.argoverse2.tables import POSE, SIZE, write_table
from admlops.geometry.pose import quaternion_from_rotation, rotation_about_z, transform_cloud
from admlops.structures.boxes import Boxes
from admlops.structures.frame import CameraImage, Frame

_CALIBRATION = "calibration"


def write_log(folder: Path, frames: Iterable[Frame]) -> int:
    """Write the frames of one drive as a log; return their number.

    Boxes come last: until they are there a log of annotated frames is not whole. Categories are
    written in upper case.

    Raises:
        DataError: a frame has no lidar sweep, or the sensors of two frames differ.
    """
    poses: list[tuple[int, NDArray[np.float64]]] = []
    labels: list[tuple[int, Boxes]] = []
    cameras: dict[str, CameraImage] = {}
    for frame in frames:
        if frame.lidar is None:
            raise DataError(f"frame {frame.key} has no lidar sweep; Argoverse 2 needs one")
        time_ns = frame.key.timestamp_ns
        points = transform_cloud(frame.lidar.sensor.ego_from_sensor, frame.lidar.points)
        write_atomically(folder / "sensors" / "lidar" / f"{time_ns}.feather", _sweep(points))
        for image in frame.cameras:
            cameras.setdefault(image.sensor.name, image)
            name = f"{time_ns}.jpg"
            if image.encoded:
                write_atomically(
                    folder / "sensors" / "cameras" / image.sensor.name / name, image.encoded
                )
        poses.append((time_ns, frame.global_from_ego))
        if frame.boxes is not None:
            labels.append((time_ns, frame.boxes))
    _write_calibration(folder / _CALIBRATION, list(cameras.values()))
    times = np.array([time_ns for time_ns, _ in poses], dtype=np.int64)
    columns = {"timestamp_ns": times, **_pose_columns([pose for _, pose in poses])}
    write_atomically(folder / "city_SE3_egovehicle.feather", write_table(columns))
    if labels:
        write_atomically(folder / "annotations.feather", _annotations(labels))
    return len(poses)


def _sweep(points: NDArray[np.float32]) -> bytes:
    columns: dict[str, NDArray[Any]] = {
        name: points[:, axis].astype(np.float16) for axis, name in enumerate("xyz")
    }
    columns["intensity"] = np.clip(np.round(points[:, 3] * 255.0), 0, 255).astype(np.uint8)
    columns["laser_number"] = np.zeros(len(points), dtype=np.uint8)
    columns["offset_ns"] = np.zeros(len(points), dtype=np.int32)
    return write_table(columns)


def _write_calibration(folder: Path, images: list[CameraImage]) -> None:
    sensors = [image.sensor for image in images]
    names = np.array([sensor.name for sensor in sensors], dtype=object)
    places = _pose_columns([sensor.ego_from_sensor for sensor in sensors])
    write_atomically(
        folder / "egovehicle_SE3_sensor.feather", write_table({"sensor_name": names, **places})
    )
    matrices = np.array(
        [np.eye(3) if s.camera_matrix is None else s.camera_matrix for s in sensors]
    ).reshape(-1, 3, 3)
    lens = np.zeros((len(sensors), 5))
    for row, sensor in enumerate(sensors):
        known = sensor.distortion[:5]
        lens[row, : len(known)] = known
    columns = {
        "fx_px": matrices[:, 0, 0],
        "fy_px": matrices[:, 1, 1],
        "cx_px": matrices[:, 0, 2],
        "cy_px": matrices[:, 1, 2],
        "k1": lens[:, 0],
        "k2": lens[:, 1],
        "k3": lens[:, 4],
        "height_px": np.array([image.height_px for image in images], dtype=np.uint16),
        "width_px": np.array([image.width_px for image in images], dtype=np.uint16),
    }
    write_atomically(folder / "intrinsics.feather", write_table({"sensor_name": names, **columns}))


def _annotations(labels: list[tuple[int, Boxes]]) -> bytes:
    boxes = Boxes.concatenate([own for _, own in labels])
    times = np.repeat([time_ns for time_ns, _ in labels], [len(own) for _, own in labels])
    turns = [np.eye(4) for _ in range(len(boxes))]
    for turn, yaw_rad, center_m in zip(turns, boxes.yaw_rad, boxes.center_m, strict=True):
        turn[:3, :3], turn[:3, 3] = rotation_about_z(float(yaw_rad)), center_m
    columns = {
        "timestamp_ns": times.astype(np.int64),
        "track_uuid": boxes.track_id,
        "category": np.array([str(name).upper() for name in boxes.category], dtype=object),
        **{name: boxes.size_m[:, axis] for axis, name in enumerate(SIZE)},
        **_pose_columns(turns),
        "num_interior_pts": boxes.num_points,
    }
    return write_table(columns)


def _pose_columns(transforms: list[NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    rows = np.array(
        [[*quaternion_from_rotation(item[:3, :3]), *item[:3, 3]] for item in transforms]
    ).reshape(-1, 7)
    return {name: rows[:, column].copy() for column, name in enumerate(POSE)}
