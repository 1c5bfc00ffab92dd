"""Writes frames in the KITTI object format, precisely enough to read the same boxes back."""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from admlops.files import write_atomically
from admlops.formats.kitti.calibration import KittiCalibration
from admlops.formats.kitti.labels import CAMERA_HEIGHT_M
from admlops.formats.kitti.sidecar import FILE_NAME, FrameNote
from admlops.geometry.pose import wrap_angle
from admlops.structures.boxes import Boxes
from admlops.structures.frame import Frame


def write_frames(root: Path, frames: Iterable[Frame]) -> int:
    """Write frames below `root` and return their number.

    Annotated frames go to ``training`` and are listed in ``ImageSets``, others go to ``testing``.
    The lists come last: until they are there the folder is not whole.

    Raises:
        DataError: a camera cannot be expressed in the format.
    """
    lists: dict[str, list[str]] = {}
    notes: list[str] = []
    used: set[str] = set()
    for frame in frames:
        folder = "testing" if frame.boxes is None else "training"
        frame_id = _free_name(frame.frame_id, folder, used)
        _write_frame(root / folder, frame_id, frame)
        notes.append(FrameNote.from_frame(frame, f"{folder}/{frame_id}").to_line())
        if frame.boxes is not None:
            lists.setdefault(frame.split or "train", []).append(frame_id)
    for split, names in lists.items():
        content = "".join(f"{name}\n" for name in names)
        write_atomically(root / "ImageSets" / f"{split}.txt", content)
    write_atomically(root / FILE_NAME, "".join(notes))
    return len(notes)


def label_rows(boxes: Boxes, ignore_regions_px: NDArray[np.float64] | None = None) -> str:
    """Return a label file: a row per box (with its score, if it has one), then ``DontCare`` rows.

    Lengths have six decimals. Unknown truncation, occlusion and 2D boxes are written as -1.
    """
    rows_7 = boxes.as_7()
    x, y = -rows_7[:, 1], CAMERA_HEIGHT_M - (rows_7[:, 2] - rows_7[:, 5] / 2)
    z = rows_7[:, 0]
    rotation_y = wrap_angle(-(rows_7[:, 6] + np.pi / 2))
    alpha = wrap_angle(rotation_y - np.arctan2(x, z))
    box2d = np.where(np.isfinite(boxes.box2d_px), boxes.box2d_px, -1.0)
    truncation = np.where(np.isfinite(boxes.truncation), boxes.truncation, -1.0)
    numbers = np.column_stack([alpha, box2d, rows_7[:, [5, 4, 3]], x, y, z, rotation_y])
    lines = []
    for row in range(len(boxes)):
        name = str(boxes.category[row]).capitalize()
        values = " ".join(f"{value:.6f}" for value in numbers[row])
        score = f" {boxes.score[row]:.6f}" if np.isfinite(boxes.score[row]) else ""
        lines.append(f"{name} {truncation[row]:.2f} {boxes.occlusion[row]} {values}{score}\n")
    regions = np.empty((0, 4)) if ignore_regions_px is None else ignore_regions_px
    for region in regions:
        place = " ".join(f"{value:.2f}" for value in region)
        lines.append(f"DontCare -1 -1 -10 {place} -1 -1 -1 -1000 -1000 -1000 -10\n")
    return "".join(lines)


def _write_frame(folder: Path, frame_id: str, frame: Frame) -> None:
    lidar, camera = frame.lidar, frame.camera
    if lidar is not None:
        content = np.ascontiguousarray(lidar.points, dtype="<f4").tobytes()
        _write(folder / "velodyne" / f"{frame_id}.bin", content)
    if camera is not None and camera.encoded:
        _write(folder / "image_2" / f"{frame_id}.png", camera.encoded)
    calibration = KittiCalibration.from_sensors(
        None if lidar is None else lidar.sensor, None if camera is None else camera.sensor
    )
    _write(folder / "calib" / f"{frame_id}.txt", calibration.to_text().encode())
    if frame.boxes is not None:
        regions = None if camera is None else camera.ignore_regions_px
        content = label_rows(frame.boxes, regions).encode()
        _write(folder / "label_2" / f"{frame_id}.txt", content)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _free_name(wanted: str, folder: str, used: set[str]) -> str:
    """Return the frame's own number where it has one that is free, or the next free one."""
    name = wanted
    if not re.fullmatch(r"\d{6}", name) or f"{folder}/{name}" in used:
        number = sum(1 for other in used if other.startswith(f"{folder}/"))
        while f"{folder}/{number:06d}" in used:
            number += 1
        name = f"{number:06d}"
    used.add(f"{folder}/{name}")
    return name
