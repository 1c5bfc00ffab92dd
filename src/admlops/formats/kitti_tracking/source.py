"""KITTI tracking: sequences of frames with calibration, poses, tracks and two cameras.

Frames are those with a lidar file; ten of them make a second, for the format holds no times.
Source: https://www.cvlibs.net/datasets/kitti/eval_tracking.php and its development kit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from admlops.checks.rules import find
from admlops.errors import DataError
from admlops.formats.kitti.calibration import KittiCalibration
from admlops.formats.kitti.oxts import parse_oxts, poses_from_oxts
from admlops.formats.kitti.reader import category_table
from admlops.formats.kitti_tracking.labels import FrameLabels, parse_sequence
from admlops.formats.reading import FrameReading, Latest
from admlops.formats.source import ReadOptions, ReadResult
from admlops.geometry.boxes import count_points_in_boxes
from admlops.geometry.pose import transform_cloud
from admlops.structures.boxes import Boxes
from admlops.structures.finding import Finding
from admlops.structures.frame import CalibratedSensor, CameraImage, Frame, FrameKey, LidarSweep

NS_PER_FRAME = 100_000_000
SPLITS = {"training": "train", "testing": "pool"}
SITTING = {"person": "person_sitting"}
"""What KITTI tracking calls otherwise than KITTI object."""
_NO_LABELS = FrameLabels(Boxes.empty(), np.empty((0, 4)))


def looks_like(root: Path) -> bool:
    """Return whether a folder is laid out as this format."""
    return any(
        (root / name / "velodyne").is_dir() and _has_tracking(root / name) for name in SPLITS
    )


def _has_tracking(folder: Path) -> bool:
    return any((folder / name).is_dir() for name in ("image_02", "label_02", "oxts"))


def open_folder(root: Path, options: ReadOptions) -> "KittiTrackingSource":
    """List the frames of a folder.

    Raises:
        DataError: the folder holds no sequences.
    """
    return KittiTrackingSource(root, options)


@dataclass(frozen=True, slots=True)
class _Sequence:
    """What is known of a sequence beside its frames; None where it cannot be read."""

    calibration: KittiCalibration | None
    poses: NDArray[np.float64] | None
    labels: Mapping[int, FrameLabels] | None
    findings: tuple[Finding, ...]


class KittiTrackingSource:
    """Frames of a KITTI tracking folder by number."""

    def __init__(self, root: Path, options: ReadOptions) -> None:
        self.root = root
        self.num_refused = 0  # frames are those with a lidar file
        self._options = options
        self._categories = category_table(options, SITTING)
        folders = [root / name for name in SPLITS if (root / name / "velodyne").is_dir()]
        if not folders:
            raise DataError(f"{root}: no KITTI tracking folder; it has no 'training/velodyne'")
        self._files = [
            file
            for folder in folders
            for sequence in sorted((folder / "velodyne").iterdir())
            for file in sorted(sequence.glob("*.bin"))
            if file.stem.isdigit()
        ]
        self._sequence = Latest(self._read_sequence)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Labelled frames of which there is no lidar file."""
        found = []
        for path in sorted(self.root.glob("*/label_02/*.txt")):
            folder = path.parent.parent / "velodyne" / path.stem
            try:
                labelled = set(parse_sequence(path.read_bytes(), path.name))
            except (OSError, DataError, ValueError):
                continue  # each frame of the sequence says so
            absent = sorted(
                number for number in labelled if not (folder / f"{number:06d}.bin").is_file()
            )
            if absent:
                what = f"{len(absent)} labelled frames have no lidar file, first {absent[0]}"
                found.append(find("READ014", str(path.relative_to(self.root)), what))
        return tuple(found)

    def __len__(self) -> int:
        """Return how many frames have a lidar file."""
        return len(self._files)

    def read(self, index: int) -> ReadResult:
        """Read one frame; a frame with an error is left out, with the reason."""
        file = self._files[index]
        folder, sequence = file.parents[2], file.parent.name
        about = self._sequence(f"{folder.name}/{sequence}")
        reading = FrameReading(self.root)
        reading.findings += about.findings
        points = reading.cloud(file)
        if points is None or about.calibration is None:
            return reading.result(None)
        return reading.result(self._frame(file, points, about, reading))

    def _frame(
        self, file: Path, points: NDArray[np.float32], about: _Sequence, reading: FrameReading
    ) -> Frame | None:
        calibration = about.calibration
        if calibration is None:
            return None
        number, sequence = int(file.stem), file.parent.name
        folder = file.parents[2]
        labels = None if about.labels is None else about.labels.get(number, _NO_LABELS)
        images = self._images(folder, f"{sequence}/{file.stem}.png", calibration, reading)
        regions = np.empty((0, 4)) if labels is None else labels.ignore_regions_px
        front = images.get("camera_front")
        return Frame(
            key=FrameKey("kitti_tracking", f"{folder.name}_{sequence}", number * NS_PER_FRAME),
            frame_id=f"{sequence}/{file.stem}",
            global_from_ego=self._pose(about, number, calibration, reading),
            lidar=LidarSweep(calibration.lidar, points),
            camera=None if front is None else replace(front, ignore_regions_px=regions),
            boxes=self._boxes(labels, calibration.lidar, points, reading),
            split=SPLITS[folder.name],
            source=str(self.root),
            other_cameras=tuple(image for name, image in images.items() if name != "camera_front"),
        )

    def _images(
        self, folder: Path, name: str, calibration: KittiCalibration, reading: FrameReading
    ) -> dict[str, CameraImage]:
        """Return the images that the folder has, by camera."""
        wanted = {"all": ("image_02", "image_03"), "front": ("image_02",), "none": ()}
        sensors = {"image_02": calibration.camera, "image_03": calibration.right_camera}
        kinds = wanted[self._options.cameras]
        return reading.images({folder / kind / name: sensors[kind] for kind in kinds})

    def _boxes(
        self,
        labels: FrameLabels | None,
        lidar: CalibratedSensor,
        points: NDArray[np.float32],
        reading: FrameReading,
    ) -> Boxes | None:
        if labels is None:
            return None
        boxes = reading.boxes(labels.boxes, self._categories, "label_02")
        if boxes is None:
            return None
        in_ego = transform_cloud(lidar.ego_from_sensor, points)
        return boxes.replace(num_points=count_points_in_boxes(in_ego, boxes.as_7()))

    def _pose(
        self, about: _Sequence, number: int, calibration: KittiCalibration, reading: FrameReading
    ) -> NDArray[np.float64]:
        imu_from_ego = calibration.imu_from_ego
        if about.poses is None or imu_from_ego is None:
            return np.eye(4)
        if number >= len(about.poses):
            reading.note("READ012", "oxts", f"frame {number} of {len(about.poses)} rows")
            return np.eye(4)
        return np.asarray(about.poses[number] @ imu_from_ego, dtype=np.float64)

    def _read_sequence(self, name: str) -> _Sequence:
        folder, sequence = self.root / Path(name).parent, Path(name).name
        reading = FrameReading(self.root)
        calib, oxts, label = (
            folder / kind / f"{sequence}.txt" for kind in ("calib", "oxts", "label_02")
        )
        calibration = reading.parsed(calib, "READ005", KittiCalibration.parse)
        rows = reading.parsed(oxts, "READ012", parse_oxts) if oxts.is_file() else None
        labels: Mapping[int, FrameLabels] | None = None
        if folder.name == "training":
            labels = reading.parsed(label, "READ006", partial(parse_sequence, name=label.stem))
        poses = None if rows is None else poses_from_oxts(rows)
        return _Sequence(calibration, poses, labels, tuple(reading.findings))
