"""Range images: what a spinning lidar measured, by beam and azimuth, turned into points.

A row is a beam, the highest first; a column is an azimuth, from behind the vehicle clockwise as
seen from above. The roof lidar's image comes with the vehicle's pose at every pixel, by which its
points are moved to the time of the frame's pose (motion compensation); the others' are so already.
Source: waymo_open_dataset/utils/range_image_utils.py and dataset.proto.
"""

import math
import zlib
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from admlops.formats.waymo.wire import BrokenMessageError, Message

MAX_MATRIX_BYTES = 1 << 26
"""Of an unpacked matrix; the roof lidar's poses have 4 MB."""
RANGE, INTENSITY, ELONGATION, NO_LABEL_ZONE = range(4)
"""Channels of a range image; elongation is not kept."""
_NUM_CHANNELS, _NUM_POSE_CHANNELS = 4, 6
_MATRIX_DATA, _MATRIX_SHAPE, _SHAPE_DIMS = 1, 2, 1


@dataclass(frozen=True, slots=True)
class LidarCalibration:
    """Beams and place of one lidar.

    Attributes:
        inclination_rad: (H,) float64 of the beams, the lowest first; empty where they are spread
            evenly between the limits.
        limits_rad: lowest and highest inclination.
        ego_from_lidar: (4, 4) float64.
    """

    inclination_rad: NDArray[np.float64]
    limits_rad: tuple[float, float]
    ego_from_lidar: NDArray[np.float64]

    def rows_rad(self, height: int) -> NDArray[np.float64]:
        """Return (H,) inclinations of the rows of an image, the highest first.

        Raises:
            BrokenMessageError: the image has another number of rows than there are beams.
        """
        if len(self.inclination_rad) == 0:
            low, high = self.limits_rad
            return ((np.arange(height) + 0.5) / height * (high - low) + low)[::-1]
        if len(self.inclination_rad) != height:
            beams = len(self.inclination_rad)
            raise BrokenMessageError(f"a range image of {height} rows, but {beams} beams")
        return self.inclination_rad[::-1]

    def columns_rad(self, width: int) -> NDArray[np.float64]:
        """Return (W,) azimuths of the columns of an image in the lidar's frame."""
        share = (np.arange(width, 0, -1) - 0.5) / width
        turn = math.atan2(self.ego_from_lidar[1, 0], self.ego_from_lidar[0, 0])
        return (2.0 * share - 1.0) * np.pi - turn


def unpack_matrix(packed: memoryview, num_channels: int) -> NDArray[np.float32]:
    """Return the (H, W, C) float32 of a compressed MatrixFloat.

    Raises:
        BrokenMessageError: it is damaged, of another shape, or larger than any lidar's.
    """
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(packed, MAX_MATRIX_BYTES)
    except zlib.error as error:
        raise BrokenMessageError(f"a range image cannot be unpacked ({error})") from None
    if not unpacker.eof:
        raise BrokenMessageError(f"a range image is cut, or has over {MAX_MATRIX_BYTES} bytes")
    matrix = Message(content)
    dims = matrix.message(_MATRIX_SHAPE).integers(_SHAPE_DIMS)
    data = matrix.floats(_MATRIX_DATA)
    is_shape = len(dims) == 3 and min(dims) > 0 and dims[2] == num_channels
    if not is_shape or math.prod(dims) != len(data):
        shape = " x ".join(map(str, dims[:4]))
        raise BrokenMessageError(
            f"{len(data)} numbers as {shape}, expected {num_channels} channels"
        )
    return data.reshape(dims)


def points_of(
    packed_image: memoryview,
    packed_poses: memoryview,
    calibration: LidarCalibration,
    global_from_ego: NDArray[np.float64],
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the points of a range image in the ego frame at the frame's pose.

    Args:
        packed_image: range, intensity, elongation and whether in a no-label zone, by pixel.
        packed_poses: roll, pitch, yaw, x, y, z of the vehicle in the global frame, by pixel;
            empty where the image is of the frame's own pose.
        calibration: of the lidar.
        global_from_ego: (4, 4) the frame's pose.

    Returns:
        (N, 4) x y z and the intensity as it was measured, and (N,) which lie in a no-label zone.

    Raises:
        BrokenMessageError: a matrix cannot be read, or is of another shape.
    """
    image = unpack_matrix(packed_image, _NUM_CHANNELS)
    height, width = image.shape[:2]
    poses = np.empty((0, 0, _NUM_POSE_CHANNELS), dtype=np.float32)
    if len(packed_poses):
        poses = unpack_matrix(packed_poses, _NUM_POSE_CHANNELS)
        if poses.shape[:2] != (height, width):
            raise BrokenMessageError(
                f"poses of {poses.shape[:2]} pixels, image of {image.shape[:2]}"
            )
    points = _locate(
        image,
        poses,
        np.ascontiguousarray(calibration.rows_rad(height)),
        calibration.columns_rad(width),
        np.ascontiguousarray(calibration.ego_from_lidar),
        np.ascontiguousarray(np.linalg.inv(global_from_ego)),
    )
    is_return = ~(image[..., RANGE] <= 0)  # what is not a number stays, and is refused later
    return points, image[..., NO_LABEL_ZONE][is_return] > 0


@njit(cache=True, nogil=True)
def _locate(image, poses, rows_rad, columns_rad, ego_from_lidar, ego_from_global):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Return (N, 4) float32 x y z intensity of the pixels with a return, row by row."""
    height, width = image.shape[:2]
    points = np.empty((height * width, 4), dtype=np.float32)
    count = 0
    for row in range(height):
        cos_up, sin_up = math.cos(rows_rad[row]), math.sin(rows_rad[row])
        for column in range(width):
            range_m = np.float64(image[row, column, 0])
            if range_m <= 0.0:
                continue
            x = math.cos(columns_rad[column]) * cos_up * range_m
            y = math.sin(columns_rad[column]) * cos_up * range_m
            z = sin_up * range_m
            x, y, z = _move(ego_from_lidar, x, y, z)
            if poses.size:
                x, y, z = _to_global(poses[row, column], x, y, z)
                x, y, z = _move(ego_from_global, x, y, z)
            points[count, 0], points[count, 1], points[count, 2] = x, y, z
            points[count, 3] = image[row, column, 1]
            count += 1
    return points[:count].copy()


@njit(cache=True, nogil=True, inline="always")
def _move(transform, x, y, z):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    return (
        transform[0, 0] * x + transform[0, 1] * y + transform[0, 2] * z + transform[0, 3],
        transform[1, 0] * x + transform[1, 1] * y + transform[1, 2] * z + transform[1, 3],
        transform[2, 0] * x + transform[2, 1] * y + transform[2, 2] * z + transform[2, 3],
    )


@njit(cache=True, nogil=True)
def _to_global(pose, x, y, z):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Turn about x (roll), then y (pitch), then z (yaw), and shift."""
    roll, pitch, yaw = np.float64(pose[0]), np.float64(pose[1]), np.float64(pose[2])
    cosine, sine = math.cos(roll), math.sin(roll)
    y, z = cosine * y - sine * z, sine * y + cosine * z
    cosine, sine = math.cos(pitch), math.sin(pitch)
    x, z = cosine * x + sine * z, -sine * x + cosine * z
    cosine, sine = math.cos(yaw), math.sin(yaw)
    x, y = cosine * x - sine * y, sine * x + cosine * y
    return x + np.float64(pose[3]), y + np.float64(pose[4]), z + np.float64(pose[5])
