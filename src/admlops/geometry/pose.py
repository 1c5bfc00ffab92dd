"""Rigid transforms as 4 x 4 matrices, and quaternions in w x y z order.

Names cancel when read right to left: ``global_from_ego @ ego_from_lidar``.
"""

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray


def make_transform(rotation: ArrayLike, translation_m: ArrayLike) -> NDArray[np.float64]:
    """Return the (4, 4) transform with a (3, 3) rotation and a (3,) translation."""
    transform = np.eye(4)
    transform[:3, :3] = rotation
    transform[:3, 3] = translation_m
    return transform


def is_rotation(matrix: NDArray[np.float64], tolerance: float = 1e-3) -> bool:
    """Return whether a (3, 3) matrix turns and does nothing else; any numbers may be given."""
    if not np.abs(matrix).max() < 2.0:
        return False
    is_orthogonal = np.abs(matrix @ matrix.T - np.eye(3)).max() < tolerance
    return bool(is_orthogonal and np.linalg.det(matrix) > 0.0)


def invert(transform: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the inverse of a rigid (4, 4) transform, by transposition."""
    rotation = transform[:3, :3]
    return make_transform(rotation.T, -rotation.T @ transform[:3, 3])


def motion_between(
    global_from_one: NDArray[np.float64], global_from_other: NDArray[np.float64]
) -> tuple[float, float]:
    """Return the distance in metres and the angle in radians between two (4, 4) poses."""
    move_m = np.linalg.norm(global_from_other[:3, 3] - global_from_one[:3, 3])
    trace = (global_from_one[:3, :3] * global_from_other[:3, :3]).sum()
    return float(move_m), float(np.arccos(np.clip((trace - 1.0) / 2.0, -1.0, 1.0)))


def transform_points(
    target_from_source: NDArray[np.float64], points_m: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Return (N, 3) points moved from the source to the target frame, in the points' dtype."""
    matrix = target_from_source.astype(points_m.dtype, copy=False)
    return points_m @ matrix[:3, :3].T + matrix[:3, 3]


def transform_cloud(
    target_from_source: NDArray[np.float64], points: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return (N, 4) float32 points moved from the source to the target frame, intensity kept.

    A plain loop: a threaded matrix product of so narrow matrices takes up to ten times as long on
    a machine that is busy with something else.
    """
    matrix = np.ascontiguousarray(target_from_source[:3], dtype=np.float32)
    return _transform_cloud(matrix, np.ascontiguousarray(points, dtype=np.float32))


@njit(cache=True, nogil=True)
def _transform_cloud(
    matrix: NDArray[np.float32], points: NDArray[np.float32]
) -> NDArray[np.float32]:
    out = np.empty_like(points)
    for index in range(len(points)):
        x, y, z = points[index, 0], points[index, 1], points[index, 2]
        for axis in range(3):
            row = matrix[axis]
            out[index, axis] = row[0] * x + row[1] * y + row[2] * z + row[3]
        out[index, 3] = points[index, 3]
    return out


def rotation_about_z(yaw_rad: float) -> NDArray[np.float64]:
    """Return the (3, 3) rotation by `yaw_rad`, counter-clockwise about z."""
    cosine, sine = np.cos(yaw_rad), np.sin(yaw_rad)
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def wrap_angle(angle_rad: ArrayLike) -> NDArray[np.float64]:
    """Return angles in [-pi, pi)."""
    angle = np.asarray(angle_rad, dtype=np.float64)
    return (angle + np.pi) % (2.0 * np.pi) - np.pi


def quaternion_from_rotation(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the unit quaternion w x y z, w >= 0, of a (3, 3) rotation.

    Source: Shepperd, "Quaternion from rotation matrix", 1978: the largest of the four
    squared components is computed first, so that no division is by a small number.
    """
    m = rotation
    trace = np.trace(m)
    squares = np.array([trace, m[0, 0], m[1, 1], m[2, 2]])
    largest = int(np.argmax(squares))
    if largest == 0:
        q = np.array([1 + trace, m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]])
    else:
        i = largest - 1
        j, k = (i + 1) % 3, (i + 2) % 3
        q = np.empty(4)
        q[0] = m[k, j] - m[j, k]
        q[1 + i] = 1 + m[i, i] - m[j, j] - m[k, k]
        q[1 + j] = m[j, i] + m[i, j]
        q[1 + k] = m[k, i] + m[i, k]
    q /= np.linalg.norm(q)
    return q if q[0] >= 0 else -q


def rotation_from_quaternion(quaternion_wxyz: ArrayLike) -> NDArray[np.float64]:
    """Return the (3, 3) rotation of a quaternion w x y z of any length."""
    w, x, y, z = np.asarray(quaternion_wxyz, dtype=np.float64) / np.linalg.norm(quaternion_wxyz)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def quaternions_about(axis: int, angle_rad: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (N, 4) quaternions w x y z of turns by (N,) angles about x (0), y (1) or z (2)."""
    quaternions = np.zeros((len(angle_rad), 4))
    quaternions[:, 0] = np.cos(angle_rad / 2.0)
    quaternions[:, 1 + axis] = np.sin(angle_rad / 2.0)
    return quaternions


def multiply_quaternions(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the (N, 4) Hamilton products of (N, 4) or (1, 4) quaternions w x y z."""
    w, x, y, z = np.moveaxis(first, 1, 0)
    a, b, c, d = np.moveaxis(second, 1, 0)
    rows = [
        w * a - x * b - y * c - z * d,
        w * b + x * a + y * d - z * c,
        w * c - x * d + y * a + z * b,
        w * d + x * c - y * b + z * a,
    ]
    return np.column_stack(rows)


def conjugate_quaternions(quaternions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the (N, 4) opposite turns of quaternions w x y z of length one."""
    return quaternions * np.array([1.0, -1.0, -1.0, -1.0])


def rotate_by_quaternions(
    quaternions: NDArray[np.float64], vectors: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (N, 3) vectors, each turned by its quaternion w x y z of length one, or all by one.

    Args:
        quaternions: (N, 4) or (1, 4).
        vectors: (N, 3) or (1, 3).
    """
    axis = quaternions[:, 1:]
    twice = 2.0 * np.cross(axis, vectors)
    turned: NDArray[np.float64] = vectors + quaternions[:, :1] * twice + np.cross(axis, twice)
    return turned
