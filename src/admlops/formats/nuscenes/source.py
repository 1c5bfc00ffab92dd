"""nuScenes: sweeps of the roof lidar, six cameras at key frames, tracks with attributes.

Every sweep is a frame; those between key frames have no boxes, and a loader may gather them into
one cloud by their poses. Cameras expose at other times than the lidar: their place is that at
their own exposure, seen from the ego frame of the sweep. Maps are left where they are.
Source: Caesar et al., "nuScenes", CVPR 2020; https://www.nuscenes.org/nuscenes#data-format.
"""

import json
import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from admlops.checks.rules import find
from admlops.errors import DataError
from admlops.formats.box_details import attributes_text
from admlops.formats.nuscenes.splits import Splits
from admlops.formats.nuscenes.tables import Tables
from admlops.formats.reading import FrameReading, Latest
from admlops.formats.source import CategoryTable, ReadOptions, ReadResult
from admlops.geometry.pose import invert, make_transform, rotation_from_quaternion, wrap_angle
from admlops.structures.boxes import Boxes
from admlops.structures.finding import Finding
from admlops.structures.frame import CalibratedSensor, CameraImage, Frame, FrameKey, LidarSweep

VERSIONS = ("v1.0-trainval", "v1.0-mini", "v1.0-test")
FRONT = "CAM_FRONT"
DETECTION_CATEGORIES: Mapping[str, str] = MappingProxyType(
    {
        "movable_object.barrier": "barrier",
        "vehicle.bicycle": "bicycle",
        "vehicle.bus.bendy": "bus",
        "vehicle.bus.rigid": "bus",
        "vehicle.car": "car",
        "vehicle.construction": "construction_vehicle",
        "vehicle.motorcycle": "motorcycle",
        "human.pedestrian.adult": "pedestrian",
        "human.pedestrian.child": "pedestrian",
        "human.pedestrian.construction_worker": "pedestrian",
        "human.pedestrian.police_officer": "pedestrian",
        "movable_object.trafficcone": "traffic_cone",
        "vehicle.trailer": "trailer",
        "vehicle.truck": "truck",
    }
)
"""The ten categories of the detection task."""
CATEGORIES: Mapping[str, str] = MappingProxyType(
    {
        **DETECTION_CATEGORIES,
        "animal": "animal",
        "human.pedestrian.personal_mobility": "personal_mobility",
        "human.pedestrian.stroller": "stroller",
        "human.pedestrian.wheelchair": "wheelchair",
        "movable_object.debris": "debris",
        "movable_object.pushable_pullable": "pushable_pullable",
        "static_object.bicycle_rack": "bicycle_rack",
        "vehicle.emergency.ambulance": "ambulance",
        "vehicle.emergency.police": "police_car",
    }
)
"""nuScenes' categories, and ours: the detection task's where it has one."""
CATEGORY, ATTRIBUTES, VISIBILITY, RADAR = "category", "attributes", "visibility", "num_radar_points"
"""Attributes of boxes: nuScenes' own category and attributes, visibility level, radar points."""
MAX_VELOCITY_GAP_US = 1_500_000
"""Neighbours farther apart in time say nothing about velocity."""
_FLOATS_PER_POINT = 5
_CONDITIONS = ("rain", "night")


def looks_like(root: Path) -> bool:
    """Return whether a folder holds a version's tables, or is a version of a folder that does."""
    return bool(_versions(root))


def _versions(root: Path) -> list[Path]:
    found = [root] if root.name in VERSIONS else [root / name for name in VERSIONS]
    return [folder for folder in found if (folder / "sample.json").is_file()]


def _version(root: Path) -> Path:
    """Return the only version of a folder."""
    found = _versions(root)
    if not found:
        raise DataError(f"{root}: no nuScenes folder; it has none of {', '.join(VERSIONS)}")
    if len(found) > 1:
        named = " or ".join(str(folder) for folder in found)
        raise DataError(f"{root}: {len(found)} versions of nuScenes; give one of them: {named}")
    return found[0]


