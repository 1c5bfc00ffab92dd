"""From a network's outputs to boxes.

Only cells whose logit passes the threshold are ever touched: they are found by a compiled scan
over the raw logits, so that the cost does not depend on how many anchors there are.
"""

import math
from collections.abc import Mapping

import numpy as np
from numba import njit
from numpy.typing import NDArray

from admlops.detection.anchors import anchors_at, cell_size_m
from admlops.detection.box_coding import MAX_LOG_RATIO, apply_direction, decode_residuals
from admlops.detection.config import (
    BOX_RESIDUALS,
    CENTER_REGRESSION,
    CLASS_LOGITS,
    DIRECTION_LOGITS,
    HEATMAP_LOGITS,
    CenterPointConfig,
    DecodeConfig,
    PillarDetectorConfig,
    PointPillarsConfig,
)
from admlops.errors import DataError
from admlops.geometry.boxes import nms_bev
from admlops.geometry.pose import wrap_angle
from admlops.structures.boxes import Boxes

Outputs = Mapping[str, NDArray[np.float32]]


def decode(outputs: Outputs, config: PillarDetectorConfig) -> Boxes:
    """Return the boxes in a network's outputs (batch of one), best score first.

    Raises:
        DataError: an output is missing or has another shape than the config says.
    """
    from admlops.detection.families import find_family

    return find_family(config.kind).decode(outputs, config)


def decode_anchors(outputs: Outputs, config: PointPillarsConfig) -> Boxes:
    """Return the boxes of an anchor head's outputs, best score first."""
    num_kinds = len(config.head.anchors) * len(config.head.yaws_rad)
    num_categories = len(config.categories)
    logits = _planes(outputs, CLASS_LOGITS, num_kinds * num_categories, config)
    residuals = _planes(outputs, BOX_RESIDUALS, num_kinds * 7, config)
    directions = _planes(outputs, DIRECTION_LOGITS, num_kinds * 2, config)
    found, best = _scan_anchors(logits, num_categories, _logit(config.decode.score_threshold))
    number, category, logit = _strongest(found, best, config.decode.max_candidates)
    num_cells = logits.shape[1]
    kind, cell = np.divmod(number, num_cells)
    codes = residuals[(kind * 7)[:, None] + np.arange(7), cell[:, None]]
    boxes_7 = decode_residuals(codes, anchors_at(number, config))
    behind = directions[kind * 2 + 1, cell] > directions[kind * 2, cell]
    boxes_7[:, 6] = apply_direction(
        boxes_7[:, 6], behind.astype(np.int64), config.head.direction_offset_rad
    )
    return _suppress(boxes_7, category, _sigmoid(logit), config)


def decode_centers(outputs: Outputs, config: CenterPointConfig) -> Boxes:
    """Return the boxes of a centre head's outputs, best score first."""
    num_categories = len(config.categories)
    heatmap = _planes(outputs, HEATMAP_LOGITS, num_categories, config)
    regression = _planes(outputs, CENTER_REGRESSION, 8, config)
    rows, columns = config.output_shape
    found, best = _scan_peaks(
        heatmap.reshape(num_categories, rows, columns), _logit(config.decode.score_threshold)
    )
    cell, category, logit = _strongest(found, best, config.decode.max_candidates)
    codes = regression[:, cell].T.astype(np.float64)
    row, column = np.divmod(cell, columns)
    center = np.stack([column, row], axis=-1) + codes[:, :2]
    center = center * cell_size_m(config) + config.range_low_m[:2]
    boxes_7 = np.column_stack(
        [
            center,
            codes[:, 2],
            np.exp(np.clip(codes[:, 3:6], -MAX_LOG_RATIO, MAX_LOG_RATIO)),
            wrap_angle(np.arctan2(codes[:, 6], codes[:, 7])),
        ]
    )
    return _suppress(boxes_7, category, _sigmoid(logit), config)


def _planes(
    outputs: Outputs, name: str, channels: int, config: PillarDetectorConfig
) -> NDArray[np.float32]:
    expected = (1, channels, *config.output_shape)
    if name not in outputs:
        raise DataError(
            f"network output {name!r} is missing; there are {', '.join(outputs) or 'none'}. "
            f"Is the network of the same kind ({config.kind}) as its detector.json?"
        )
    array = np.ascontiguousarray(outputs[name], dtype=np.float32)
    if array.shape != expected:
        raise DataError(
            f"network output {name!r} has shape {array.shape}, the config says {expected}; "
            "export the model again with the detector.json that lies beside it"
        )
    return array.reshape(channels, -1)


