"""Boxes as numbers that a network can learn.

Against anchors: offsets in units of the anchor's diagonal and height, logarithms of size ratios
and the difference of yaw (Yan et al., "SECOND", Sensors 2018, eq. 1). For centres: the offset in
the cell, height, logarithms of sizes and sine and cosine of the yaw (CenterPoint, section 4).
"""

import numpy as np
from numpy.typing import NDArray

from admlops.geometry.pose import wrap_angle

MAX_LOG_RATIO = 4.0
"""Logarithms of sizes are clipped here when decoded, so that no output gives an infinite box."""


def encode_residuals(
    boxes_7: NDArray[np.floating], anchors_7: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return (N, 7) residuals of boxes against anchors of the same rows; the yaw is wrapped."""
    boxes = np.asarray(boxes_7, dtype=np.float64)
    anchors = np.asarray(anchors_7, dtype=np.float64)
    diagonal = np.hypot(anchors[:, 3], anchors[:, 4])[:, None]
    return np.column_stack(
        [
            (boxes[:, :2] - anchors[:, :2]) / diagonal,
            (boxes[:, 2] - anchors[:, 2]) / anchors[:, 5],
            np.log(boxes[:, 3:6] / anchors[:, 3:6]),
            wrap_angle(boxes[:, 6] - anchors[:, 6]),
        ]
    )


def decode_residuals(
    residuals: NDArray[np.floating], anchors_7: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return the (N, 7) boxes of residuals; the inverse of `encode_residuals`, yaw wrapped."""
    codes = np.asarray(residuals, dtype=np.float64)
    anchors = np.asarray(anchors_7, dtype=np.float64)
    diagonal = np.hypot(anchors[:, 3], anchors[:, 4])[:, None]
    return np.column_stack(
        [
            anchors[:, :2] + codes[:, :2] * diagonal,
            anchors[:, 2] + codes[:, 2] * anchors[:, 5],
            anchors[:, 3:6] * np.exp(np.clip(codes[:, 3:6], -MAX_LOG_RATIO, MAX_LOG_RATIO)),
            wrap_angle(codes[:, 6] + anchors[:, 6]),
        ]
    )


def direction_bin(yaw_rad: NDArray[np.floating], offset_rad: float) -> NDArray[np.int64]:
    """Return (N,) 0 where the yaw lies in [offset, offset + pi), else 1."""
    turned = np.mod(np.asarray(yaw_rad, dtype=np.float64) - offset_rad, 2.0 * np.pi)
    return (turned >= np.pi).astype(np.int64)


def apply_direction(
    yaw_rad: NDArray[np.floating], bins: NDArray[np.integer], offset_rad: float
) -> NDArray[np.float64]:
    """Return the yaws, turned by pi where needed to lie in their direction bin, wrapped."""
    half = np.mod(np.asarray(yaw_rad, dtype=np.float64) - offset_rad, np.pi) + offset_rad
    return wrap_angle(half + np.pi * np.asarray(bins))


def encode_centers(
    boxes_7: NDArray[np.floating], cell_xy: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return (N, 8) dx dy z log-length log-width log-height sin cos.

    Args:
        boxes_7: (N, 7) boxes.
        cell_xy: (N, 4) each box's centre in units of cells (x, y), then its cell's column and row.
    """
    boxes = np.asarray(boxes_7, dtype=np.float64)
    return np.column_stack(
        [
            cell_xy[:, :2] - cell_xy[:, 2:],
            boxes[:, 2],
            np.log(boxes[:, 3:6]),
            np.sin(boxes[:, 6]),
            np.cos(boxes[:, 6]),
        ]
    )
