"""What a network should have answered: labels laid onto the output map.

The inverse of decoding: `decode` of outputs made from these targets gives the labels back.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from admlops.detection.anchors import anchor_shapes, anchors_at, cell_size_m
from admlops.detection.box_coding import direction_bin, encode_centers, encode_residuals
from admlops.detection.config import CenterPointConfig, PillarDetectorConfig, PointPillarsConfig
from admlops.structures.boxes import Boxes

OWN_BEST = 2.0
"""Stands for the overlap of an anchor that is its box's best: above every threshold."""


@dataclass(frozen=True, slots=True)
class Targets:
    """What one frame's output should be, at T places of the output map.

    Attributes:
        place: (T,) int64, an anchor's number (see `anchors`), or a cell of the centre head.
        category: (T,) int64 index into the config's categories.
        regression: (T, 7) residuals or (T, 8) centre values, float32.
        direction: (T,) int64 direction bin; zeros for the centre head.
        ignored: (I,) int64 anchors that are neither object nor background.
        heatmap: (K, H, W) float32 of the centre head; (0, H, W) for the anchor head.
    """

    place: NDArray[np.int64]
    category: NDArray[np.int64]
    regression: NDArray[np.float32]
    direction: NDArray[np.int64]
    ignored: NDArray[np.int64]
    heatmap: NDArray[np.float32]


def category_indices(boxes: Boxes, categories: Sequence[str]) -> NDArray[np.int64]:
    """Return (N,) each box's place in `categories`, -1 where it is none of them."""
    index = {name: place for place, name in enumerate(categories)}
    return np.array([index.get(name, -1) for name in boxes.category], dtype=np.int64)


def anchor_targets(
    boxes_7: NDArray[np.floating], category: NDArray[np.int64], config: PointPillarsConfig
) -> Targets:
    """Return the targets of an anchor head for boxes of known categories.

    An anchor is trained towards the box of its category that it overlaps most, if by at least
    `positive_iou`; each box also takes its best anchors, if they reach `negative_iou`. The overlap
    is that of the rectangles turned to the nearest axis, as in the paper's implementation.
    """
    boxes = np.ascontiguousarray(boxes_7, dtype=np.float64).reshape(-1, 7)
    rows, columns = config.output_shape
    thresholds = np.array([[a.positive_iou, a.negative_iou] for a in config.head.anchors])
    place, owner, ignored = _assign(
        boxes,
        np.ascontiguousarray(category, dtype=np.int64),
        anchor_shapes(config),
        thresholds,
        np.array([*config.range_low_m[:2], *cell_size_m(config)]),
        (len(config.head.yaws_rad), rows, columns),
    )
    anchors = anchors_at(place, config)
    matched = boxes[owner]
    return Targets(
        place=place,
        category=category[owner],
        regression=encode_residuals(matched, anchors).astype(np.float32),
        direction=direction_bin(matched[:, 6], config.head.direction_offset_rad),
        ignored=ignored,
        heatmap=np.empty((0, rows, columns), dtype=np.float32),
    )


def center_targets(
    boxes_7: NDArray[np.floating], category: NDArray[np.int64], config: CenterPointConfig
) -> Targets:
    """Return the targets of a centre head for boxes of known categories.

    Boxes whose centre is outside the range have none. The radius of a box's Gaussian is the
    smallest of CornerNet's three cases (Law and Deng, ECCV 2018).
    """
    boxes = np.asarray(boxes_7, dtype=np.float64).reshape(-1, 7)
    rows, columns = config.output_shape
    size = cell_size_m(config)
    center = (boxes[:, :2] - config.range_low_m[:2]) / size
    inside = ((center >= 0) & (center < [columns, rows])).all(axis=1)
    boxes, center, category = boxes[inside], center[inside], category[inside]
    cell = np.floor(center).astype(np.int64)
    heatmap = np.zeros((len(config.categories), rows, columns), dtype=np.float32)
    extent = np.ascontiguousarray(boxes[:, 3:5] / size.mean())
    head = config.head
    _draw(heatmap, cell, category, extent, head.min_overlap, head.min_radius_cells)
    return Targets(
        place=cell[:, 1] * columns + cell[:, 0],
        category=category,
        regression=encode_centers(boxes, np.column_stack([center, cell])).astype(np.float32),
        direction=np.zeros(len(boxes), dtype=np.int64),
        ignored=np.empty(0, dtype=np.int64),
        heatmap=heatmap,
    )


