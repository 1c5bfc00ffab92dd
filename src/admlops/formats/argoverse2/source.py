"""Argoverse 2 sensor logs: merged lidar sweeps, nine cameras, poses, tracks.

Sweeps are motion compensated by the publisher and stand in the vehicle's frame, which is our ego
frame but for its height over the road. Cameras expose at other times than the lidar: their place is
that at their own exposure, seen from the ego frame of the sweep.
Source: Wilson et al., "Argoverse 2", NeurIPS Datasets and Benchmarks 2021, and the user guide.
"""

import re
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from admlops.errors import DataError
from admlops.formats.argoverse2.log import (
    AXLE_HEIGHT_M,
    EGO_FROM_VEHICLE,
    FRONT,
    Log,
    read_log,
)
from admlops.formats.argoverse2.tables import parse_table
from admlops.formats.reading import FrameReading, Latest
from admlops.formats.source import CategoryTable, ReadOptions, ReadResult
from admlops.geometry.boxes import count_points_in_boxes
from admlops.geometry.pose import invert
from admlops.structures.boxes import Boxes
from admlops.structures.finding import Finding
from admlops.structures.frame import CalibratedSensor, CameraImage, Frame, FrameKey, LidarSweep

LIDAR = CalibratedSensor("lidar_top", "lidar", EGO_FROM_VEHICLE)
CATEGORIES: Mapping[str, str] = MappingProxyType(
    {
        name: name.lower()
        for name in (
            "ANIMAL",
            "ARTICULATED_BUS",
            "BICYCLE",
            "BICYCLIST",
            "BOLLARD",
            "BOX_TRUCK",
            "BUS",
            "CONSTRUCTION_BARREL",
            "CONSTRUCTION_CONE",
            "DOG",
            "LARGE_VEHICLE",
            "MESSAGE_BOARD_TRAILER",
            "MOBILE_PEDESTRIAN_CROSSING_SIGN",
            "MOTORCYCLE",
            "MOTORCYCLIST",
            "OFFICIAL_SIGNALER",
            "PEDESTRIAN",
            "RAILED_VEHICLE",
            "REGULAR_VEHICLE",
            "SCHOOL_BUS",
            "SIGN",
            "STOP_SIGN",
            "STROLLER",
            "TRAFFIC_LIGHT_TRAILER",
            "TRUCK",
            "TRUCK_CAB",
            "VEHICULAR_TRAILER",
            "WHEELCHAIR",
            "WHEELED_DEVICE",
            "WHEELED_RIDER",
        )
    }
)
"""Argoverse's categories, and ours: the same in lower case."""
MAX_CAMERA_LAG_NS = 50_000_000
"""An image belongs to a sweep up to half a lidar rotation away."""
_DEPTHS = ("", "*/", "*/*/", "*/*/*/")
_SPLITS = ("train", "val", "test")
_POINT_COLUMNS = {"x": float, "y": float, "z": float, "intensity": int}


def looks_like(root: Path) -> bool:
    """Return whether a folder is laid out as this format."""
    return bool(_logs(root))


def _logs(root: Path) -> list[Path]:
    found = (path.parents[1] for depth in _DEPTHS for path in root.glob(f"{depth}sensors/lidar"))
    return sorted(folder for folder in found if (folder / "calibration").is_dir())


def open_folder(root: Path, options: ReadOptions) -> "Argoverse2Source":
    """List the sweeps of a log, a split or the whole dataset.

    Raises:
        DataError: the folder holds no log.
    """
    return Argoverse2Source(root, options)


