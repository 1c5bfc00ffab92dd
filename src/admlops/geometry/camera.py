"""Pinhole projection. Camera axes: x right, y down, z forward."""

import numpy as np
from numpy.typing import NDArray

from admlops.geometry.boxes import corners_3d
from admlops.geometry.pose import invert, transform_points

MIN_DEPTH_M = 0.1


def project_points(
    points_m: NDArray[np.floating], camera_matrix: NDArray[np.float64]
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Project (N, 3) points in the camera frame.

    Returns:
        (N, 2) pixels and (N,) depths in metres. Pixels of points behind `MIN_DEPTH_M` are NaN.
    """
    depth_m = points_m[:, 2]
    safe = np.where(depth_m > MIN_DEPTH_M, depth_m, np.nan)
    homogeneous = points_m @ camera_matrix.T
    return homogeneous[:, :2] / safe[:, None], depth_m


_EDGES = np.array(
    [[0, 1], [1, 2], [2, 3], [3, 0], [4, 5], [5, 6], [6, 7], [7, 4], [0, 4], [1, 5], [2, 6], [3, 7]]
)


def project_boxes(
    boxes_7: NDArray[np.float64],
    ego_from_camera: NDArray[np.float64],
    camera_matrix: NDArray[np.float64],
    image_size_px: tuple[int, int],
) -> NDArray[np.float64]:
    """Return (N, 4) left top right bottom of 3D boxes in the image, clipped to it.

    Boxes that cross the image plane are cut there; rows of boxes that are not seen are NaN.

    Args:
        boxes_7: (N, 7) boxes in the ego frame.
        ego_from_camera: (4, 4) pose of the camera.
        camera_matrix: (3, 3) pinhole matrix.
        image_size_px: width and height.
    """
    out = np.full((len(boxes_7), 4), np.nan)
    if len(boxes_7) == 0:
        return out
    width, height = image_size_px
    corners = transform_points(invert(ego_from_camera), corners_3d(boxes_7).reshape(-1, 3))
    for index, corner in enumerate(corners.reshape(-1, 8, 3)):
        visible = _clip_to_front(corner)
        if len(visible) == 0:
            continue
        pixels, _ = project_points(visible, camera_matrix)
        low, high = pixels.min(axis=0), pixels.max(axis=0)
        if low[0] > width - 1 or low[1] > height - 1 or high[0] < 0 or high[1] < 0:
            continue
        out[index, :2] = np.clip(low, 0, [width - 1, height - 1])
        out[index, 2:] = np.clip(high, 0, [width - 1, height - 1])
    return out


def _clip_to_front(corners: NDArray[np.floating]) -> NDArray[np.floating]:
    near = 2.0 * MIN_DEPTH_M
    front = corners[:, 2] > near
    if front.all():
        return corners
    start, end = corners[_EDGES[:, 0]], corners[_EDGES[:, 1]]
    crosses = front[_EDGES[:, 0]] != front[_EDGES[:, 1]]
    start, end = start[crosses], end[crosses]
    share = (near - start[:, 2]) / (end[:, 2] - start[:, 2])
    return np.concatenate([corners[front], start + share[:, None] * (end - start)])
