"""Poses from KITTI's inertial and satellite navigation (OXTS), and back.

The global frame is east, north, up in metres of a Mercator map, its origin at the first row of a
drive. Source: KITTI raw data development kit, convertOxtsToPose.m and dataformat.txt.
"""

import numpy as np
from numpy.typing import NDArray

EARTH_RADIUS_M = 6_378_137.0
NUM_VALUES = 30
"""Values of a row: latitude, longitude, altitude, roll, pitch, yaw, velocities and so on."""

_LIMITS = {"latitude": 89.0, "longitude": 361.0, "altitude": 1e5}
"""Degrees, degrees and metres that no place on a map of the roads goes beyond."""


def parse_oxts(content: bytes) -> NDArray[np.float64]:
    """Return (N, 30) rows of a file.

    Raises:
        ValueError: a row is not thirty finite numbers, or names a place that is not on a map.
    """
    rows = []
    for number, line in enumerate(content.decode("ascii", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            values = [float(value) for value in line.split()]
        except ValueError:
            raise ValueError(f"line {number} holds something that is not a number") from None
        if len(values) != NUM_VALUES or not np.isfinite(values).all():
            raise ValueError(f"line {number} is not {NUM_VALUES} finite numbers")
        for (name, limit), value in zip(_LIMITS.items(), values, strict=False):
            if not abs(value) < limit:
                raise ValueError(f"line {number} has {name} {value:g}")
        rows.append(values)
    return np.array(rows, dtype=np.float64).reshape(-1, NUM_VALUES)


def poses_from_oxts(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (N, 4, 4) poses global_from_imu.

    Args:
        rows: latitude, longitude (degrees), altitude (metres), roll, pitch, yaw (radians), more.
    """
    poses = np.zeros((len(rows), 4, 4))
    if len(rows) == 0:
        return poses
    latitude_deg, longitude_deg, altitude_m = rows[:, 0], rows[:, 1], rows[:, 2]
    scale = np.cos(np.deg2rad(latitude_deg[0]))
    east_m = scale * EARTH_RADIUS_M * np.deg2rad(longitude_deg)
    north_m = scale * EARTH_RADIUS_M * np.log(np.tan(np.pi / 4 + np.deg2rad(latitude_deg) / 2))
    place_m = np.column_stack([east_m, north_m, altitude_m])
    poses[:, :3, 3] = place_m - place_m[0]
    poses[:, :3, :3] = _rotations(rows[:, 3], rows[:, 4], rows[:, 5])
    poses[:, 3, 3] = 1.0
    return poses


def oxts_from_poses(poses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (N, 30) rows of poses global_from_imu, around latitude and longitude zero.

    Velocities, accelerations and accuracies are zero: they are not known.
    """
    rows = np.zeros((len(poses), NUM_VALUES))
    if len(poses) == 0:
        return rows
    place_m, rotation = poses[:, :3, 3] - poses[0, :3, 3], poses[:, :3, :3]
    north = place_m[:, 1] / EARTH_RADIUS_M
    rows[:, 0] = np.rad2deg(2 * np.arctan(np.exp(north)) - np.pi / 2)
    rows[:, 1] = np.rad2deg(place_m[:, 0] / EARTH_RADIUS_M)
    rows[:, 2] = place_m[:, 2]
    rows[:, 3] = np.arctan2(rotation[:, 2, 1], rotation[:, 2, 2])
    rows[:, 4] = np.arcsin(np.clip(-rotation[:, 2, 0], -1.0, 1.0))
    rows[:, 5] = np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0])
    return rows


def _rotations(
    roll_rad: NDArray[np.float64], pitch_rad: NDArray[np.float64], yaw_rad: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (N, 3, 3) rotations about z, then y, then x."""
    cr, sr = np.cos(roll_rad), np.sin(roll_rad)
    cp, sp = np.cos(pitch_rad), np.sin(pitch_rad)
    cy, sy = np.cos(yaw_rad), np.sin(yaw_rad)
    rows = [
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ]
    return np.moveaxis(np.array(rows), 2, 0)
