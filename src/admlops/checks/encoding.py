"""Labels as a perfect network would put them out, decoded again: what is lost on the way?"""

import numpy as np
from numpy.typing import NDArray

from admlops.detection.anchors import anchor_shapes, anchors_at
from admlops.detection.box_coding import direction_bin, encode_centers, encode_residuals
from admlops.detection.config import (
    BOX_RESIDUALS,
    CENTER_REGRESSION,
    CLASS_LOGITS,
    DIRECTION_LOGITS,
    HEATMAP_LOGITS,
    CenterPointConfig,
    PillarDetectorConfig,
    PointPillarsConfig,
)
from admlops.detection.decode import decode
from admlops.geometry.boxes import iou_3d, iou_bev
from admlops.structures.boxes import Boxes

SURE = 8.0
"""A logit: probability 0.9997."""
SAME_IOU = 0.95

Outputs = dict[str, NDArray[np.float32]]


def survives_coding(boxes: Boxes, config: PillarDetectorConfig) -> NDArray[np.bool_] | None:
    """Return (N,) whether each box comes back from encoding and decoding.

    None means that the detector is of a kind whose targets are not known here. Boxes of other
    categories or outside the range do not come back.
    """
    if isinstance(config, PointPillarsConfig):
        outputs = _encode_for_anchors(boxes, config)
    elif isinstance(config, CenterPointConfig):
        outputs = _encode_for_centers(boxes, config)
    else:
        return None
    decoded = decode(outputs, config)
    if len(boxes) == 0 or len(decoded) == 0:
        return np.zeros(len(boxes), dtype=bool)
    same = boxes.category[:, None] == decoded.category[None, :]
    overlap = iou_3d(boxes.as_7(), decoded.as_7()) * same
    return np.asarray(overlap.max(axis=1) > SAME_IOU)


def _cells(boxes: Boxes, config: PillarDetectorConfig) -> NDArray[np.float64]:
    """Return (N, 4) the centres in units of output cells, then column and row."""
    size = np.array(config.voxel_size_m) * config.output_stride
    exact = (boxes.center_m[:, :2] - config.range_low_m[:2]) / size
    return np.column_stack([exact, np.floor(exact)])


def _eligible(boxes: Boxes, config: PillarDetectorConfig) -> NDArray[np.int64]:
    """Return the boxes whose category and place the network can name."""
    known = np.isin(boxes.category.astype(str), config.categories)
    low, high = config.range_low_m, config.range_high_m
    inside = ((boxes.center_m >= low) & (boxes.center_m < high)).all(axis=1)
    usable = (boxes.size_m > 0).all(axis=1) & np.isfinite(boxes.as_7()).all(axis=1)
    return np.flatnonzero(known & inside & usable)


def _encode_for_centers(boxes: Boxes, config: CenterPointConfig) -> Outputs:
    rows, columns = config.output_shape
    heatmap = np.full((1, len(config.categories), rows, columns), -SURE, dtype=np.float32)
    regression = np.zeros((1, 8, rows, columns), dtype=np.float32)
    kept = boxes.select(_eligible(boxes, config))
    cells = _cells(kept, config)
    column, row = cells[:, 2].astype(int), cells[:, 3].astype(int)
    category = [config.categories.index(name) for name in kept.category]
    heatmap[0, category, row, column] = SURE
    regression[0, :, row, column] = encode_centers(kept.as_7(), cells)
    return {HEATMAP_LOGITS: heatmap, CENTER_REGRESSION: regression}


def _encode_for_anchors(boxes: Boxes, config: PointPillarsConfig) -> Outputs:
    rows, columns = config.output_shape
    num_yaws, num_categories = len(config.head.yaws_rad), len(config.categories)
    kinds = len(anchor_shapes(config))
    logits = np.full((1, kinds * num_categories, rows, columns), -SURE, dtype=np.float32)
    residuals = np.zeros((1, kinds * 7, rows, columns), dtype=np.float32)
    directions = np.zeros((1, kinds * 2, rows, columns), dtype=np.float32)
    for index in _eligible(boxes, config):
        box = boxes.select([int(index)])
        category = config.categories.index(box.category[0])
        number = _best_anchor(box, category, config)
        kind, cell = divmod(number, rows * columns)
        row, column = divmod(cell, columns)
        if kind // num_yaws != category:
            continue
        logits[0, kind * num_categories + category, row, column] = SURE
        code = encode_residuals(box.as_7(), anchors_at(np.array([number]), config))
        residuals[0, kind * 7 : kind * 7 + 7, row, column] = code[0]
        behind = direction_bin(box.yaw_rad, config.head.direction_offset_rad)[0]
        directions[0, kind * 2 + behind, row, column] = SURE
    return {CLASS_LOGITS: logits, BOX_RESIDUALS: residuals, DIRECTION_LOGITS: directions}


def _best_anchor(box: Boxes, category: int, config: PointPillarsConfig) -> int:
    """Return the number of the anchor of the category that overlaps the box most."""
    rows, columns = config.output_shape
    cell = _cells(box, config)[0]
    row, column = int(cell[3]), int(cell[2])
    num_yaws = len(config.head.yaws_rad)
    kinds = category * num_yaws + np.arange(num_yaws)
    numbers = kinds * rows * columns + row * columns + column
    overlap = iou_bev(box.as_7(), anchors_at(numbers, config))[0]
    return int(numbers[int(np.argmax(overlap))])
