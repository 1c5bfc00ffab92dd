"""Anchors: one box per category and yaw at every cell of the output map.

An anchor's number is ``(category * num_yaws + yaw) * H * W + row * W + column``, so that it is
also the place of its values in the network's output planes.
"""

import numpy as np
from numpy.typing import NDArray

from admlops.detection.config import PillarDetectorConfig, PointPillarsConfig


def anchor_shapes(config: PointPillarsConfig) -> NDArray[np.float64]:
    """Return (A, 5) centre z, length, width, height, yaw of each kind of anchor."""
    return np.array(
        [
            [anchor.center_z_m, *anchor.size_m, yaw]
            for anchor in config.head.anchors
            for yaw in config.head.yaws_rad
        ]
    )


def cell_size_m(config: PillarDetectorConfig) -> NDArray[np.float64]:
    """Return (2,) x y size of a cell of the output map."""
    return np.array(config.voxel_size_m) * config.output_stride


def anchors_at(numbers: NDArray[np.integer], config: PointPillarsConfig) -> NDArray[np.float64]:
    """Return (N, 7) the anchors of these numbers; they are computed, never stored."""
    rows, columns = config.output_shape
    kind, cell = np.divmod(np.asarray(numbers, dtype=np.int64), rows * columns)
    row, column = np.divmod(cell, columns)
    center = (np.stack([column, row], axis=-1) + 0.5) * cell_size_m(config)
    shape = anchor_shapes(config)[kind]
    return np.column_stack([center + config.range_low_m[:2], shape])
