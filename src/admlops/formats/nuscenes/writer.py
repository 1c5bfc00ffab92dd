"""Writes scenes as a version of nuScenes that its development kit loads.

Times are cut to microseconds, intensity is written in 255 steps' scale, the ring number as 0. Boxes
of categories that nuScenes does not have keep their own name. 2D boxes, occlusion and truncation
have no place in the format. Numbers of points that are not known are counted, an unknown visibility
stays empty. Maps are an empty list of files.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from admlops.errors import DataError
from admlops.files import write_atomically
from admlops.formats.nuscenes.source import (
    ATTRIBUTES,
    FRONT,
    RADAR,
    VISIBILITY,
    category_named,
    original_category,
)
from admlops.formats.nuscenes.splits import SPLITS_FILE
from admlops.geometry.boxes import count_points_in_boxes
from admlops.geometry.pose import quaternion_from_rotation, rotation_about_z
from admlops.structures.boxes import NUM_POINTS_UNKNOWN, Boxes
from admlops.structures.frame import CalibratedSensor, Frame, FrameKey

_LEVELS = ("v0-40", "v40-60", "v60-80", "v80-100")
_TABLES = (
    "attribute calibrated_sensor category ego_pose instance log map sample sample_annotation "
    "sample_data scene sensor visibility"
)


def write_version(root: Path, scenes: Iterable[Iterable[Frame]], version: str = "v1.0-mini") -> int:
    """Write scenes, each in order of time, below `root`; return the number of sweeps.

    Frames with boxes become key frames. The tables come last: until they are there the folder
    holds no version.

    Raises:
        DataError: a frame has no lidar sweep, a scene has no key frame, or its frames are of
            several scenes.
    """
    tables = _Tables()
    num_sweeps = sum(_SceneWriter(root, tables, list(scene)).write() for scene in scenes)
    for name in _TABLES.split():
        rows = json.dumps(tables.rows.get(name, []), indent=0)
        write_atomically(root / version / f"{name}.json", rows + "\n")
    write_atomically(root / version / SPLITS_FILE, json.dumps(tables.splits, indent=0) + "\n")
    return num_sweeps


@dataclass
class _Tables:
    """Rows so far; what is the same is written once."""

    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    splits: dict[str, list[str]] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)
    _scenes: dict[str, tuple[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number, level in enumerate(_LEVELS, start=1):
            row = {"token": str(number), "level": level, "description": f"{level[1:]} % visible"}
            self.rows.setdefault("visibility", []).append(row)

    def name_scene(self, key: FrameKey) -> str:
        """Return a scene's name: its own, or with its log where another log has one of that name.

        Raises:
            DataError: the scene was written before.
        """
        name = key.scene if key.scene not in self._scenes else f"{key.log}-{key.scene}"
        own = (key.log, key.scene)
        if name in self._scenes or own in self._scenes.values():
            raise DataError(f"scene {key.scene!r} of log {key.log!r} is given twice")
        self._scenes[name] = own
        return name

    def add(self, table: str, name: str, row: Mapping[str, Any]) -> str:
        """Add a row, unless it is there, and return its token, which follows from its name."""
        token = hashlib.md5(f"{table}/{name}".encode(), usedforsecurity=False).hexdigest()
        if token not in self._seen:
            self._seen.add(token)
            self.rows.setdefault(table, []).append({"token": token, **row})
        return token


class _SceneWriter:
    """Writes one scene: its files at once, its rows into the tables."""

    def __init__(self, root: Path, tables: _Tables, frames: list[Frame]) -> None:
        self.root, self.tables, self.frames = root, tables, frames
        if not any(frame.boxes is not None for frame in frames):
            raise DataError(f"scene {frames[0].key.scene if frames else ''!r}: no key frame")
        first = frames[0]
        _require_one_scene(frames)
        self.name = tables.name_scene(first.key)
        location = next((t[9:] for t in first.tags if t.startswith("location:")), "unknown")
        log_row = {
            "logfile": first.key.log,
            "vehicle": "",
            "date_captured": "",
            "location": location,
        }
        self.log = tables.add("log", first.key.log, log_row)
        tables.add(
            "map",
            location,
            {"log_tokens": [self.log], "category": "semantic_prior", "filename": ""},
        )

    def write(self) -> int:
        """Write the scene and return the number of its sweeps."""
        keyframes = [frame for frame in self.frames if frame.boxes is not None]
        tokens = [self._token("sample", frame) for frame in keyframes]
        scene_row = {
            "log_token": self.log,
            "name": self.name,
            "description": ", ".join(tag for tag in self.frames[0].tags if ":" not in tag),
            "nbr_samples": len(keyframes),
            "first_sample_token": tokens[0],
            "last_sample_token": tokens[-1],
        }
        scene = self.tables.add("scene", self.name, scene_row)
        for number, frame in enumerate(keyframes):
            row = {
                "timestamp": frame.key.timestamp_ns // 1000,
                "scene_token": scene,
                "prev": tokens[number - 1] if number else "",
                "next": tokens[number + 1] if number + 1 < len(tokens) else "",
            }
            self.tables.add("sample", self._name(frame), row)
        self._write_sensor_data(keyframes, tokens)
        self._write_annotations(keyframes, tokens)
        if self.frames[0].split:
            self.tables.splits.setdefault(self.frames[0].split, []).append(self.name)
        return len(self.frames)

    def _name(self, frame: Frame) -> str:
        return f"{self.name}/{frame.key.timestamp_ns // 1000}"

    def _token(self, table: str, frame: Frame) -> str:
        text = f"{table}/{self._name(frame)}".encode()
        return hashlib.md5(text, usedforsecurity=False).hexdigest()

    def _write_sensor_data(self, keyframes: list[Frame], tokens: list[str]) -> None:
        times = [frame.key.timestamp_ns for frame in keyframes]
        chains: dict[str, list[dict[str, Any]]] = {}
        for frame in self.frames:
            # a sweep belongs to the next key frame, the last ones to the last
            place = min(int(np.searchsorted(times, frame.key.timestamp_ns)), len(times) - 1)
            for channel, row in self._data_rows(frame, tokens[place]):
                chains.setdefault(channel, []).append(row)
        for rows in chains.values():
            _link(rows)

    def _data_rows(self, frame: Frame, sample: str) -> list[tuple[str, dict[str, Any]]]:
        """Write a frame's files and return its rows of the table sample_data by channel."""
        if frame.lidar is None:
            raise DataError(f"frame {frame.key} has no lidar sweep; nuScenes needs one")
        is_key = frame.boxes is not None
        time_us = frame.key.timestamp_ns // 1000
        pose = _pose_row(frame.global_from_ego)
        ego = self.tables.add("ego_pose", self._name(frame), {"timestamp": time_us, **pose})
        common = {
            "sample_token": sample,
            "ego_pose_token": ego,
            "timestamp": time_us,
            "is_key_frame": is_key,
        }
        folder = "samples" if is_key else "sweeps"
        name = f"{folder}/LIDAR_TOP/{self.name}__LIDAR_TOP__{time_us}.pcd.bin"
        _write(self.root / name, _cloud(frame.lidar.points))
        row = {"fileformat": "pcd", "filename": name, "height": 0, "width": 0}
        rows = [("LIDAR_TOP", self._data_row(frame, frame.lidar.sensor, "LIDAR_TOP", common | row))]
        for image in frame.cameras if is_key else ():
            channel = _channel(image.sensor.name)
            name = f"samples/{channel}/{self.name}__{channel}__{time_us}.jpg"
            if image.encoded:
                _write(self.root / name, image.encoded)
            row = {
                "fileformat": "jpg",
                "filename": name,
                "height": image.height_px,
                "width": image.width_px,
            }
            rows.append((channel, self._data_row(frame, image.sensor, channel, common | row)))
        return rows

    def _data_row(
        self, frame: Frame, sensor: CalibratedSensor, channel: str, row: dict[str, Any]
    ) -> dict[str, Any]:
        matrix = sensor.camera_matrix
        place = {
            "sensor_token": self.tables.add(
                "sensor", channel, {"channel": channel, "modality": sensor.modality}
            ),
            **_pose_row(sensor.ego_from_sensor),
            "camera_intrinsic": [] if matrix is None else matrix.tolist(),
        }
        calibrated = self.tables.add("calibrated_sensor", f"{channel}/{json.dumps(place)}", place)
        name = f"{self._name(frame)}/{channel}"
        self.tables.add("sample_data", name, {"calibrated_sensor_token": calibrated, **row})
        return self.tables.rows["sample_data"][-1]

    def _write_annotations(self, keyframes: list[Frame], tokens: list[str]) -> None:
        """Write the boxes; an instance has one category, so a track of two becomes two."""
        tracks: dict[str, list[dict[str, Any]]] = {}
        categories: dict[str, str] = {}
        names: dict[str, str] = {}
        for keyframe, sample in zip(keyframes, tokens, strict=True):
            frame = _counted(keyframe)
            boxes = Boxes.empty() if frame.boxes is None else frame.boxes
            for number, track_id in enumerate(boxes.track_id.tolist()):
                own = f"{self.name}/{track_id}" if track_id else f"{self._name(frame)}/{number}"
                category = str(boxes.category[number])
                if categories.setdefault(own, category) != category:
                    own = f"{own}/{category}"
                    categories[own] = category
                if name := original_category(str(boxes.attributes[number])):
                    names.setdefault(own, name)
                annotation = self._annotation(frame, number, own, sample)
                tracks.setdefault(own, []).append(annotation)
        for track, rows in tracks.items():
            _link(rows)
            name = names.get(track) or category_named(categories[track])
            row = {"name": name, "description": ""}
            instance = {
                "category_token": self.tables.add("category", name, row),
                "nbr_annotations": len(rows),
                "first_annotation_token": rows[0]["token"],
                "last_annotation_token": rows[-1]["token"],
            }
            self.tables.add("instance", track, instance)

    def _annotation(self, frame: Frame, row: int, track: str, sample: str) -> dict[str, Any]:
        boxes = frame.boxes
        if boxes is None:
            raise ValueError("a frame without boxes has no annotation")
        text = str(boxes.attributes[row])
        details = json.loads(text) if text else {}
        turn = frame.global_from_ego[:3, :3] @ rotation_about_z(float(boxes.yaw_rad[row]))
        center_m = frame.global_from_ego @ [*boxes.center_m[row], 1.0]
        length_m, width_m, height_m = boxes.size_m[row].tolist()
        own = {
            "sample_token": sample,
            "instance_token": hashlib.md5(
                f"instance/{track}".encode(), usedforsecurity=False
            ).hexdigest(),
            "visibility_token": str(details.get(VISIBILITY, "")),
            "attribute_tokens": [
                self.tables.add("attribute", name, {"name": name, "description": ""})
                for name in details.get(ATTRIBUTES, [])
            ],
            "translation": center_m[:3].tolist(),
            "size": [width_m, length_m, height_m],
            "rotation": quaternion_from_rotation(turn).tolist(),
            "num_lidar_pts": int(boxes.num_points[row]),
            "num_radar_pts": int(details.get(RADAR, 0)),
        }
        self.tables.add("sample_annotation", f"{track}/{self._name(frame)}", own)
        return self.tables.rows["sample_annotation"][-1]


