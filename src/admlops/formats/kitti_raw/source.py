"""KITTI raw: synchronised and rectified drives with lidar, cameras, poses and tracklets.

There is no writer: `formats/kitti_tracking` writes the same sensors with tracks.
Source: https://www.cvlibs.net/datasets/kitti/raw_data.php and its development kit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from admlops.errors import DataError
from admlops.formats.kitti.calibration import KittiCalibration
from admlops.formats.kitti.oxts import parse_oxts, poses_from_oxts
from admlops.formats.kitti.reader import category_table
from admlops.formats.kitti_raw.calibration import (
    USUAL_CAMERA,
    USUAL_LIDAR,
    find_calibration,
    read_calibration,
)
from admlops.formats.kitti_raw.tracklets import Row, boxes_in_ego, read_tracklets
from admlops.formats.reading import FrameReading, Latest
from admlops.formats.source import ReadOptions, ReadResult
from admlops.geometry.boxes import count_points_in_boxes
from admlops.geometry.pose import transform_cloud
from admlops.structures.boxes import Boxes
from admlops.structures.finding import Finding
from admlops.structures.frame import CalibratedSensor, CameraImage, Frame, FrameKey, LidarSweep

NS_PER_FRAME = 100_000_000
LATEST_YEAR = 2262
"""In which nanoseconds since 1970 leave 64 bits."""
_DEPTHS = ("", "*/", "*/*/")


def looks_like(root: Path) -> bool:
    """Return whether a folder is laid out as this format."""
    return bool(_drives(root))


def open_folder(root: Path, options: ReadOptions) -> "KittiRawSource":
    """List the frames of a drive, of a day of drives, or of several days.

    Raises:
        DataError: the folder holds no drive.
    """
    return KittiRawSource(root, options)


def _drives(root: Path) -> list[Path]:
    found = {
        path.parents[1] for depth in _DEPTHS for path in root.glob(f"{depth}velodyne_points/data")
    }
    return sorted(found)


@dataclass(frozen=True, slots=True)
class _Drive:
    """What is known of a drive beside its frames; None where it cannot be read."""

    calibration: KittiCalibration | None
    poses: Mapping[int, NDArray[np.float64]] | None
    times_ns: list[int] | None
    objects: Mapping[int, list[Row]] | None
    findings: tuple[Finding, ...]


class KittiRawSource:
    """Frames of KITTI raw drives by number."""

    def __init__(self, root: Path, options: ReadOptions) -> None:
        self.root = root
        self.findings: tuple[Finding, ...] = ()  # each frame says what is wrong with its own
        self.num_refused = 0  # frames are those with a lidar file
        self._options = options
        self._categories = category_table(options)
        drives = _drives(root)
        if not drives:
            raise DataError(f"{root}: no KITTI raw drive; none has 'velodyne_points/data'")
        self._files = [
            file
            for drive in drives
            for file in sorted((drive / "velodyne_points" / "data").glob("*.bin"))
            if file.stem.isdigit()
        ]
        self._drive = Latest(self._read_drive)

    def __len__(self) -> int:
        """Return how many frames have a lidar file."""
        return len(self._files)

    def read(self, index: int) -> ReadResult:
        """Read one frame; a frame with an error is left out, with the reason."""
        file = self._files[index]
        drive = file.parents[2]
        about = self._drive(str(drive))
        reading = FrameReading(self.root)
        reading.findings += about.findings
        points = reading.cloud(file)
        if points is None:
            return reading.result(None)
        return reading.result(self._frame(file, points, about, reading))

    def _frame(
        self, file: Path, points: NDArray[np.float32], about: _Drive, reading: FrameReading
    ) -> Frame:
        drive, number = file.parents[2], int(file.stem)
        lidar = USUAL_LIDAR if about.calibration is None else about.calibration.lidar
        images = self._images(drive, f"{file.stem}.png", about.calibration, reading)
        return Frame(
            key=FrameKey("kitti_raw", drive.name, self._time_ns(about, number, reading)),
            frame_id=f"{drive.name}/{file.stem}",
            global_from_ego=self._pose(about, number, reading),
            lidar=LidarSweep(lidar, points),
            camera=images.get("camera_front"),
            boxes=self._boxes(about, number, LidarSweep(lidar, points), reading),
            split="train" if about.objects is not None else "pool",
            source=str(self.root),
            other_cameras=tuple(image for name, image in images.items() if name != "camera_front"),
        )

    def _time_ns(self, about: _Drive, number: int, reading: FrameReading) -> int:
        if about.times_ns is None:
            return number * NS_PER_FRAME
        if number >= len(about.times_ns):
            reading.note("READ012", "timestamps", f"frame {number} of {len(about.times_ns)} times")
            return 0
        return about.times_ns[number]

    def _pose(self, about: _Drive, number: int, reading: FrameReading) -> NDArray[np.float64]:
        imu_from_ego = None if about.calibration is None else about.calibration.imu_from_ego
        if about.poses is None or imu_from_ego is None:
            return np.eye(4)
        if number not in about.poses:
            reading.note("READ012", "oxts", f"no row of frame {number}")
            return np.eye(4)
        return np.asarray(about.poses[number] @ imu_from_ego, dtype=np.float64)

    def _images(
        self,
        drive: Path,
        name: str,
        calibration: KittiCalibration | None,
        reading: FrameReading,
    ) -> dict[str, CameraImage]:
        wanted = {"all": ("image_02", "image_03"), "front": ("image_02",), "none": ()}
        sensors: dict[str, CalibratedSensor | None] = {"image_02": USUAL_CAMERA, "image_03": None}
        if calibration is not None:
            sensors = {"image_02": calibration.camera, "image_03": calibration.right_camera}
        kinds = wanted[self._options.cameras]
        return reading.images({drive / kind / "data" / name: sensors[kind] for kind in kinds})

    def _boxes(
        self, about: _Drive, number: int, sweep: LidarSweep, reading: FrameReading
    ) -> Boxes | None:
        if about.objects is None:
            return None
        ego_from_lidar = sweep.sensor.ego_from_sensor
        found = boxes_in_ego(about.objects.get(number, []), ego_from_lidar)
        boxes = reading.boxes(found, self._categories, "tracklet_labels.xml")
        if boxes is None:
            return None
        in_ego = transform_cloud(ego_from_lidar, sweep.points)
        return boxes.replace(num_points=count_points_in_boxes(in_ego, boxes.as_7()))

    def _read_drive(self, name: str) -> _Drive:
        drive, reading = Path(name), FrameReading(self.root)
        folder = find_calibration(drive)
        calibration = None if folder is None else read_calibration(folder, reading)
        if folder is None:
            reading.note("READ018", drive, "no calib_cam_to_cam.txt in the drive or its day")
        return _Drive(
            calibration=calibration,
            poses=_read_poses(drive, reading),
            times_ns=_read_times(drive, reading),
            objects=_read_objects(drive, reading),
            findings=tuple(reading.findings),
        )


def _read_poses(drive: Path, reading: FrameReading) -> Mapping[int, NDArray[np.float64]] | None:
    files = sorted((drive / "oxts" / "data").glob("*.txt"))
    files = [file for file in files if file.stem.isdigit()]
    contents = [reading.bytes_of(file) for file in files]
    if not files or any(content is None for content in contents):
        return None
    rows = []
    for file, content in zip(files, contents, strict=True):
        try:
            found = parse_oxts(content or b"")
        except ValueError as error:
            reading.note("READ012", file, str(error))
            return None
        if len(found) != 1:
            reading.note("READ012", file, f"{len(found)} rows, expected one")
            return None
        rows.append(found[0])
    poses = poses_from_oxts(np.array(rows))
    return {int(file.stem): pose for file, pose in zip(files, poses, strict=True)}


def _read_times(drive: Path, reading: FrameReading) -> list[int] | None:
    path = drive / "velodyne_points" / "timestamps.txt"
    content = reading.bytes_of(path) if path.is_file() else None
    if content is None:
        return None
    try:
        lines = content.decode("ascii").splitlines()
        return [_time_ns(line.strip()) for line in lines if line.strip()]
    except ValueError as error:
        reading.note("READ012", path, f"a line is no time: {error}")
        return None


def _time_ns(text: str) -> int:
    """Return nanoseconds since 1970 of "2011-09-26 13:02:25.964389445", taken as UTC."""
    whole, _, fraction = text.partition(".")
    moment = datetime.strptime(whole, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    if not 1970 <= moment.year < LATEST_YEAR:
        raise ValueError(f"{text!r} is not between 1970 and {LATEST_YEAR}")
    return int(moment.timestamp()) * 1_000_000_000 + int(f"{fraction:0<9.9}" if fraction else 0)


def _read_objects(drive: Path, reading: FrameReading) -> Mapping[int, list[Row]] | None:
    path = drive / "tracklet_labels.xml"
    if not path.is_file():
        return None
    try:
        return read_tracklets(path)
    except (DataError, ValueError) as error:
        reading.note("READ006", path, str(error))
        return None
