"""One pass over a cloud: to the ego frame, crop, move objects, clear places, transform.

Every stage of an augmenting loader would read and write the whole cloud; here each point is
touched once.
"""

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from admlops.geometry.pose import wrap_angle


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the whole scene: mirror y, turn about z, scale, then shift.

    Attributes:
        flip: whether y changes its sign first.
        rotation_rad: counter-clockwise turn.
        scale: factor.
        shift_m: (3,) float64.
    """

    flip: bool
    rotation_rad: float
    scale: float
    shift_m: NDArray[np.float64]

    @classmethod
    def none(cls) -> "Change":
        """Return the change that changes nothing."""
        return cls(False, 0.0, 1.0, np.zeros(3))

    def matrix(self) -> NDArray[np.float64]:
        """Return (3, 4): the linear part and the shift."""
        cosine, sine = math.cos(self.rotation_rad), math.sin(self.rotation_rad)
        side = -1.0 if self.flip else 1.0
        linear = np.array([[cosine, -sine * side, 0], [sine, cosine * side, 0], [0, 0, 1.0]])
        return np.column_stack([linear * self.scale, self.shift_m])

    def apply_to_boxes(self, boxes_7: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the (N, 7) boxes in the changed scene."""
        matrix = self.matrix()
        yaw = -boxes_7[:, 6] if self.flip else boxes_7[:, 6]
        return np.column_stack(
            [
                boxes_7[:, :3] @ matrix[:, :3].T + matrix[:, 3],
                boxes_7[:, 3:6] * self.scale,
                wrap_angle(yaw + self.rotation_rad),
            ]
        )


@dataclass(frozen=True, slots=True)
class Objects:
    """Boxes whose points are treated apart, before the scene changes.

    Attributes:
        boxes_7: (N, 7) float64 where the points are now.
        moved_7: (N, 7) float64 where they go; sizes are equal. A first value of NaN clears them.
    """

    boxes_7: NDArray[np.float64]
    moved_7: NDArray[np.float64]

    @classmethod
    def none(cls) -> "Objects":
        """Return no objects."""
        return cls(np.empty((0, 7)), np.empty((0, 7)))


def compose(
    points: NDArray[np.float32],
    ego_from_sensor: NDArray[np.float32],
    view: NDArray[np.float32],
    objects: Objects,
    pasted_points: NDArray[np.float32],
    change: Change,
) -> NDArray[np.float32]:
    """Return the (M, 4) cloud in the ego frame after all changes.

    Points that are not finite or not in view are dropped. A point is treated with the first object
    that holds it.

    Args:
        points: (N, 4) x y z in the sensor frame, intensity.
        ego_from_sensor: (3, 4).
        view: see `RawFrame.view`.
        objects: boxes in the ego frame that move or are cleared.
        pasted_points: (Q, 4) points in the ego frame that are added, before the change.
        change: what happens to all of it.
    """
    out = np.empty((len(points) + len(pasted_points), 4), dtype=np.float32)
    matrix = change.matrix().astype(np.float32)
    moves = _moves(objects)
    count = _compose_scene(points, ego_from_sensor, view, moves, matrix, out)
    _paste(pasted_points, matrix, out, count)
    return out[: count + len(pasted_points)]


def _moves(objects: Objects) -> NDArray[np.float32]:
    """Return (N, 15) float32 rows that the compiled loop reads.

    x y z, half sizes, cosine and sine of the yaw, squared radius on the ground, new x y z (NaN:
    clear), cosine and sine of the turn, and a spare column.
    """
    old, new = objects.boxes_7, objects.moved_7
    turn = new[:, 6] - old[:, 6]
    return np.column_stack(
        [
            old[:, :3],
            old[:, 3:6] / 2,
            np.cos(old[:, 6]),
            np.sin(old[:, 6]),
            (old[:, 3] ** 2 + old[:, 4] ** 2) / 4,
            new[:, :3],
            np.cos(turn),
            np.sin(turn),
            np.zeros(len(old)),
        ]
    ).astype(np.float32)


@njit(cache=True, nogil=True, error_model="numpy")
def _in_view(x: float, y: float, z: float, view: NDArray[np.float32]) -> bool:
    if view[12] == 0.0:
        return True
    depth = view[8] * x + view[9] * y + view[10] * z + view[11]
    if not depth > 0.0:
        return False
    column = view[0] * x + view[1] * y + view[2] * z + view[3]
    row = view[4] * x + view[5] * y + view[6] * z + view[7]
    return column >= 0.0 and row >= 0.0 and column < view[12] * depth and row < view[13] * depth


@njit(cache=True, nogil=True)
def _holder(x: float, y: float, z: float, moves: NDArray[np.float32]) -> int:
    """Return the first object that holds a point, or -1."""
    for index in range(len(moves)):
        dx, dy = x - moves[index, 0], y - moves[index, 1]
        if dx * dx + dy * dy > moves[index, 8] or abs(z - moves[index, 2]) > moves[index, 5]:
            continue
        along = dx * moves[index, 6] + dy * moves[index, 7]
        across = dy * moves[index, 6] - dx * moves[index, 7]
        if abs(along) <= moves[index, 3] and abs(across) <= moves[index, 4]:
            return index
    return -1


@njit(cache=True, nogil=True)
def _compose_scene(
    points: NDArray[np.float32],
    pose: NDArray[np.float32],
    view: NDArray[np.float32],
    moves: NDArray[np.float32],
    matrix: NDArray[np.float32],
    out: NDArray[np.float32],
) -> int:
    count = 0
    for index in range(len(points)):
        a, b, c = points[index, 0], points[index, 1], points[index, 2]
        intensity = points[index, 3]
        total = a + b + c + intensity
        if total - total != 0:  # only NaN and infinity differ from themselves so
            continue
        x = pose[0, 0] * a + pose[0, 1] * b + pose[0, 2] * c + pose[0, 3]
        y = pose[1, 0] * a + pose[1, 1] * b + pose[1, 2] * c + pose[1, 3]
        z = pose[2, 0] * a + pose[2, 1] * b + pose[2, 2] * c + pose[2, 3]
        if not _in_view(x, y, z, view):
            continue
        holder = _holder(x, y, z, moves)
        if holder >= 0:
            move = moves[holder]
            if move[9] != move[9]:
                continue
            dx, dy = x - move[0], y - move[1]
            x = move[9] + dx * move[12] - dy * move[13]
            y = move[10] + dx * move[13] + dy * move[12]
            z = move[11] + z - move[2]
        out[count, 0] = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 3]
        out[count, 1] = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 3]
        out[count, 2] = matrix[2, 2] * z + matrix[2, 3]
        out[count, 3] = intensity
        count += 1
    return count


@njit(cache=True, nogil=True)
def _paste(
    points: NDArray[np.float32], matrix: NDArray[np.float32], out: NDArray[np.float32], start: int
) -> None:
    for index in range(len(points)):
        x, y = points[index, 0], points[index, 1]
        out[start + index, 0] = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 3]
        out[start + index, 1] = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 3]
        out[start + index, 2] = matrix[2, 2] * points[index, 2] + matrix[2, 3]
        out[start + index, 3] = points[index, 3]