def _require_one_scene(frames: list[Frame]) -> None:
    scenes = sorted({(frame.key.log, frame.key.scene) for frame in frames})
    if len(scenes) > 1:
        raise DataError(f"frames of {len(scenes)} scenes are given as one; first {scenes[:2]}")


def _counted(frame: Frame) -> Frame:
    """Return the frame with the number of points in each box, where it is not known."""
    boxes = frame.boxes
    if boxes is None or (boxes.num_points != NUM_POINTS_UNKNOWN).all():
        return frame
    counted = count_points_in_boxes(frame.points_in_ego(), boxes.as_7())
    is_unknown = boxes.num_points == NUM_POINTS_UNKNOWN
    known = np.where(is_unknown, counted, boxes.num_points)
    return replace(frame, boxes=boxes.replace(num_points=known))


def _link(rows: list[dict[str, Any]]) -> None:
    """Let each row name the ones before and after it."""
    for number, row in enumerate(rows):
        row["prev"] = rows[number - 1]["token"] if number else ""
        row["next"] = rows[number + 1]["token"] if number + 1 < len(rows) else ""


def _pose_row(transform: NDArray[np.float64]) -> dict[str, list[float]]:
    return {
        "translation": transform[:3, 3].tolist(),
        "rotation": quaternion_from_rotation(transform[:3, :3]).tolist(),
    }


def _cloud(points: NDArray[np.float32]) -> bytes:
    rows = np.zeros((len(points), 5), dtype="<f4")
    rows[:, :3] = points[:, :3]
    rows[:, 3] = points[:, 3] * np.float32(255.0)
    return rows.tobytes()


def _channel(name: str) -> str:
    """Return a camera's channel: nuScenes' own names stay, the front camera is `CAM_FRONT`."""
    if name.startswith("CAM_"):
        return name
    return FRONT if name == "camera_front" else f"CAM_{name.removeprefix('camera_').upper()}"


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
