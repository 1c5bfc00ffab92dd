"""Box fusion: one box per object from the boxes of several models.

Source: Solovyev, Wang and Gabruseva, "Weighted boxes fusion", Image and Vision Computing, 2021;
here on the ground, with headings averaged on the circle, and with models that are silent counted.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field

from admlops.config import Config
from admlops.geometry.boxes import iou_bev, overlap
from admlops.structures.boxes import Boxes

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]

OTHERS = ""
"""Key of a table by category that stands for every category that is not named."""

_WEIGHT, _FIRST, _COS_2, _SIN_2, _COS, _SIN, _NUM_SUMS = 0, 1, 7, 8, 9, 10, 11


class FusionConfig(Config):
    """Which boxes are of one object."""

    min_score: float = Field(default=0.1, ge=0, lt=1)
    """Boxes of models below this score are ignored."""
    min_iou: dict[str, Share] = Field(
        default_factory=lambda: {"pedestrian": 0.2, "cyclist": 0.2, OTHERS: 0.4}
    )
    """Overlap on the ground from which on boxes of one category are of one object, by category;
    "" is for all others."""
    weights: tuple[Positive, ...] = ()
    """How much each model counts, in their order; empty for all alike."""


@dataclass(frozen=True, slots=True)
class FusedBoxes:
    """N fused boxes of one frame, best score first.

    Attributes:
        boxes: means over the models, weighted by score; the score is the mean of the models' best
            scores, 0 for a model that shows nothing there.
        agreement: (N,) float64, share of the models, by weight, that show the object.
        contested: (N,) whether a box of another category covers the same place.
    """

    boxes: Boxes
    agreement: NDArray[np.float64]
    contested: NDArray[np.bool_]


def fuse_boxes(models: Sequence[Boxes], config: FusionConfig) -> FusedBoxes:
    """Return one box per object of a frame.

    Args:
        models: the boxes of each model, with scores, in the ego frame; boxes that are not finite
            or have no score do not count.
        config: what is of one object.

    Raises:
        ValueError: there is not one weight per model.
    """
    weights = np.array(config.weights or (1.0,) * len(models))
    if len(weights) != len(models):
        raise ValueError(f"{len(models)} models have {len(weights)} weights")
    whole = Boxes.concatenate(models)
    model = np.repeat(np.arange(len(models)), [len(boxes) for boxes in models])
    is_shown = (whole.score >= config.min_score) & (whole.score > 0.0)
    is_shown &= np.isfinite(whole.as_7()).all(axis=1)
    order = np.argsort(-whole.score, kind="stable")
    order = order[is_shown[order]]
    whole, model = whole.select(order), model[order]
    parts: list[Boxes] = []
    agreements: list[NDArray[np.float64]] = []
    for category in sorted(set(whole.category)):
        rows = np.flatnonzero(whole.category == category)
        limit = config.min_iou.get(category, config.min_iou.get(OTHERS, 0.5))
        boxes_7, best = _cluster(whole.as_7()[rows], whole.score[rows], model[rows], weights, limit)
        total = weights.sum()
        parts.append(
            Boxes.make(
                boxes_7[:, :3],
                boxes_7[:, 3:6],
                boxes_7[:, 6],
                [category] * len(boxes_7),
                score=best @ weights / total,
            )
        )
        agreements.append((best > 0.0) @ weights / total)
    return _joined(parts, agreements, config)


def _joined(
    parts: Sequence[Boxes], agreements: Sequence[NDArray[np.float64]], config: FusionConfig
) -> FusedBoxes:
    boxes = Boxes.concatenate(parts)
    order = np.argsort(-boxes.score, kind="stable")
    boxes = boxes.select(order)
    agreement = np.concatenate([*agreements, np.empty(0)])[order]
    differs = boxes.category[:, None] != boxes.category[None]
    limits = [config.min_iou.get(name, config.min_iou.get(OTHERS, 0.5)) for name in boxes.category]
    covers = iou_bev(boxes.as_7(), boxes.as_7()) > np.array(limits).reshape(-1, 1)
    return FusedBoxes(boxes, agreement, (covers & differs).any(axis=1))


@njit(cache=True)
def _cluster(
    boxes_7: NDArray[np.float64],
    score: NDArray[np.float64],
    model: NDArray[np.int64],
    weights: NDArray[np.float64],
    min_iou: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (C, 7) fused boxes and (C, models) the best score of each model, 0 where silent.

    Every box, best score first, joins the cluster whose mean it covers most, or founds one.
    """
    sums = np.zeros((len(boxes_7), _NUM_SUMS))
    fused = np.zeros((len(boxes_7), 7))
    best = np.zeros((len(boxes_7), len(weights)))
    count = 0
    for row in range(len(boxes_7)):
        home, most = count, min_iou
        for cluster in range(count):
            shared = overlap(fused[cluster], boxes_7[row], False)
            if shared > most:
                home, most = cluster, shared
        if home == count:
            count += 1
        best[home, model[row]] = max(best[home, model[row]], score[row])
        _add(sums[home], boxes_7[row], score[row] * weights[model[row]])
        _average(sums[home], fused[home])
    return fused[:count], best[:count]


@njit(cache=True)
def _add(sums: NDArray[np.float64], box_7: NDArray[np.float64], weight: float) -> None:
    yaw = box_7[6]
    sums[_WEIGHT] += weight
    for axis in range(6):
        sums[_FIRST + axis] += weight * box_7[axis]
    sums[_COS_2] += weight * math.cos(2.0 * yaw)
    sums[_SIN_2] += weight * math.sin(2.0 * yaw)
    sums[_COS] += weight * math.cos(yaw)
    sums[_SIN] += weight * math.sin(yaw)


@njit(cache=True)
def _average(sums: NDArray[np.float64], fused: NDArray[np.float64]) -> None:
    """Write the mean box: the axis is the mean of doubled angles, its direction the majority's."""
    for axis in range(6):
        fused[axis] = sums[_FIRST + axis] / sums[_WEIGHT]
    yaw = 0.5 * math.atan2(sums[_SIN_2], sums[_COS_2])
    if sums[_COS] * math.cos(yaw) + sums[_SIN] * math.sin(yaw) < 0.0:
        yaw += math.pi
    fused[6] = yaw - 2.0 * math.pi if yaw >= math.pi else yaw