def open_folder(root: Path, options: ReadOptions) -> "NuscenesSource":
    """List the sweeps of a version.

    Raises:
        DataError: the folder holds no version, or several, or a table is not as the format says.
    """
    return NuscenesSource(root, options)


class NuscenesSource:
    """Sweeps of nuScenes by number."""

    def __init__(self, root: Path, options: ReadOptions) -> None:
        version = _version(root)
        self.root = version.parent
        self.findings: list[Finding] = []
        self._version, self._options = version, options
        self._categories = CategoryTable({**CATEGORIES, **options.categories})
        self._splits = Splits(version)
        self._tables = Tables(version)
        self._numbers = self._list()
        self.num_refused = len(self.findings)
        self._scene = Latest(self._read_scene)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how another process opens the same source."""
        return NuscenesSource, (self._version, self._options)

    def _list(self) -> NDArray[np.int64]:
        """Return the numbers of the sweeps that can be read, and note why others cannot."""
        numbers: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
        start, last = 0, None
        for sweeps in self._tables.sweeps():
            found, last = self._list_some(sweeps, last)
            numbers.append(np.array(found, dtype=np.int64) + start)
            start += len(sweeps)
        return np.concatenate(numbers)

    def _list_some(
        self, sweeps: pa.Table, last: tuple[str, int] | None
    ) -> tuple[list[int], tuple[str, int] | None]:
        """Return the rows that can be read, and the scene and time of the last one so far."""
        absent: dict[int, list[str]] = defaultdict(list)
        for name in sorted(sweeps.column_names):
            for empty in np.flatnonzero(sweeps[name].is_null().to_numpy()):
                absent[int(empty)].append(name)
        columns = ("token", "scene", "timestamp", "is_key_frame")
        told = zip(*(sweeps[name].to_pylist() for name in columns), strict=True)
        rows: list[int] = []
        for row, (token, scene, time_us, is_key) in enumerate(told):
            if self._options.keyframes_only and not is_key:
                continue
            if row in absent:
                what = f"sample_data {token} leads to no {', '.join(absent[row])}"
                self.findings.append(find("READ009", self._version.name, what))
            elif (scene, time_us) == last:  # they come in order
                what = f"a second sweep of {scene} at {time_us} us"
                self.findings.append(find("READ008", self._version.name, what))
            else:
                last = (scene, time_us)
                rows.append(row)
        return rows, last

    def __len__(self) -> int:
        """Return how many sweeps there are."""
        return len(self._numbers)

    def read(self, index: int) -> ReadResult:
        """Read one sweep, at key frames with images and boxes; one with an error is left out."""
        sweep = self._tables.sweep(int(self._numbers[index]))
        reading = FrameReading(self.root)
        points = self._points(sweep["filename"], reading)
        try:
            global_from_ego = pose_of(sweep["ego_translation"], sweep["ego_rotation"])
            ego_from_lidar = pose_of(sweep["translation"], sweep["rotation"])
        except ValueError as error:
            reading.note("READ005", self._version, f"sample_data {sweep['token']}: {error}")
            return reading.result(None)
        if points is None:
            return reading.result(None)
        is_keyframe = bool(sweep["is_key_frame"])
        images = self._images(sweep, global_from_ego, reading) if is_keyframe else {}
        boxes = self._boxes(sweep, global_from_ego, reading) if is_keyframe else None
        frame = Frame(
            key=FrameKey(sweep["logfile"], sweep["scene"], sweep["timestamp"] * 1000),
            frame_id=sweep["token"],
            global_from_ego=global_from_ego,
            lidar=LidarSweep(CalibratedSensor("LIDAR_TOP", "lidar", ego_from_lidar), points),
            camera=images.get(FRONT),
            boxes=boxes,
            tags=_tags(sweep),
            split=self._splits.of(sweep["scene"]),
            source=str(self.root),
            other_cameras=tuple(image for name, image in images.items() if name != FRONT),
        )
        return reading.result(frame)

    def _points(self, name: str, reading: FrameReading) -> NDArray[np.float32] | None:
        path = self._file(name, reading)
        content = None if path is None else reading.bytes_of(path)
        if path is None or content is None:
            return None
        if not content or len(content) % (4 * _FLOATS_PER_POINT):
            reading.note("READ002", path, f"{len(content)} bytes")
            return None
        points = np.frombuffer(content, "<f4").reshape(-1, _FLOATS_PER_POINT)[:, :4].copy()
        with np.errstate(invalid="ignore"):  # what is no number is found below
            points[:, 3] /= 255.0
        return reading.points(points, path)

    def _file(self, name: str | None, reading: FrameReading) -> Path | None:
        if not name:
            reading.note("READ006", self._version, "a row of sample_data names no file")
            return None
        if Path(name).is_absolute() or ".." in Path(name).parts:
            reading.note("READ006", self._version, f"the file name {name!r:.80} leads elsewhere")
            return None
        return self.root / name

    def _read_scene(self, token: str) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
        """Return the images and the annotations of a scene by key frame."""
        images, boxes = defaultdict(list), defaultdict(list)
        for image in self._tables.images(token):
            images[image["sample_token"]].append(image)
        for box in self._tables.boxes(token):
            boxes[box["sample_token"]].append(box)
        return images, boxes

    def _images(
        self, sweep: dict[str, Any], global_from_ego: NDArray[np.float64], reading: FrameReading
    ) -> dict[str, CameraImage]:
        described = self._scene(sweep["scene_token"])[0].get(sweep["sample_token"], [])
        wanted = {"all": described, "none": []}.get(
            self._options.cameras, [item for item in described if item["channel"] == FRONT]
        )
        images = {}
        for item in wanted:
            try:
                sensor = _camera(item, global_from_ego)
            except ValueError as error:
                reading.note("READ005", self._version, f"{item['channel']}: {error}")
                continue
            path = self._file(item["filename"], reading)
            size_px = (item["width"] or 0, item["height"] or 0)
            image = None if path is None else reading.image_or_size(path, size_px, sensor)
            if image is not None:
                images[item["channel"]] = image
        return images

    def _boxes(
        self, sweep: dict[str, Any], global_from_ego: NDArray[np.float64], reading: FrameReading
    ) -> Boxes | None:
        if self._version.name.endswith("test"):
            return None
        rows = self._scene(sweep["scene_token"])[1].get(sweep["sample_token"], [])
        if any(row["category"] is None for row in rows):
            what = f"an annotation of sample {sweep['sample_token']} leads to no category"
            reading.note("READ009", self._version, what)
            return None
        try:
            found = _boxes_in_ego(rows, global_from_ego)
        except ValueError as error:
            reading.note("READ006", self._version, f"sample {sweep['sample_token']}: {error}")
            return None
        return reading.boxes(found, self._categories, f"sample {sweep['sample_token']}")


def pose_of(
    translation_m: list[float] | None, rotation_wxyz: list[float] | None
) -> NDArray[np.float64]:
    """Return the (4, 4) transform of a translation and a quaternion w x y z.

    Raises:
        ValueError: they are not three and four finite numbers, or the quaternion has no length.
    """
    place, turn = translation_m or [], rotation_wxyz or []
    numbers = np.array([*place, *turn], dtype=np.float64)
    if len(place) != 3 or len(turn) != 4 or not np.isfinite(numbers).all():
        raise ValueError("a pose is not three and four finite numbers")
    length = math.hypot(*numbers[3:])
    if abs(length - 1.0) > 1e-2:
        raise ValueError(f"a quaternion has length {length:g}")
    return make_transform(rotation_from_quaternion(numbers[3:]), numbers[:3])


def _camera(item: Mapping[str, Any], global_from_ego: NDArray[np.float64]) -> CalibratedSensor:
    """Return a camera where it was when it exposed, in the ego frame of the sweep."""
    exposed_from = pose_of(item["ego_translation"], item["ego_rotation"])
    place = invert(global_from_ego) @ exposed_from @ pose_of(item["translation"], item["rotation"])
    matrix = np.array(item["camera_intrinsic"] or [], dtype=np.float64)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or matrix[0, 0] <= 0:
        raise ValueError("camera_intrinsic is no 3 x 3 matrix")
    return CalibratedSensor(str(item["channel"]), "camera", place, matrix)


def _tags(sweep: Mapping[str, Any]) -> tuple[str, ...]:
    """Return conditions from the scene's description, as the development kit tells them."""
    said = str(sweep["description"]).lower()
    return tuple(
        sorted([f"location:{sweep['location']}", *(word for word in _CONDITIONS if word in said)])
    )