def make_targets(
    boxes_7: NDArray[np.floating], category: NDArray[np.int64], config: PillarDetectorConfig
) -> Targets:
    """Return the targets of whichever head a config has.

    Args:
        boxes_7: (N, 7) boxes in the ego frame.
        category: (N,) index into the config's categories; none may be negative.
        config: the detector.

    Raises:
        ConfigError: no family of that kind is installed.
    """
    from admlops.detection.families import find_family

    return find_family(config.kind).make_targets(boxes_7, category, config)


@njit(cache=True, nogil=True)
def _snapped(length: float, width: float, yaw: float) -> tuple[float, float]:
    """Return a rectangle's extent along x and y after turning it to the nearest axis."""
    if abs(math.sin(yaw)) > abs(math.cos(yaw)):
        return width, length
    return length, width


@njit(cache=True, nogil=True)
def _overlap_along(offset: float, first: float, second: float) -> float:
    """Return the shared length of two segments whose centres are `offset` apart."""
    return max(min(first, second, (first + second) / 2 - abs(offset)), 0.0)


@njit(cache=True, nogil=True)
def _window(center: float, reach: float, low: float, size: float, limit: int) -> tuple[int, int]:
    """Return the first cell, and the one after the last, whose centre is within reach."""
    first = math.ceil((center - reach - low) / size - 0.5)
    last = math.floor((center + reach - low) / size - 0.5)
    return max(first, 0), min(last + 1, limit)


@njit(cache=True, nogil=True)
def _overlaps(
    box: NDArray[np.float64],
    shape: NDArray[np.float64],
    grid: NDArray[np.float64],
    size: tuple[int, int],
) -> tuple[int, int, NDArray[np.float64]]:
    """Return first row and column, and the overlaps in the window around a box."""
    box_x, box_y = _snapped(box[3], box[4], box[6])
    anchor_x, anchor_y = _snapped(shape[1], shape[2], shape[4])
    row_0, row_1 = _window(box[1], (box_y + anchor_y) / 2, grid[1], grid[3], size[0])
    column_0, column_1 = _window(box[0], (box_x + anchor_x) / 2, grid[0], grid[2], size[1])
    values = np.zeros((max(row_1 - row_0, 0), max(column_1 - column_0, 0)))
    both = box_x * box_y + anchor_x * anchor_y
    for row in range(row_0, row_1):
        along_y = _overlap_along(box[1] - (grid[1] + (row + 0.5) * grid[3]), box_y, anchor_y)
        for column in range(column_0, column_1):
            offset = box[0] - (grid[0] + (column + 0.5) * grid[2])
            shared = along_y * _overlap_along(offset, box_x, anchor_x)
            values[row - row_0, column - column_0] = shared / (both - shared)
    return row_0, column_0, values