def _logit(score: float) -> float:
    return math.log(score / (1.0 - score))


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))
    return result


def _strongest(
    found: NDArray[np.int64], logits: NDArray[np.float32], limit: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Return place, category and logit of the best candidates, best first; ties by place."""
    if len(logits) > limit:
        weakest = np.partition(logits, len(logits) - limit)[len(logits) - limit]
        keep = logits >= weakest
        found, logits = found[keep], logits[keep]
    order = np.argsort(-logits, kind="stable")[:limit]
    return found[order, 0], found[order, 1], logits[order]


def _suppress(
    boxes_7: NDArray[np.float64],
    category: NDArray[np.int64],
    score: NDArray[np.float64],
    config: PillarDetectorConfig,
) -> Boxes:
    settings: DecodeConfig = config.decode
    finite = np.isfinite(boxes_7).all(axis=1)
    boxes_7, category, score = boxes_7[finite], category[finite], score[finite]
    if settings.per_category_nms:
        kept = [
            members[nms_bev(boxes_7[members], score[members], settings.nms_iou, settings.max_boxes)]
            for members in (np.flatnonzero(category == c) for c in np.unique(category))
        ]
        keep = np.sort(np.concatenate(kept)) if kept else np.empty(0, dtype=np.int64)
    else:
        keep = nms_bev(boxes_7, score, settings.nms_iou, settings.max_boxes)
    keep = keep[: settings.max_boxes]
    names = np.array(config.categories, dtype=object)[category[keep]]
    return Boxes.make(
        boxes_7[keep, :3], boxes_7[keep, 3:6], boxes_7[keep, 6], names, score=score[keep]
    )


@njit(cache=True, nogil=True)
def _scan_anchors(
    logits: NDArray[np.float32], num_categories: int, threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return (N, 2) anchor number and best category, and (N,) its logit, above the threshold."""
    num_kinds, num_cells = logits.shape[0] // num_categories, logits.shape[1]
    limit = np.float32(threshold)
    capacity = 4096
    found = np.empty((capacity, 2), dtype=np.int64)
    best = np.empty(capacity, dtype=np.float32)
    count = 0
    for kind in range(num_kinds):
        first = kind * num_categories
        for category in range(num_categories):
            plane = logits[first + category]
            for cell in range(num_cells):
                value = plane[cell]
                if not value > limit:
                    continue
                winner = True
                for other in range(num_categories):
                    rival = logits[first + other, cell]
                    if rival > value or (rival == value and other < category):
                        winner = False
                if not winner:
                    continue
                if count == capacity:
                    capacity *= 2
                    more_found = np.empty((capacity, 2), dtype=np.int64)
                    more_best = np.empty(capacity, dtype=np.float32)
                    more_found[:count], more_best[:count] = found, best
                    found, best = more_found, more_best
                found[count, 0] = kind * num_cells + cell
                found[count, 1] = category
                best[count] = value
                count += 1
    return found[:count], best[:count]


@njit(cache=True, nogil=True)
def _scan_peaks(
    heatmap: NDArray[np.float32], threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return (N, 2) cell and category, and (N,) logit, of local maxima above the threshold."""
    num_categories, rows, columns = heatmap.shape
    limit = np.float32(threshold)
    found = np.empty((num_categories * rows * columns, 2), dtype=np.int64)
    best = np.empty(num_categories * rows * columns, dtype=np.float32)
    count = 0
    for category in range(num_categories):
        for row in range(rows):
            for column in range(columns):
                value = heatmap[category, row, column]
                if not value > limit:
                    continue
                top = True
                for other_row in range(max(row - 1, 0), min(row + 2, rows)):
                    for other_column in range(max(column - 1, 0), min(column + 2, columns)):
                        if heatmap[category, other_row, other_column] > value:
                            top = False
                if top:
                    found[count, 0] = row * columns + column
                    found[count, 1] = category
                    best[count] = value
                    count += 1
    return found[:count].copy(), best[:count].copy()
