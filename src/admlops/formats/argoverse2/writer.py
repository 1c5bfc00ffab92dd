"""Writes logs in Argoverse 2's layout.

The format keeps points as half floats (3 cm at 50 m) and intensity as a byte. Velocities,
occlusion, truncation, 2D boxes and attributes have no place in it, nor has a lens: its images are
rectified. A camera stands where it does in the first frame that has it.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from admlops.errors import DataError
from admlops.files import write_atomically
from admlops.formats.argoverse2.log import EGO_FROM_VEHICLE, FRONT
from admlops.formats.argoverse2.tables import POSE, SIZE, write_table
from admlops.geometry.pose import (
    invert,
    quaternion_from_rotation,
    rotation_about_z,
    transform_cloud,
)
from admlops.structures.boxes import Boxes
from admlops.structures.frame import CameraImage, Frame

_CALIBRATION = "calibration"
_VEHICLE_FROM_EGO = invert(EGO_FROM_VEHICLE)


def write_log(folder: Path, frames: Iterable[Frame]) -> int:
    """Write the frames of one drive as a log; return their number.

    Boxes come last: until they are there a log of annotated frames is not whole. Categories are
    written in upper case.

    Raises:
        DataError: a frame has no lidar sweep, or an image that is not rectified.
    """
    poses: list[tuple[int, NDArray[np.float64]]] = []
    labels: list[tuple[int, Boxes]] = []
    cameras: dict[str, CameraImage] = {}
    for frame in frames:
        if frame.lidar is None:
            raise DataError(f"frame {frame.key} has no lidar sweep; Argoverse 2 needs one")
        time_ns = frame.key.timestamp_ns
        vehicle_from_lidar = _VEHICLE_FROM_EGO @ frame.lidar.sensor.ego_from_sensor
        points = transform_cloud(vehicle_from_lidar, frame.lidar.points)
        write_atomically(folder / "sensors" / "lidar" / f"{time_ns}.feather", _sweep(points))
        for image in frame.cameras:
            camera = FRONT if image is frame.camera else image.sensor.name
            cameras.setdefault(camera, image)
            if image.encoded:
                file = folder / "sensors" / "cameras" / camera / f"{time_ns}.jpg"
                write_atomically(file, image.encoded)
        poses.append((time_ns, frame.global_from_ego @ EGO_FROM_VEHICLE))
        if frame.boxes is not None:
            labels.append((time_ns, frame.boxes))
    _write_calibration(folder / _CALIBRATION, cameras)
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


def _write_calibration(folder: Path, cameras: dict[str, CameraImage]) -> None:
    images = list(cameras.values())
    sensors = [image.sensor for image in images]
    names = np.array(list(cameras), dtype=object)
    for sensor in sensors:
        if sensor.distortion.any():
            raise DataError(
                f"camera {sensor.name}: Argoverse 2 holds rectified images; rectify them or leave "
                "them out"
            )
    places = _pose_columns([_VEHICLE_FROM_EGO @ sensor.ego_from_sensor for sensor in sensors])
    write_atomically(
        folder / "egovehicle_SE3_sensor.feather", write_table({"sensor_name": names, **places})
    )
    matrices = np.array(
        [np.eye(3) if s.camera_matrix is None else s.camera_matrix for s in sensors]
    ).reshape(-1, 3, 3)
    columns = {
        "fx_px": matrices[:, 0, 0],
        "fy_px": matrices[:, 1, 1],
        "cx_px": matrices[:, 0, 2],
        "cy_px": matrices[:, 1, 2],
        **{name: np.zeros(len(sensors)) for name in ("k1", "k2", "k3")},
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
        turn[:] = _VEHICLE_FROM_EGO @ turn
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