@njit(cache=True, nogil=True)
def _assign(
    boxes: NDArray[np.float64],
    category: NDArray[np.int64],
    shapes: NDArray[np.float64],
    thresholds: NDArray[np.float64],
    grid: NDArray[np.float64],
    size: tuple[int, int, int],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return positive anchors, the box of each, and ignored anchors."""
    num_yaws, rows, columns = size
    best = np.zeros(len(shapes) * rows * columns, dtype=np.float32)
    owner = np.full(len(best), -1, dtype=np.int32)
    for index in range(len(boxes)):
        for kind in range(category[index] * num_yaws, (category[index] + 1) * num_yaws):
            found = _overlaps(boxes[index], shapes[kind], grid, (rows, columns))
            _claim(found, kind * rows * columns, columns, index, 0.0, (best, owner))
    for index in range(len(boxes)):
        most = thresholds[category[index], 1]
        for kind in range(category[index] * num_yaws, (category[index] + 1) * num_yaws):
            _, _, values = _overlaps(boxes[index], shapes[kind], grid, (rows, columns))
            most = max(most, values.max()) if values.size else most
        for kind in range(category[index] * num_yaws, (category[index] + 1) * num_yaws):
            found = _overlaps(boxes[index], shapes[kind], grid, (rows, columns))
            _claim(found, kind * rows * columns, columns, index, most, (best, owner))
    return _split(best, owner, category, thresholds)


@njit(cache=True, nogil=True)
def _claim(
    found: tuple[int, int, NDArray[np.float64]],
    first: int,
    columns: int,
    index: int,
    least: float,
    state: tuple[NDArray[np.float32], NDArray[np.int32]],
) -> None:
    """Give a box the anchors that it overlaps more than their owner, or at least by `least`."""
    best, owner = state
    row_0, column_0, values = found
    for row in range(values.shape[0]):
        start = first + (row_0 + row) * columns + column_0
        for column in range(values.shape[1]):
            value = values[row, column]
            if least > 0.0:
                if value >= least - 1e-9:
                    best[start + column] = OWN_BEST
                    owner[start + column] = index
            elif value > best[start + column]:
                best[start + column] = value
                owner[start + column] = index


@njit(cache=True, nogil=True)
def _split(
    best: NDArray[np.float32],
    owner: NDArray[np.int32],
    category: NDArray[np.int64],
    thresholds: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    touched = np.flatnonzero(owner >= 0)
    place = np.empty(len(touched), dtype=np.int64)
    ignored = np.empty(len(touched), dtype=np.int64)
    num_positive, num_ignored = 0, 0
    for anchor in touched:
        limits = thresholds[category[owner[anchor]]]
        if best[anchor] >= limits[0]:
            place[num_positive] = anchor
            num_positive += 1
        elif best[anchor] >= limits[1]:
            ignored[num_ignored] = anchor
            num_ignored += 1
    place = place[:num_positive].copy()
    owners = np.empty(num_positive, dtype=np.int64)
    for index in range(num_positive):
        owners[index] = owner[place[index]]
    return place, owners, ignored[:num_ignored].copy()


@njit(cache=True, nogil=True)
def _radius(length: float, width: float, overlap: float) -> float:
    total = length + width
    area = length * width
    b1, c1 = total, area * (1 - overlap) / (1 + overlap)
    r1 = (b1 - math.sqrt(max(b1 * b1 - 4 * c1, 0.0))) / 2
    b2, c2 = 2 * total, (1 - overlap) * area
    r2 = (b2 - math.sqrt(max(b2 * b2 - 16 * c2, 0.0))) / 8
    a3, b3, c3 = 4 * overlap, -2 * overlap * total, (overlap - 1) * area
    r3 = (b3 + math.sqrt(max(b3 * b3 - 4 * a3 * c3, 0.0))) / (2 * a3)
    return min(r1, r2, r3)


@njit(cache=True, nogil=True)
def _draw(
    heatmap: NDArray[np.float32],
    cell: NDArray[np.int64],
    category: NDArray[np.int64],
    extent: NDArray[np.float64],
    min_overlap: float,
    min_radius: int,
) -> None:
    """Draw a Gaussian at each centre, keeping the larger value where they meet."""
    _, rows, columns = heatmap.shape
    for index in range(len(cell)):
        radius = max(min_radius, int(_radius(extent[index, 0], extent[index, 1], min_overlap)))
        sigma = (2 * radius + 1) / 6
        column, row = cell[index]
        for y in range(max(row - radius, 0), min(row + radius + 1, rows)):
            for x in range(max(column - radius, 0), min(column + radius + 1, columns)):
                square = (x - column) ** 2 + (y - row) ** 2
                value = np.float32(math.exp(-square / (2 * sigma * sigma)))
                if value > heatmap[category[index], y, x]:
                    heatmap[category[index], y, x] = value