class Argoverse2Source:
    """Sweeps of Argoverse 2 logs by number."""

    def __init__(self, root: Path, options: ReadOptions) -> None:
        self.root = root
        self.findings: tuple[Finding, ...] = ()  # each frame says what is wrong with its own
        self.num_refused = 0  # frames are those with a lidar file
        self._options = options
        self._categories = CategoryTable({**CATEGORIES, **options.categories})
        logs = _logs(root)
        if not logs:
            raise DataError(f"{root}: no Argoverse 2 log; none has 'sensors/lidar' and calibration")
        self._files = [
            log / "sensors" / "lidar" / f"{time_ns}.feather"
            for log in logs
            for time_ns in _list_times(str(log / "sensors" / "lidar"), "feather")
        ]
        self._log = Latest(self._read_log)
        self._images = Latest(_list_times, num_kept=16)

    def __len__(self) -> int:
        """Return how many sweeps there are."""
        return len(self._files)

    def read(self, index: int) -> ReadResult:
        """Read one sweep with its images and boxes; one with an error is left out."""
        file = self._files[index]
        folder, time_ns = file.parents[2], int(file.stem)
        log = self._log(str(folder))
        reading = FrameReading(self.root)
        reading.findings += log.findings
        points = self._points(file, reading)
        if points is None:
            return reading.result(None)
        images = self._cameras(folder, time_ns, log, reading)
        split = folder.parent.name if folder.parent.name in _SPLITS else ""
        frame = Frame(
            key=FrameKey(folder.name, folder.name, time_ns),
            frame_id=file.stem,
            global_from_ego=self._pose(log, time_ns, reading),
            lidar=LidarSweep(LIDAR, points),
            camera=images.get(FRONT),
            boxes=self._boxes(log, time_ns, points, reading),
            split=split,
            source=str(self.root),
            other_cameras=tuple(image for name, image in images.items() if name != FRONT),
        )
        return reading.result(frame)

    def _read_log(self, folder: str) -> Log:
        return read_log(Path(folder), self.root)

    def _points(self, file: Path, reading: FrameReading) -> NDArray[np.float32] | None:
        content = reading.bytes_of(file)
        if content is None:
            return None
        try:
            columns = parse_table(content, _POINT_COLUMNS)
        except ValueError as error:
            rule_id = "READ003" if "not finite" in str(error) else "READ002"
            reading.note(rule_id, file, str(error))
            return None
        intensity = columns["intensity"] / 255.0
        parts = [columns["x"], columns["y"], columns["z"], intensity]
        return reading.points(np.column_stack(parts).astype(np.float32), file)

    def _pose(self, log: Log, time_ns: int, reading: FrameReading) -> NDArray[np.float64]:
        if log.city_from_ego is None:
            return np.eye(4)
        pose = log.city_from_ego.get(time_ns)
        if pose is None:
            reading.note("READ012", "city_SE3_egovehicle.feather", f"no row of time {time_ns}")
            return np.eye(4)
        return pose

    def _boxes(
        self, log: Log, time_ns: int, points: NDArray[np.float32], reading: FrameReading
    ) -> Boxes | None:
        if log.boxes is None or time_ns not in log.boxes:
            return None
        found = log.boxes[time_ns]
        boxes = reading.boxes(found, self._categories, "annotations.feather")
        if boxes is None:
            return None
        in_vehicle = boxes.as_7()
        in_vehicle[:, 2] -= AXLE_HEIGHT_M
        counted = count_points_in_boxes(points, in_vehicle)
        differ = np.flatnonzero(counted != boxes.num_points)
        if len(differ):
            row = differ[np.argmax(np.abs(counted - boxes.num_points)[differ])]
            what = (
                f"{len(differ)} of {len(boxes)} boxes, most {boxes.category[row]} with "
                f"{boxes.num_points[row]} stored and {counted[row]} counted"
            )
            reading.note("READ013", "annotations.feather", what)
        return boxes.replace(num_points=counted)

    def _cameras(
        self, folder: Path, time_ns: int, log: Log, reading: FrameReading
    ) -> dict[str, CameraImage]:
        """Return the image of each camera that is nearest in time, the front one first."""
        wanted = [] if self._options.cameras == "none" else sorted(log.cameras or {})
        wanted = [name for name in wanted if name == FRONT or self._options.cameras == "all"]
        files = {}
        for name in sorted(wanted, key=lambda name: name != FRONT):
            cameras = folder / "sensors" / "cameras" / name
            times = self._images(str(cameras))
            place = bisect_left(times, time_ns)
            near = times[max(place - 1, 0) : place + 1]
            nearest = min(near, key=lambda other: abs(other - time_ns), default=None)
            if nearest is not None and abs(nearest - time_ns) <= MAX_CAMERA_LAG_NS:
                sensor = (log.cameras or {})[name]
                files[cameras / f"{nearest}.jpg"] = _exposed(sensor, log, nearest, time_ns)
        return reading.images(files)


def _exposed(
    sensor: CalibratedSensor, log: Log, exposed_ns: int, sweep_ns: int
) -> CalibratedSensor:
    """Return a camera where it was when it exposed, in the ego frame of the sweep."""
    poses = log.city_from_ego or {}
    if exposed_ns not in poses or sweep_ns not in poses:
        return sensor
    moved = invert(poses[sweep_ns]) @ poses[exposed_ns]
    return replace(sensor, ego_from_sensor=moved @ sensor.ego_from_sensor)


def _list_times(folder: str, suffix: str = "jpg") -> list[int]:
    """Return the times that files of a folder are named after, in their order."""
    stems = (file.stem for file in Path(folder).glob(f"*.{suffix}"))
    return sorted(int(stem) for stem in stems if re.fullmatch("0|[1-9][0-9]{0,18}", stem))
