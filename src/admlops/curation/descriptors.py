"""A frame's descriptor where no model has embedded it: what its cloud looks like from afar.

Two frames that a driver would call alike (the same street a second later) are near each other;
rain (fewer and nearer returns), crowded and empty scenes are far apart.
"""

import numpy as np
from numpy.typing import NDArray

RANGE_EDGES_M = np.array([0.0, 5.0, 10.0, 20.0, 30.0, 45.0, np.inf])
HEIGHT_EDGES_M = np.array([-np.inf, 0.3, 1.0, 2.0, np.inf])
INTENSITY_EDGES = np.linspace(0.0, 1.0, 9)
GRID_EDGES_M = np.linspace(-40.0, 40.0, 11)
OBSTACLE_HEIGHTS_M = (0.3, 2.5)

DESCRIPTOR_SIZE = 6 * 4 + 8 + 10 * 10
"""Range by height, intensity, and obstacles on a 10 x 10 grid of 8 m cells."""


def describe_cloud(points_in_ego: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the (132,) descriptor of (N, 4) points x y z intensity in the ego frame.

    Counts enter by their logarithm, so that a near wall does not drown all else. Points that are
    not finite are left out; an empty cloud is described by zeros.
    """
    points = points_in_ego[np.isfinite(points_in_ego).all(axis=1)]
    x, y, z, intensity = (points[:, column].astype(np.float64) for column in range(4))
    where, _, _ = np.histogram2d(np.hypot(x, y), z, (RANGE_EDGES_M, HEIGHT_EDGES_M))
    shine, _ = np.histogram(np.clip(intensity, 0.0, 1.0), INTENSITY_EDGES)
    low, high = OBSTACLE_HEIGHTS_M
    is_obstacle = (z > low) & (z < high)
    grid, _, _ = np.histogram2d(x[is_obstacle], y[is_obstacle], (GRID_EDGES_M, GRID_EDGES_M))
    parts = [np.log1p(where.ravel()), shine / max(len(points), 1), np.log1p(grid.ravel())]
    return np.concatenate(parts).astype(np.float32)


def standardize(descriptors: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return (N, D) descriptors with zero mean and unit variance in each dimension that varies.

    They are divided by the root of the number of those dimensions, so that the mean squared
    distance between two frames is 2 whatever the descriptor's size.
    """
    values = np.asarray(descriptors, dtype=np.float64)
    if len(values) == 0:
        return values
    deviation = values.std(axis=0)
    varies = deviation > 1e-9
    scaled = (values[:, varies] - values[:, varies].mean(axis=0)) / deviation[varies]
    return scaled / np.sqrt(max(int(varies.sum()), 1))
