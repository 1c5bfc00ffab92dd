"""Points to pillars: a compiled loop that keeps points in flat arrays, sorted by pillar.

Padding every pillar to its largest number of points, as the first implementations do, makes the
encoder work on ten times more rows than a lidar returns; flat arrays with a pillar index do not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from admlops.detection.config import (
    NUM_POINT_FEATURES,
    PILLAR_CELL,
    POINT_FEATURES,
    POINT_PILLAR,
    PillarDetectorConfig,
)


@dataclass(frozen=True, slots=True)
class Pillars:
    """Points gathered into P pillars.

    Attributes:
        point_features: (M, 9) float32, x y z in metres in the ego frame, intensity, offsets x y z
            to the mean of the pillar's points, offsets x y to the pillar's centre.
        point_pillar: (M,) int64 pillar of each point, ascending.
        pillar_cell: (P,) int64 row * columns + column of each pillar in the grid.
        num_points_invalid: points dropped because a value was NaN or infinite.
    """

    point_features: NDArray[np.float32]
    point_pillar: NDArray[np.int64]
    pillar_cell: NDArray[np.int64]
    num_points_invalid: int = 0

    def __len__(self) -> int:
        """Return the number of pillars."""
        return len(self.pillar_cell)

    def as_inputs(self) -> Mapping[str, NDArray[Any]]:
        """Return the network's inputs by name."""
        return {
            POINT_FEATURES: self.point_features,
            POINT_PILLAR: self.point_pillar,
            PILLAR_CELL: self.pillar_cell,
        }

    def copy(self) -> "Pillars":
        """Return pillars that own their arrays."""
        return Pillars(
            self.point_features.copy(),
            self.point_pillar.copy(),
            self.pillar_cell.copy(),
            self.num_points_invalid,
        )


