"""Writes frames' labels, calibration and poses as ASAM OpenLABEL 1.0 JSON."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from admlops.errors import DataError
from admlops.files import write_atomically
from admlops.formats.box_details import TRACK, Details, details_of
from admlops.formats.openlabel.layout import (
    BBOX_NAME,
    CORNERS,
    CUBOID_NAME,
    EGO,
    EXTENSION,
    INDEX,
    MIN_DISTORTION,
    SCHEMA_VERSION,
    WORLD,
)
from admlops.structures.box_table import BoxTable
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import CalibratedSensor, CameraImage, Frame

Json = dict[str, Any]


def write_openlabel(
    path: Path,
    frames: Iterable[Frame],
    name: str = "",
    uris: Mapping[tuple[int, str], str] | None = None,
) -> int:
    """Write frames into one file, numbered from 0, and return how many.

    Cuboids have nine numbers, since a yaw is exact as an Euler angle and not as a quaternion.

    Args:
        path: the file.
        frames: their labels, sensors and poses are written; points and images are not.
        name: of the whole, for people.
        uris: where the data of a frame's sensor is, by frame number and sensor name.

    Raises:
        DataError: a box has a number that is not finite.
    """
    document = _Document(uris or {})
    for number, frame in enumerate(frames):
        document.add(number, frame)
    content = json.dumps({"openlabel": document.to_json(name)}, allow_nan=False, indent=1)
    write_atomically(path, content + "\n")
    return len(document.frames)


@dataclass
class _Document:
    """The file as it grows."""

    uris: Mapping[tuple[int, str], str]
    frames: Json = field(default_factory=dict)
    objects: Json = field(default_factory=dict)
    streams: Json = field(default_factory=dict)
    systems: Json = field(default_factory=dict)
    uids: dict[tuple[str, str, int], str] = field(default_factory=dict)
    spans: dict[str, list[int]] = field(default_factory=dict)

    def add(self, number: int, frame: Frame) -> None:
        seen: Json = {}
        used: set[str] = set()
        if frame.boxes is not None:
            self._add_table(number, frame.boxes, seen, used)
        if frame.boxes_2d is not None:
            self._add_table(number, frame.boxes_2d, seen, set())
        self.frames[str(number)] = {
            "objects": seen,
            "frame_properties": self._properties(number, frame),
        }

    def to_json(self, name: str) -> Json:
        children = [system for system in self.systems if system != EGO]
        roots: Json = {
            WORLD: {"type": "scene_cs", "parent": "", "children": [EGO]},
            EGO: {"type": "local_cs", "parent": WORLD, "children": children},
        }
        for uid, numbers in self.spans.items():
            self.objects[uid]["frame_intervals"] = _intervals(numbers)
        return {
            "metadata": {"schema_version": SCHEMA_VERSION, "name": name, "annotator": EXTENSION},
            "coordinate_systems": roots | self.systems,
            "streams": self.streams,
            "objects": self.objects,
            "frames": self.frames,
            "frame_intervals": _intervals([int(number) for number in self.frames]),
        }

    def _add_table(self, number: int, table: BoxTable, seen: Json, used: set[str]) -> None:
        for row in range(len(table)):
            kind, shape = _shape(table, row, number)
            details = details_of(table, row)
            if details:
                shape["attributes"] = encode_details(details)
            uid = self._uid(table, row, used)
            spans = self.spans.setdefault(uid, [])
            if number not in spans[-1:]:
                spans.append(number)
            data = seen.setdefault(uid, {"object_data": {}})["object_data"]
            data.setdefault(kind, []).append(shape)

    def _uid(self, table: BoxTable, row: int, used: set[str]) -> str:
        """Return the object of a box: of a track, the same in every frame, but once in each."""
        track = str(table.track_id[row])
        category = str(table.category[row])
        place = 0
        uid = self.uids.get((track, category, place)) if track else None
        while uid in used:
            place += 1
            uid = self.uids.get((track, category, place))
        if uid is None:
            uid = str(len(self.objects))
            if track:
                self.uids[track, category, place] = uid
            self.objects[uid] = {
                "name": track or f"{category or 'object'}-{uid}",
                "type": category,
                "object_data": {"text": [{"name": TRACK, "val": track}]},
            }
        used.add(uid)
        return uid

    def _properties(self, number: int, frame: Frame) -> Json:
        sensors: list[tuple[CalibratedSensor, CameraImage | None]] = []
        if frame.lidar is not None:
            sensors.append((frame.lidar.sensor, None))
        sensors += [(image.sensor, image) for image in frame.cameras]
        transforms: Json = {
            f"{EGO}_to_{WORLD}": _transform(EGO, WORLD, frame.global_from_ego),
        }
        streams: Json = {}
        for sensor, image in sensors:
            own, pose = _stream(sensor, image), _matrix(sensor.ego_from_sensor)
            system = {"type": "sensor_cs", "parent": EGO, "children": [], "pose_wrt_parent": pose}
            streams[sensor.name] = {}
            if self.streams.setdefault(sensor.name, own) != own:
                streams[sensor.name] = dict(own)
            if self.systems.setdefault(sensor.name, system) != system:
                moved = _transform(sensor.name, EGO, sensor.ego_from_sensor)
                transforms[f"{sensor.name}_to_{EGO}"] = moved
            if (number, sensor.name) in self.uris:
                streams[sensor.name]["uri"] = self.uris[number, sensor.name]
        nanoseconds = frame.key.timestamp_ns
        seconds = f"{abs(nanoseconds) // 10**9}.{abs(nanoseconds) % 10**9:09d}"
        return {
            "timestamp": f"-{seconds}" if nanoseconds < 0 else seconds,
            "streams": streams,
            "transforms": transforms,
            EXTENSION: _extension(frame),
        }


def encode_details(details: Details) -> Json:
    """Return details as the four kinds of attributes that OpenLABEL knows."""
    groups: Json = {}
    for name, value in details.items():
        if isinstance(value, bool):
            kind = "boolean"
        elif isinstance(value, str):
            kind = "text"
        else:
            kind = "vec" if isinstance(value, list) else "num"
        groups.setdefault(kind, []).append({"name": name, "val": value})
    return groups


def _shape(table: BoxTable, row: int, number: int) -> tuple[str, Json]:
    if isinstance(table, Boxes):
        values = [*table.center_m[row], 0.0, 0.0, table.yaw_rad[row], *table.size_m[row]]
        shape: Json = {"name": CUBOID_NAME, "val": [float(value) for value in values]}
        shape |= {"coordinate_system": EGO, INDEX: row}
        numbers = shape["val"]
    else:
        assert isinstance(table, Boxes2d)  # noqa: S101 - there are two tables
        left, top, right, bottom = numbers = table.box2d_px[row].tolist()
        shape = {"name": BBOX_NAME}
        shape["val"] = [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
        shape |= {"coordinate_system": str(table.camera[row]), CORNERS: numbers, INDEX: row}
    if not np.isfinite([*numbers, *shape["val"]]).all():
        raise DataError(f"frame {number}: box {row} is {numbers}; it cannot be written")
    return ("cuboid" if isinstance(table, Boxes) else "bbox"), shape


def _stream(sensor: CalibratedSensor, image: CameraImage | None) -> Json:
    stream: Json = {"type": sensor.modality}
    if image is None:
        return stream
    pinhole: Json = {"width_px": image.width_px, "height_px": image.height_px}
    if sensor.camera_matrix is not None:
        pinhole["camera_matrix"] = np.column_stack([sensor.camera_matrix, np.zeros(3)]).ravel()
        pinhole["camera_matrix"] = pinhole["camera_matrix"].tolist()
    if len(sensor.distortion):
        padding = [0.0] * (MIN_DISTORTION - len(sensor.distortion))
        pinhole["distortion_coeffs"] = sensor.distortion.tolist() + padding
        pinhole["num_distortion_coeffs"] = len(sensor.distortion)
    return stream | {"stream_properties": {"intrinsics_pinhole": pinhole}}


def _extension(frame: Frame) -> Json:
    regions = {
        image.sensor.name: np.asarray(image.ignore_regions_px).tolist()
        for image in frame.cameras
        if len(image.ignore_regions_px)
    }
    return {
        "log": frame.key.log,
        "scene": frame.key.scene,
        "frame_id": frame.frame_id,
        "front_camera": "" if frame.camera is None else frame.camera.sensor.name,
        "has_boxes": frame.boxes is not None,
        "has_boxes_2d": frame.boxes_2d is not None,
        "ignore_regions_px": regions,
        "tags": list(frame.tags),
        "split": frame.split,
        "source": frame.source,
    }


def _matrix(transform: NDArray[np.float64]) -> Json:
    return {"matrix4x4": np.asarray(transform, dtype=np.float64).ravel().tolist()}


def _transform(source: str, target: str, target_from_source: NDArray[np.float64]) -> Json:
    return {"src": source, "dst": target, "transform_src_to_dst": _matrix(target_from_source)}


def _intervals(numbers: Sequence[int]) -> list[dict[str, int]]:
    """Return the runs of consecutive numbers in a rising sequence."""
    runs: list[dict[str, int]] = []
    for number in numbers:
        if runs and runs[-1]["frame_end"] == number - 1:
            runs[-1]["frame_end"] = number
        else:
            runs.append({"frame_start": number, "frame_end": number})
    return runs
