"""A file of one lidar cloud as KITTI writes it: four little-endian float32 per point."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from admlops.errors import DataError

BYTES_PER_POINT = 16
"""x y z intensity."""


def read_cloud(path: Path, lidar_height_m: float = 0.0) -> NDArray[np.float32]:
    """Return the (N, 4) points of a file, x y z intensity; N may be 0.

    Args:
        path: the file.
        lidar_height_m: added to z, for a cloud in the frame of a lidar at that height.

    Raises:
        DataError: the file cannot be read, or does not hold whole points.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: the cloud cannot be read ({error.strerror})") from error
    if len(data) % BYTES_PER_POINT:
        raise DataError(
            f"{path}: {len(data)} bytes are no whole number of points of {BYTES_PER_POINT} bytes "
            "(x y z intensity as float32); the file is truncated or of another format"
        )
    points = np.frombuffer(data, dtype="<f4").reshape(-1, 4).astype(np.float32)
    points[:, 2] += lidar_height_m
    return points
