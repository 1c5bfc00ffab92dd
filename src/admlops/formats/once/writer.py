"""Writes scenes as ONCE sequences.

The format has no place for tracks, velocities, scores, occlusion and truncation, nor for labels in
images that belong to no box in space. Times are kept to the millisecond, reflectivity as 0 to 255.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from admlops.errors import DataError
from admlops.files import write_atomically
from admlops.formats.once.sequence import CAMERAS, EGO_FROM_LIDAR, OBJECT, YAW_OF_LIDAR_RAD
from admlops.formats.once.source import FRONT, MAX_REFLECTIVITY, NS_PER_MS
from admlops.geometry.pose import invert, quaternion_from_rotation, transform_cloud, wrap_angle
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import CalibratedSensor, Frame

_LISTS = {"train": "train", "val": "val", "test": "test", "pool": "raw"}


def write_sequences(root: Path, scenes: Iterable[Iterable[Frame]]) -> int:
    """Write each scene as the next sequence below `root`; return the number of frames.

    A sequence's file comes last: until it is there the sequence is not whole. Categories are
    written with a capital, as ONCE does.

    Raises:
        DataError: a frame has no lidar sweep, two have one millisecond, or cameras do not fit.
    """
    lists: dict[str, list[str]] = {}
    num_frames = 0
    for number, scene in enumerate(scenes):
        frames = list(scene)
        name = f"{number:06d}"
        _write_sequence(root / "data" / name, frames)
        if frames and frames[0].split in _LISTS:
            lists.setdefault(_LISTS[frames[0].split], []).append(f"{name}\n")
        num_frames += len(frames)
    for split, names in lists.items():
        write_atomically(root / "ImageSets" / f"{split}.txt", "".join(names))
    return num_frames


def _write_sequence(folder: Path, frames: list[Frame]) -> None:
    cameras = _cameras_of(frames)
    lidar_from_ego = invert(EGO_FROM_LIDAR)
    rows: list[dict[str, Any]] = []
    for frame in frames:
        if frame.lidar is None:
            raise DataError(f"frame {frame.key} has no lidar sweep; ONCE needs one")
        name = str(frame.key.timestamp_ns // NS_PER_MS)
        if rows and rows[-1]["frame_id"] == name:
            raise DataError(f"frame {frame.key} has the millisecond of the one before it")
        points = transform_cloud(
            lidar_from_ego @ frame.lidar.sensor.ego_from_sensor, frame.lidar.points
        )
        points[:, 3] *= MAX_REFLECTIVITY
        write_atomically(folder / "lidar_roof" / f"{name}.bin", points.astype("<f4").tobytes())
        for image in frame.cameras:
            if image.encoded:
                file = folder / cameras[image.sensor.name][0] / f"{name}.jpg"
                write_atomically(file, image.encoded)
        pose = frame.global_from_ego @ EGO_FROM_LIDAR
        w, x, y, z = quaternion_from_rotation(pose[:3, :3])
        row: dict[str, Any] = {"frame_id": name, "pose": [x, y, z, w, *pose[:3, 3]]}
        if frame.boxes is not None:
            own = {ours: name for name, ours in CAMERAS.items()} | {"": FRONT}
            own |= {ours: name for ours, (name, _) in cameras.items()}
            row["annos"] = _annotations(frame.boxes, frame.boxes_2d, own)
        rows.append(row)
    calibration = {name: _calibration(sensor) for name, sensor in cameras.values()}
    content = {"meta_info": _conditions(frames), "calib": calibration, "frames": rows}
    text = json.dumps(content, default=float)
    write_atomically(folder / f"{folder.name}.json", text)


def _cameras_of(frames: list[Frame]) -> dict[str, tuple[str, CalibratedSensor]]:
    """Return ONCE's name and the calibration of each camera by our name."""
    known = {ours: name for name, ours in CAMERAS.items()}
    cameras: dict[str, tuple[str, CalibratedSensor]] = {}
    sensors: dict[str, CalibratedSensor] = {}
    for frame in frames:
        if frame.camera is not None:
            cameras.setdefault(frame.camera.sensor.name, (FRONT, frame.camera.sensor))
        for image in frame.cameras:
            sensors.setdefault(image.sensor.name, image.sensor)
    for ours, sensor in sensors.items():
        taken = {name for name, _ in cameras.values()}
        free = [name for name in (known.get(ours, ""), *CAMERAS) if name and name not in taken]
        if ours not in cameras and not free:
            raise DataError(f"camera {ours}: ONCE has a place for {len(CAMERAS)} cameras")
        if ours not in cameras:
            cameras[ours] = (free[0], sensor)
    if len({name for name, _ in cameras.values()}) < len(cameras):
        raise DataError("the front camera is not the same in all frames of a scene")
    return cameras


def _calibration(sensor: CalibratedSensor) -> dict[str, Any]:
    matrix = np.eye(3) if sensor.camera_matrix is None else sensor.camera_matrix
    return {
        "cam_to_velo": (invert(EGO_FROM_LIDAR) @ sensor.ego_from_sensor).tolist(),
        "cam_intrinsic": matrix.tolist(),
        "distortion": sensor.distortion.tolist(),
    }


def _annotations(boxes: Boxes, boxes_2d: Boxes2d | None, cameras: dict[str, str]) -> dict[str, Any]:
    lidar_from_ego = invert(EGO_FROM_LIDAR)
    center = boxes.center_m @ lidar_from_ego[:3, :3].T + lidar_from_ego[:3, 3]
    yaw = wrap_angle(boxes.yaw_rad - YAW_OF_LIDAR_RAD)
    corners = {name: np.full((len(boxes), 4), -1.0) for name in CAMERAS}
    is_seen = ~np.isnan(boxes.box2d_px).any(axis=1)
    corners[FRONT][is_seen] = boxes.box2d_px[is_seen]
    if boxes_2d is not None:
        _place(boxes, boxes_2d, cameras, corners)
    return {
        "names": [str(name).capitalize() for name in boxes.category],
        "boxes_3d": np.column_stack([center, boxes.size_m, yaw]).reshape(-1, 7).tolist(),
        "boxes_2d": {name: rows.tolist() for name, rows in corners.items()},
    }


def _place(
    boxes: Boxes,
    boxes_2d: Boxes2d,
    cameras: dict[str, str],
    corners: dict[str, NDArray[np.float64]],
) -> None:
    """Write boxes in images into the rows of their objects."""
    row_of = {_object(text): row for row, text in enumerate(boxes.attributes)}
    row_of.pop(None, None)
    for index, text in enumerate(boxes_2d.attributes):
        name = cameras.get(str(boxes_2d.camera[index]))
        row = row_of.get(_object(text))
        if name is not None and row is not None:
            corners[name][row] = boxes_2d.box2d_px[index]


def _object(attributes: str) -> int | None:
    number = json.loads(attributes).get(OBJECT) if attributes else None
    return number if isinstance(number, int) else None


def _conditions(frames: list[Frame]) -> dict[str, str]:
    tags = dict(tag.split(":", 1) for frame in frames[:1] for tag in frame.tags if ":" in tag)
    named = {"weather": tags.get("weather"), "period": tags.get("time")}
    return {name: text for name, text in named.items() if text}
