"""How well edges that a lidar sees lie on edges that a camera sees.

Source: Levinson and Thrun, "Automatic online calibration of cameras and lasers", RSS 2013: the
sum over lidar points at depth discontinuities, weighted by the root of the discontinuity, of an
inverse distance transform of the image's edges. It is greatest at the true calibration.

Two things differ, since a frame must suffice where the paper has a drive: an edge is measured
against the edges around it, so that foliage does not outweigh the outline of a car, and it reaches
ten pixels instead of fifty. On the six KITTI frames of the tests the yaw of every single frame is
then found within 0.25 degrees; with the paper's own form, of four.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from admlops.geometry.camera import project_points
from admlops.geometry.pose import invert, transform_points
from admlops.likeness.thumbnails import decode_gray
from admlops.structures.frame import CameraImage, LidarSweep

_OWN_SHARE = 1.0 / 3.0
"""Weight of a pixel's own edge against those near it (alpha of the paper)."""
_DECAY = 0.9
"""By how much an edge counts less per pixel of distance (gamma of the paper, there 0.98)."""
_SURROUNDING_PX = 40
"""An edge is divided by the mean of the edges so far around it."""
_NO_EDGE = 2.0
_MAX_EDGE = 6.0
_MAX_WEIGHT = 3.0
_MIN_STEP_M = 0.5
_MAX_RANGE_M = 60.0
_CELL_RAD = np.radians((0.4, 0.2))
"""Size of a cell of the range image: elevation and azimuth."""
_REACH_CELLS = 3


@dataclass(frozen=True, slots=True)
class EdgeView:
    """One camera and the lidar edges that it may see.

    Attributes:
        nearness: (H, W) float32, how near each pixel is to edges of the image.
        points_m: (N, 3) lidar edges in the camera frame, by the calibration as given.
        weights: (N,) root of the depth discontinuity in metres, 3 at most.
        camera_matrix: (3, 3) at the size of `nearness`.
    """

    nearness: NDArray[np.float32]
    points_m: NDArray[np.float64]
    weights: NDArray[np.float64]
    camera_matrix: NDArray[np.float64]


def edge_view(sweep: LidarSweep, image: CameraImage, max_width_px: int = 1280) -> EdgeView:
    """Return what is compared of a sweep and an image.

    Args:
        sweep: the points.
        image: of a camera without distortion.
        max_width_px: images are reduced to it.

    Raises:
        DataError: the image cannot be decoded.
        ValueError: the camera has no matrix.
    """
    if image.sensor.camera_matrix is None:
        raise ValueError(f"{image.sensor.name} has no camera matrix")
    gray = decode_gray(image.encoded, max_width_px)
    scale = gray.shape[1] / image.width_px
    matrix = np.diag([scale, scale, 1.0]) @ image.sensor.camera_matrix
    edges_m, weights = lidar_edges(sweep.points)
    camera_from_lidar = invert(image.sensor.ego_from_sensor) @ sweep.sensor.ego_from_sensor
    points_m = np.asarray(transform_points(camera_from_lidar, edges_m), dtype=np.float64)
    front = points_m[:, 2] > 1.0
    nearness = spread_edges(outstanding(image_edges(gray)))
    return EdgeView(nearness, points_m[front], weights[front], matrix)


def alignment(view: EdgeView, rotation: NDArray[np.float64]) -> float:
    """Return the weighted mean nearness of lidar edges to image edges; NaN if none is in view.

    Args:
        view: the camera and the edges.
        rotation: (3, 3) correction that is applied to the points in the camera frame.
    """
    pixels, _ = project_points(view.points_m @ rotation.T, view.camera_matrix)
    height, width = view.nearness.shape
    with np.errstate(invalid="ignore"):
        inside = ((pixels >= 0) & (pixels < (width - 1, height - 1))).all(axis=1)
    if not inside.any():
        return float("nan")
    columns, rows = pixels[inside].round().astype(np.int64).T
    weights = view.weights[inside]
    return float((view.nearness[rows, columns] * weights).sum() / weights.sum())