def _boxes_in_ego(rows: list[dict[str, Any]], global_from_ego: NDArray[np.float64]) -> Boxes:
    """Return annotations, which stand in the global frame, upright in the ego frame."""
    ego_from_global = invert(global_from_ego)
    poses = [ego_from_global @ pose_of(row["translation"], row["rotation"]) for row in rows]
    boxes = np.array(poses).reshape(-1, 4, 4)
    sizes = [row["size"] for row in rows]
    if any(size is None or len(size) != 3 for size in sizes):
        raise ValueError("a size is not three numbers")
    width_length_height = np.array(sizes, dtype=np.float64).reshape(-1, 3)
    velocity = [ego_from_global[:2, :3] @ _velocity_mps(row) for row in rows]
    return Boxes.make(
        boxes[:, :3, 3],
        width_length_height[:, [1, 0, 2]],
        wrap_angle(np.arctan2(boxes[:, 1, 0], boxes[:, 0, 0])),
        [row["category"] for row in rows],
        track_id=np.array([row["instance_token"] for row in rows], dtype=object),
        num_points=np.array([row["num_lidar_pts"] or 0 for row in rows], dtype=np.int64),
        velocity_mps=np.array(velocity).reshape(-1, 2),
        attributes=np.array([attributes_text(_details(row)) for row in rows], dtype=object),
    )