class Voxelizer:
    """Turns clouds of one detector's range into pillars, with buffers that are used again.

    The returned arrays are views of those buffers: they hold until the next call. One voxelizer
    serves one thread.
    """

    def __init__(self, config: PillarDetectorConfig) -> None:
        rows, columns = config.grid_shape
        self._shape = np.array([rows, columns], dtype=np.int64)
        self._bounds = np.array(config.point_cloud_range_m, dtype=np.float32)
        self._voxel = np.array(config.voxel_size_m, dtype=np.float32)
        self._max_points = config.max_points_per_pillar
        max_pillars = min(config.max_pillars, rows * columns)
        self._pillar_of_cell = np.full(rows * columns, -1, dtype=np.int32)
        self._pillar_cell = np.empty(max_pillars, dtype=np.int64)
        self._count = np.empty(max_pillars, dtype=np.int32)
        self._sums = np.empty((max_pillars, 3), dtype=np.float32)
        self._start = np.empty(max_pillars, dtype=np.int32)
        self._allot(0)

    def _allot(self, num_points: int) -> None:
        self._pillar_of_point = np.empty(num_points, dtype=np.int32)
        self._point_pillar = np.empty(num_points, dtype=np.int64)
        self._features = np.empty((num_points, NUM_POINT_FEATURES), dtype=np.float32)

    def __call__(self, points_in_ego: NDArray[np.float32]) -> Pillars:
        """Return the pillars of (N, 4) points x y z intensity; points outside the range drop out.

        Non-finite points are dropped and counted. Any N works; memory grows with the largest seen.
        """
        points = np.ascontiguousarray(points_in_ego, dtype=np.float32)
        if len(points) > len(self._pillar_of_point):
            self._allot(len(points) + len(points) // 4)
        num_pillars, num_points, num_invalid = _gather(
            points,
            (self._bounds, self._voxel, self._shape, self._max_points),
            (self._pillar_of_cell, self._pillar_cell, self._count, self._sums, self._start),
            (self._pillar_of_point, self._point_pillar, self._features),
        )
        return Pillars(
            self._features[:num_points],
            self._point_pillar[:num_points],
            self._pillar_cell[:num_pillars],
            num_invalid,
        )


@njit(cache=True, nogil=True)
def _gather(
    points: NDArray[np.float32],
    grid: tuple[Any, ...],
    by_pillar: tuple[Any, ...],
    by_point: tuple[Any, ...],
) -> tuple[int, int, int]:
    """Fill the buffers; return numbers of pillars, kept points and non-finite points."""
    num_pillars, num_invalid = _sort_into_pillars(points, grid, by_pillar, by_point[0])
    num_points = _place_pillars(num_pillars, by_pillar)
    _write_features(points, grid, by_pillar, by_point)
    return num_pillars, num_points, num_invalid


@njit(cache=True, nogil=True)
def _sort_into_pillars(
    points: NDArray[np.float32],
    grid: tuple[Any, ...],
    by_pillar: tuple[Any, ...],
    pillar_of_point: NDArray[np.int32],
) -> tuple[int, int]:
    bounds, voxel, shape, max_points = grid
    pillar_of_cell, pillar_cell, count, sums, _ = by_pillar
    low_x, low_y, low_z = bounds[0], bounds[1], bounds[2]
    high_x, high_y, high_z = bounds[3], bounds[4], bounds[5]
    scale_x, scale_y = np.float32(1) / voxel[0], np.float32(1) / voxel[1]
    rows, columns = np.int32(shape[0]), np.int32(shape[1])
    num_pillars, num_invalid = 0, 0
    for index in range(len(points)):
        x, y, z = points[index, 0], points[index, 1], points[index, 2]
        pillar_of_point[index] = -1
        total = x + y + z + points[index, 3]
        if total - total != 0:  # only NaN and infinity differ from themselves so
            num_invalid += 1
            continue
        inside = (x >= low_x) & (x < high_x) & (y >= low_y) & (y < high_y)
        if not (inside & (z >= low_z) & (z < high_z)):
            continue
        column = min(np.int32((x - low_x) * scale_x), columns - np.int32(1))
        row = min(np.int32((y - low_y) * scale_y), rows - np.int32(1))
        cell = row * columns + column
        pillar = pillar_of_cell[cell]
        if pillar < 0:
            if num_pillars == len(pillar_cell):
                continue
            pillar = num_pillars
            num_pillars += 1
            pillar_of_cell[cell] = pillar
            pillar_cell[pillar] = cell
            count[pillar] = 0
            sums[pillar] = 0
        if count[pillar] < max_points:
            count[pillar] += 1
            sums[pillar, 0] += x
            sums[pillar, 1] += y
            sums[pillar, 2] += z
            pillar_of_point[index] = pillar
    return num_pillars, num_invalid


@njit(cache=True, nogil=True)
def _place_pillars(num_pillars: int, by_pillar: tuple[Any, ...]) -> int:
    """Turn sums into means, counts into first places, and clear the map of cells."""
    pillar_of_cell, pillar_cell, count, sums, start = by_pillar
    num_points = 0
    for pillar in range(num_pillars):
        pillar_of_cell[pillar_cell[pillar]] = -1
        start[pillar] = num_points
        num_points += count[pillar]
        for axis in range(3):
            sums[pillar, axis] /= np.float32(count[pillar])
    return num_points


@njit(cache=True, nogil=True)
def _write_features(
    points: NDArray[np.float32],
    grid: tuple[Any, ...],
    by_pillar: tuple[Any, ...],
    by_point: tuple[Any, ...],
) -> None:
    bounds, voxel, shape, _ = grid
    _, pillar_cell, _, means, start = by_pillar
    pillar_of_point, point_pillar, features = by_point
    columns = np.int32(shape[1])
    half = np.float32(0.5)
    for index in range(len(points)):
        pillar = pillar_of_point[index]
        if pillar < 0:
            continue
        place = start[pillar]
        start[pillar] += 1
        x, y, z = points[index, 0], points[index, 1], points[index, 2]
        cell = np.int32(pillar_cell[pillar])
        row = cell // columns
        column = cell - row * columns
        point_pillar[place] = pillar
        features[place, 0] = x
        features[place, 1] = y
        features[place, 2] = z
        features[place, 3] = points[index, 3]
        features[place, 4] = x - means[pillar, 0]
        features[place, 5] = y - means[pillar, 1]
        features[place, 6] = z - means[pillar, 2]
        features[place, 7] = x - (bounds[0] + (np.float32(column) + half) * voxel[0])
        features[place, 8] = y - (bounds[1] + (np.float32(row) + half) * voxel[1])
