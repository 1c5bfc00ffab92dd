"""Writes scenes as KITTI tracking sequences.

What the format cannot hold is lost: times (ten frames make a second), velocities, other attributes
than the truncation level, cameras but the front one. A share of truncation becomes a level: 1 up to
one half, 2 beyond. Frames without a lidar sweep cannot be written.
"""

import json
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from admlops.errors import DataError
from admlops.files import write_atomically
from admlops.formats.kitti.calibration import KittiCalibration
from admlops.formats.kitti.oxts import oxts_from_poses
from admlops.formats.kitti.writer import label_rows
from admlops.formats.kitti_tracking.labels import LEVEL
from admlops.structures.boxes import Boxes
from admlops.structures.frame import Frame


def write_sequences(root: Path, scenes: Iterable[Iterable[Frame]]) -> int:
    """Write each scene as the next sequence below `root`; return the number of frames.

    Scenes whose first frame is annotated go to ``training``, others to ``testing``. The label
    file comes last: until it is there a sequence is not whole.

    Raises:
        DataError: a frame has no lidar sweep, or a camera cannot be expressed.
    """
    counts = {"training": 0, "testing": 0}
    num_frames = 0
    for scene in scenes:
        frames = list(scene)
        if not frames:
            continue
        kind = "training" if frames[0].boxes is not None else "testing"
        _write_sequence(root / kind, f"{counts[kind]:04d}", frames)
        counts[kind] += 1
        num_frames += len(frames)
    return num_frames


def _write_sequence(folder: Path, name: str, frames: list[Frame]) -> None:
    first = frames[0]
    lidar, camera = first.lidar, first.camera
    if lidar is None:
        raise DataError(f"frame {first.key} has no lidar sweep; KITTI tracking needs one")
    calibration = KittiCalibration.from_sensors(
        lidar.sensor, None if camera is None else camera.sensor
    )
    write_atomically(folder / "calib" / f"{name}.txt", calibration.to_text())
    for number, frame in enumerate(frames):
        if frame.lidar is None:
            raise DataError(f"frame {frame.key} has no lidar sweep; KITTI tracking needs one")
        points = np.ascontiguousarray(frame.lidar.points, dtype="<f4").tobytes()
        write_atomically(folder / "velodyne" / name / f"{number:06d}.bin", points)
        if frame.camera is not None and frame.camera.encoded:
            image = folder / "image_02" / name / f"{number:06d}.png"
            write_atomically(image, frame.camera.encoded)
    ego_from_imu = calibration.lidar.ego_from_sensor  # the unit is written at the lidar's place
    poses = np.array([frame.global_from_ego @ ego_from_imu for frame in frames])
    oxts = "".join(
        " ".join(f"{value:.14g}" for value in row) + "\n" for row in oxts_from_poses(poses)
    )
    write_atomically(folder / "oxts" / f"{name}.txt", oxts)
    if first.boxes is not None:
        content = "".join(_rows(number, frame) for number, frame in enumerate(frames))
        write_atomically(folder / "label_02" / f"{name}.txt", content)


def _rows(number: int, frame: Frame) -> str:
    """Return the label rows of one frame; ignore regions come last, as track -1."""
    boxes = frame.boxes if frame.boxes is not None else Boxes.empty()
    levels = [_level(boxes, row) for row in range(len(boxes))]
    written = label_rows(
        boxes.replace(truncation=np.array(levels, dtype=np.float64)),
        None if frame.camera is None else frame.camera.ignore_regions_px,
    )
    lines = []
    tracks = [*map(str, boxes.track_id)]
    for row, line in enumerate(written.splitlines()):
        is_box = row < len(boxes)
        track = tracks[row] if is_box and tracks[row].isdigit() else "-1"
        kind, truncation, rest = line.split(" ", 2)
        lines.append(f"{number} {track} {kind} {float(truncation):.0f} {rest}\n")
    return "".join(lines)


def _level(boxes: Boxes, row: int) -> int:
    """Return how far a box is cut by the image's edge; -1 where that is not known."""
    text, share = str(boxes.attributes[row]), float(boxes.truncation[row])
    level = json.loads(text).get(LEVEL) if text else None
    if level in (1, 2):
        return int(level)
    return -1 if math.isnan(share) else math.ceil(2 * min(max(share, 0.0), 1.0))
