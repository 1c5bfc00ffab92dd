"""The calibration files of a KITTI raw recording day.

Source: Geiger et al., "Vision meets robotics: the KITTI dataset", 2013, figure 3 and the raw data
development kit's readme.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from admlops.formats.kitti.calibration import EGO_FROM_RECTIFIED, KittiCalibration
from admlops.formats.reading import FrameReading
from admlops.geometry.pose import make_transform
from admlops.structures.frame import CalibratedSensor

_FILES = ("calib_cam_to_cam.txt", "calib_velo_to_cam.txt", "calib_imu_to_velo.txt")

USUAL_LIDAR = CalibratedSensor("lidar_top", "lidar", make_transform(np.eye(3), [-0.27, 0.0, 1.73]))
"""Where the car's drawing shows the lidar: above the road, behind the cameras, level."""
USUAL_CAMERA = CalibratedSensor("camera_front", "camera", EGO_FROM_RECTIFIED)
"""Where the drawing shows the left camera; nothing is known of its lens."""


def find_calibration(drive: Path) -> Path | None:
    """Return the folder, the drive or the day above it, that holds the calibration files."""
    for folder in (drive, drive.parent):
        if (folder / _FILES[0]).is_file() or (folder / _FILES[1]).is_file():
            return folder
    return None


def read_calibration(folder: Path, reading: FrameReading) -> KittiCalibration | None:
    """Return the calibration of a day, or None with a finding."""
    try:
        texts = [reading.bytes_of(folder / name) for name in _FILES]
        cameras, velodyne, imu = (_rows(text or b"") for text in texts)
        if any(text is None for text in texts):
            return None
        rows = {
            "P2": cameras["P_rect_02"],
            "P3": cameras["P_rect_03"],
            "R0_rect": cameras["R_rect_00"],
            "Tr_velo_to_cam": _rigid(velodyne),
            "Tr_imu_to_velo": _rigid(imu),
        }
        lines = (f"{name}: {' '.join(map(repr, row.tolist()))}" for name, row in rows.items())
        return KittiCalibration.parse("\n".join(lines).encode())
    except KeyError as error:
        reading.note("READ005", folder, f"no row {error} in the calibration files")
    except ValueError as error:
        reading.note("READ005", folder, str(error))
    return None


def _rows(content: bytes) -> dict[str, NDArray[np.float64]]:
    """Return the numeric rows of a file by name."""
    rows = {}
    for line in content.decode("ascii", errors="replace").splitlines():
        name, _, values = line.partition(":")
        try:
            rows[name.strip()] = np.array([float(value) for value in values.split()])
        except ValueError:
            continue  # such as the time of the calibration
    return rows


def _rigid(rows: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    rotation, translation_m = rows["R"], rows["T"]
    if rotation.size != 9 or translation_m.size != 3:
        raise ValueError(f"R has {rotation.size} values and T {translation_m.size}, not 9 and 3")
    return np.column_stack([rotation.reshape(3, 3), translation_m]).ravel()
