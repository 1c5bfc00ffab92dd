"""Labels as a perfect network would put them out, decoded again: what is lost on the way?"""

import numpy as np
from numpy.typing import NDArray

from admlops.detection.anchors import anchor_shapes, anchors_at
from admlops.detection.box_coding import decode_residuals
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
from admlops.detection.targets import Targets, category_indices, make_targets
from admlops.geometry.boxes import iou_3d
from admlops.structures.boxes import Boxes

SURE = 8.0
"""A logit: probability 0.9997."""
SAME_IOU = 0.95

Outputs = dict[str, NDArray[np.float32]]


def survives_coding(boxes: Boxes, config: PillarDetectorConfig) -> NDArray[np.bool_] | None:
    """Return (N,) whether each box comes back from training targets through decoding.

    None means that the detector is of a kind whose outputs are not known here.

    Args:
        boxes: labels of the detector's categories inside its range.
        config: the detector.
    """
    targets = make_targets(boxes.as_7(), category_indices(boxes, config.categories), config)
    if isinstance(config, PointPillarsConfig):
        outputs = _anchor_outputs(targets, config)
    elif isinstance(config, CenterPointConfig):
        outputs = _center_outputs(targets, config)
    else:
        return None
    decoded = decode(outputs, config)
    if len(boxes) == 0 or len(decoded) == 0:
        return np.zeros(len(boxes), dtype=bool)
    same = boxes.category[:, None] == decoded.category[None, :]
    overlap = iou_3d(boxes.as_7(), decoded.as_7()) * same
    return np.asarray(overlap.max(axis=1) > SAME_IOU)


def _center_outputs(targets: Targets, config: CenterPointConfig) -> Outputs:
    rows, columns = config.output_shape
    heatmap = np.full((1, len(config.categories), rows * columns), -SURE, dtype=np.float32)
    heatmap[0, targets.category, targets.place] = SURE
    regression = np.zeros((1, 8, rows * columns), dtype=np.float32)
    regression[0, :, targets.place] = targets.regression
    planes = {HEATMAP_LOGITS: heatmap, CENTER_REGRESSION: regression}
    return {name: plane.reshape(1, -1, rows, columns) for name, plane in planes.items()}


def _anchor_outputs(targets: Targets, config: PointPillarsConfig) -> Outputs:
    """Anchors nearer to their box are surer, so that far ones do not crowd out other boxes."""
    rows, columns = config.output_shape
    kinds, num_categories = len(anchor_shapes(config)), len(config.categories)
    kind, cell = np.divmod(targets.place, rows * columns)
    anchors = anchors_at(targets.place, config)
    away = decode_residuals(targets.regression, anchors)[:, :2] - anchors[:, :2]
    logits = np.full((1, kinds, num_categories, rows * columns), -SURE, dtype=np.float32)
    logits[0, kind, targets.category, cell] = SURE - np.linalg.norm(away, axis=1)
    residuals = np.zeros((1, kinds, 7, rows * columns), dtype=np.float32)
    residuals[0, kind, :, cell] = targets.regression
    directions = np.zeros((1, kinds, 2, rows * columns), dtype=np.float32)
    directions[0, kind, targets.direction, cell] = 1.0
    planes = {CLASS_LOGITS: logits, BOX_RESIDUALS: residuals, DIRECTION_LOGITS: directions}
    return {name: plane.reshape(1, -1, rows, columns) for name, plane in planes.items()}
