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
    corners_3d_m = transform_points(invert(ego_from_camera), corners_3d(boxes_7).reshape(-1, 3))
    points, is_seen = _clip_to_front(corners_3d_m.reshape(-1, 8, 3))
    homogeneous = points @ camera_matrix.T
    pixels = homogeneous[..., :2] / np.where(is_seen, points[..., 2], 1.0)[..., None]
    low = np.where(is_seen[..., None], pixels, np.inf).min(axis=1, initial=np.inf)
    high = np.where(is_seen[..., None], pixels, -np.inf).max(axis=1, initial=-np.inf)
    last = np.array(image_size_px, dtype=np.float64) - 1.0
    inside = ((low <= last) & (high >= 0.0)).all(axis=1)
    out = np.concatenate([np.clip(low, 0.0, last), np.clip(high, 0.0, last)], axis=1)
    return np.where(inside[:, None], out, np.nan)


def project_edges(
    boxes_7: NDArray[np.float64],
    ego_from_camera: NDArray[np.float64],
    camera_matrix: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return (N, 12, 2, 2) pixels of both ends of the edges of 3D boxes.

    Edges that cross the image plane are cut before it; those wholly behind it are NaN. The first
    edge of a box is the lower one of its front.

    Args:
        boxes_7: (N, 7) boxes in the ego frame.
        ego_from_camera: (4, 4) pose of the camera.
        camera_matrix: (3, 3) pinhole matrix.
    """
    corners = transform_points(invert(ego_from_camera), corners_3d(boxes_7).reshape(-1, 3))
    ends = corners.reshape(-1, 8, 3)[:, _EDGES]
    near = 2.0 * MIN_DEPTH_M
    depth = ends[..., 2]
    along = np.where(depth[..., 1] == depth[..., 0], 1.0, depth[..., 1] - depth[..., 0])
    cut = ends[..., 0, :] + ((near - depth[..., 0]) / along)[..., None] * (
        ends[..., 1, :] - ends[..., 0, :]
    )
    behind = depth < near
    ends = np.where(behind[..., None], cut[..., None, :], ends)
    ends[behind.all(axis=-1)] = np.nan
    pixels = ends @ camera_matrix.T
    return np.asarray(pixels[..., :2] / pixels[..., 2:])


def _clip_to_front(
    corners: NDArray[np.floating],
) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    """Return (N, 20, 3) corners and cuts of edges with the near plane, and (N, 20) which exist."""
    near = 2.0 * MIN_DEPTH_M
    front = corners[..., 2] > near
    start, end = corners[:, _EDGES[:, 0]], corners[:, _EDGES[:, 1]]
    crosses = front[:, _EDGES[:, 0]] != front[:, _EDGES[:, 1]]
    depth = np.where(crosses, end[..., 2] - start[..., 2], 1.0)
    share = (near - start[..., 2]) / depth
    cuts = start + share[..., None] * (end - start)
    return np.concatenate([corners, cuts], axis=1), np.concatenate([front, crosses], axis=1)
