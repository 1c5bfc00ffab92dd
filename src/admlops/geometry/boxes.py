"""Box geometry: corners, overlaps, suppression, points inside.

A box is a row of seven numbers: centre x y z, length, width, height (metres), yaw (radians).
Inputs of other dtypes are converted; every function takes empty arrays.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

_SIGNS = np.array(
    [
        [1, 1, -1],
        [1, -1, -1],
        [-1, -1, -1],
        [-1, 1, -1],
        [1, 1, 1],
        [1, -1, 1],
        [-1, -1, 1],
        [-1, 1, 1],
    ],
    dtype=np.float64,
)


def corners_bev(boxes_7: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return (N, 4, 2) corners on the ground: front left, front right, rear right, rear left."""
    return corners_3d(boxes_7)[:, :4, :2]


def corners_3d(boxes_7: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return (N, 8, 3) corners: bottom front left, front right, rear right, rear left, then top."""
    boxes = np.asarray(boxes_7, dtype=np.float64).reshape(-1, 7)
    local = _SIGNS[None] * boxes[:, None, 3:6] / 2.0
    cosine, sine = np.cos(boxes[:, 6])[:, None], np.sin(boxes[:, 6])[:, None]
    x = local[..., 0] * cosine - local[..., 1] * sine
    y = local[..., 0] * sine + local[..., 1] * cosine
    return np.stack([x, y, local[..., 2]], axis=-1) + boxes[:, None, :3]


def iou_bev(first_7: NDArray[np.floating], second_7: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return (N, M) intersection over union of the rotated ground rectangles."""
    return _pairwise(_as_rows(first_7), _as_rows(second_7), False)


def iou_3d(first_7: NDArray[np.floating], second_7: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return (N, M) intersection over union of the volumes."""
    return _pairwise(_as_rows(first_7), _as_rows(second_7), True)


def nms_bev(
    boxes_7: NDArray[np.floating],
    scores: NDArray[np.floating],
    iou_threshold: float,
    max_boxes: int,
) -> NDArray[np.int64]:
    """Return the indices that greedy suppression keeps, best score first; ties keep input order."""
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
    return _suppress(_as_rows(boxes_7), order, iou_threshold, max_boxes)


def points_in_boxes(
    points: NDArray[np.floating], boxes_7: NDArray[np.floating]
) -> NDArray[np.bool_]:
    """Return (N boxes, P points): whether each (P, >= 3) point is inside, borders included."""
    return _inside(np.ascontiguousarray(points[:, :3].T, dtype=np.float32), _as_rows(boxes_7))


def count_points_in_boxes(
    points: NDArray[np.floating], boxes_7: NDArray[np.floating]
) -> NDArray[np.int64]:
    """Return (N,) numbers of the (P, >= 3) points that lie inside each box (borders count)."""
    return _count_inside(np.ascontiguousarray(points[:, :3].T, dtype=np.float32), _as_rows(boxes_7))


def _as_rows(boxes_7: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.ascontiguousarray(boxes_7, dtype=np.float64).reshape(-1, 7)


@njit(cache=True, inline="always")
def are_apart(first: NDArray[np.float64], second: NDArray[np.float64]) -> bool:
    """Whether the circles around two ground rectangles share nothing, told without a root.

    2 (a^2 + b^2) >= (a + b)^2, so that boxes near each other may be told together, never apart.
    """
    dx, dy = second[0] - first[0], second[1] - first[1]
    diagonals = first[3] ** 2 + first[4] ** 2 + second[3] ** 2 + second[4] ** 2
    return 2.0 * (dx * dx + dy * dy) > diagonals


@njit(cache=True)
def intersection_area(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return the area shared by two ground rectangles (rows of seven numbers).

    The second is clipped by the four half-planes of the first, in the first's own axes.
    Source: Sutherland and Hodgman, "Reentrant polygon clipping", 1974.
    """
    if are_apart(first, second):
        return 0.0
    dx, dy = second[0] - first[0], second[1] - first[1]
    cosine, sine = math.cos(first[6]), math.sin(first[6])
    centre_x, centre_y = dx * cosine + dy * sine, dy * cosine - dx * sine
    turn = second[6] - first[6]
    cos_t, sin_t = math.cos(turn), math.sin(turn)
    polygon = np.empty((16, 2))
    clipped = np.empty((16, 2))
    for corner in range(4):
        sign_l = 0.5 if corner == 0 or corner == 3 else -0.5
        sign_w = 0.5 if corner < 2 else -0.5
        along, across = sign_l * second[3], sign_w * second[4]
        polygon[corner, 0] = centre_x + along * cos_t - across * sin_t
        polygon[corner, 1] = centre_y + along * sin_t + across * cos_t
    count = 4
    for side in range(4):
        axis = side // 2
        sign = 1.0 if side % 2 == 0 else -1.0
        limit = 0.5 * first[3 + axis]
        kept = 0
        for index in range(count):
            following = index + 1 if index + 1 < count else 0
            here = limit - sign * polygon[index, axis]
            there = limit - sign * polygon[following, axis]
            if here >= 0.0:
                clipped[kept] = polygon[index]
                kept += 1
            if (here > 0.0 and there < 0.0) or (here < 0.0 and there > 0.0):
                share = here / (here - there)
                clipped[kept, 0] = polygon[index, 0] + share * (
                    polygon[following, 0] - polygon[index, 0]
                )
                clipped[kept, 1] = polygon[index, 1] + share * (
                    polygon[following, 1] - polygon[index, 1]
                )
                kept += 1
        polygon, clipped = clipped, polygon
        count = kept
        if count == 0:
            return 0.0
    area = 0.0
    for index in range(count):
        following = index + 1 if index + 1 < count else 0
        area += (
            polygon[index, 0] * polygon[following, 1] - polygon[following, 0] * polygon[index, 1]
        )
    return 0.5 * abs(area)


@njit(cache=True)
def overlap(first: NDArray[np.float64], second: NDArray[np.float64], with_height: bool) -> float:
    """Return the intersection over union of two rows, on the ground or in space."""
    shared = intersection_area(first, second)
    if shared <= 0.0:
        return 0.0
    size_first, size_second = first[3] * first[4], second[3] * second[4]
    if with_height:
        top = min(first[2] + first[5] / 2, second[2] + second[5] / 2)
        bottom = max(first[2] - first[5] / 2, second[2] - second[5] / 2)
        shared *= max(top - bottom, 0.0)
        size_first *= first[5]
        size_second *= second[5]
    union = size_first + size_second - shared
    return shared / union if union > 0.0 else 0.0


@njit(cache=True)
def _pairwise(
    first: NDArray[np.float64], second: NDArray[np.float64], with_height: bool
) -> NDArray[np.float64]:
    result = np.zeros((len(first), len(second)))
    for row in range(len(first)):
        for column in range(len(second)):
            if are_apart(first[row], second[column]):
                continue
            result[row, column] = overlap(first[row], second[column], with_height)
    return result


@njit(cache=True)
def _suppress(
    boxes: NDArray[np.float64], order: NDArray[np.int64], iou_threshold: float, max_boxes: int
) -> NDArray[np.int64]:
    kept = np.empty(min(len(order), max_boxes), dtype=np.int64)
    count = 0
    for candidate in order:
        if count >= max_boxes:
            break
        free = True
        for index in range(count):
            other = kept[index]
            if are_apart(boxes[other], boxes[candidate]):
                continue
            if overlap(boxes[other], boxes[candidate], False) > iou_threshold:
                free = False
                break
        if free:
            kept[count] = candidate
            count += 1
    return kept[:count]


@njit(cache=True, error_model="numpy")
def _mark_inside(
    points_3p: NDArray[np.float32], box: NDArray[np.float64], inside: NDArray[np.bool_]
) -> None:
    """Write into (P,) whether each point lies in a box; straight-line code, so that it is SIMD."""
    x, y, z = points_3p[0], points_3p[1], points_3p[2]
    cosine, sine = math.cos(box[6]), math.sin(box[6])
    for index in range(len(x)):
        dx, dy = x[index] - box[0], y[index] - box[1]
        inside[index] = (
            (abs(z[index] - box[2]) <= 0.5 * box[5])
            & (abs(dx * cosine + dy * sine) <= 0.5 * box[3])
            & (abs(dy * cosine - dx * sine) <= 0.5 * box[4])
        )


@njit(cache=True)
def _inside(points_3p: NDArray[np.float32], boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    result = np.empty((len(boxes), points_3p.shape[1]), dtype=np.bool_)
    for row in range(len(boxes)):
        _mark_inside(points_3p, boxes[row], result[row])
    return result


@njit(cache=True)
def _count_inside(points_3p: NDArray[np.float32], boxes: NDArray[np.float64]) -> NDArray[np.int64]:
    inside = np.empty(points_3p.shape[1], dtype=np.bool_)
    result = np.empty(len(boxes), dtype=np.int64)
    for row in range(len(boxes)):
        _mark_inside(points_3p, boxes[row], inside)
        result[row] = inside.sum()
    return result