def lidar_edges(points: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (M, 3) points in front of something farther beside them, and (M,) weights.

    Points are sorted into a range image of 0.4 x 0.2 degrees; a point is an edge if what was
    measured next to it, to the left or right and within three cells, is farther by half a metre.
    Where nothing was measured so near, nothing is known.

    Args:
        points: (N, 4) float32 in the sensor frame.
    """
    xyz = points[:, :3].astype(np.float64)
    ground_m = np.hypot(xyz[:, 0], xyz[:, 1])
    range_m = np.hypot(ground_m, xyz[:, 2])
    near = (range_m > 1.0) & (range_m < _MAX_RANGE_M)
    xyz, ground_m, range_m = xyz[near], ground_m[near], range_m[near]
    row = np.floor(np.arctan2(xyz[:, 2], ground_m) / _CELL_RAD[0]).astype(np.int64)
    column = np.floor(np.arctan2(xyz[:, 1], xyz[:, 0]) / _CELL_RAD[1]).astype(np.int64)
    if not len(row):
        return np.empty((0, 3)), np.empty(0)
    row, column = row - row.min(), column - column.min() + _REACH_CELLS
    image = np.full((row.max() + 1, column.max() + 1 + _REACH_CELLS), np.inf)
    np.minimum.at(image, (row, column), range_m)
    at = image[row, column]
    is_first = range_m <= at
    step_m = np.zeros(len(at))
    for side in (-1, 1):
        beside = np.full(len(at), np.inf)
        for cells in range(_REACH_CELLS, 0, -1):
            there = image[row, column + side * cells]
            beside = np.where(np.isfinite(there), there, beside)
        np.maximum(step_m, np.where(np.isfinite(beside), beside - at, 0.0), out=step_m)
    chosen = is_first & (step_m > _MIN_STEP_M)
    return xyz[chosen], np.sqrt(step_m[chosen]).clip(max=_MAX_WEIGHT)


def image_edges(gray: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return (H, W) the greatest difference of brightness from the eight neighbours."""
    values = np.pad(gray.astype(np.int16), 1, mode="edge")
    height, width = gray.shape
    middle = values[1:-1, 1:-1]
    edges = np.zeros(gray.shape, np.int16)
    for down in (0, 1, 2):
        for right in (0, 1, 2):
            shifted = values[down : down + height, right : right + width]
            np.maximum(edges, np.abs(shifted - middle), out=edges)
    return edges.astype(np.float32)


def outstanding(edges: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (H, W) edges as multiples of the mean edge around them, 6 at most."""
    around = _box_mean(_box_mean(edges.astype(np.float64), _SURROUNDING_PX).T, _SURROUNDING_PX).T
    return np.minimum(edges / (around + _NO_EDGE), _MAX_EDGE).astype(np.float32)


def _box_mean(values: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """Return (H, W) means over so many rows up and down, fewer at the borders."""
    sums = np.cumsum(np.pad(values, ((1, 0), (0, 0))), axis=0)
    rows = np.arange(len(values))
    low, high = np.maximum(rows - reach, 0), np.minimum(rows + reach + 1, len(values))
    return (sums[high] - sums[low]) / (high - low)[:, None]


def spread_edges(edges: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (H, W) the inverse distance transform: a third own edge, two thirds the best near.

    An edge counts `_DECAY` times less for every pixel of chessboard distance.
    """
    spread = edges.copy()
    _spread_down(spread, np.float32(_DECAY))
    _spread_down(spread[::-1, ::-1], np.float32(_DECAY))  # both ways: exact for this metric
    out: NDArray[np.float32] = np.float32(_OWN_SHARE) * edges
    out += np.float32(1.0 - _OWN_SHARE) * spread
    return out


@njit(cache=True, nogil=True)
def _spread_down(values, decay):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Let every value reach the pixels behind it in reading order, in place."""
    height, width = values.shape
    for row in range(height):
        for column in range(width):
            best = values[row, column]
            if column > 0:
                best = max(best, decay * values[row, column - 1])
            if row > 0:
                for other in range(max(column - 1, 0), min(column + 2, width)):
                    best = max(best, decay * values[row - 1, other])
            values[row, column] = best