def _details(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is said of an annotation beside its box."""
    named = sorted(name for name in row["attributes"] or [] if name)
    details = {CATEGORY: row["category"], RADAR: row["num_radar_pts"] or 0}
    if named:
        details[ATTRIBUTES] = named
    if row["visibility_token"]:
        details[VISIBILITY] = row["visibility_token"]
    return details


def _velocity_mps(row: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return (3,) velocity in the global frame from the neighbours in time, NaN without.

    As the development kit's `box_velocity`: a centred difference where there are two.
    """
    first_m, first_us = row["before_m"] or row["translation"], row["before_us"] or row["time_us"]
    last_m, last_us = row["after_m"] or row["translation"], row["after_us"] or row["time_us"]
    both = row["before_m"] is not None and row["after_m"] is not None
    gap_us = 0 if None in (first_us, last_us) else last_us - first_us
    if gap_us <= 0 or gap_us > MAX_VELOCITY_GAP_US * (2 if both else 1):
        return np.full(3, np.nan)
    return np.asarray((np.array(last_m) - np.array(first_m)) / (gap_us * 1e-6))


def original_category(attributes: str) -> str | None:
    """Return nuScenes' own name of a box's category, where its attributes tell it."""
    own = json.loads(attributes).get(CATEGORY) if attributes else None
    return own if isinstance(own, str) else None


def category_named(category: str) -> str:
    """Return a name of nuScenes' for a category of ours that has one, else the category."""
    return next((name for name, ours in CATEGORIES.items() if ours == category), category)
