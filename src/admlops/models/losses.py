"""Losses of the heads, at sparse places of the output planes.

Shapes: B frames, A kinds of anchors, K categories, T places of all frames, L cells of a map.
"""

from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0
"""Of the focal loss; PointPillars, section 3.2."""
CATEGORY_WEIGHT, BOX_WEIGHT, DIRECTION_WEIGHT = 1.0, 2.0, 0.2
"""Of the anchor head's parts; PointPillars, eq. 2."""
SMOOTH_L1_BETA = 1.0 / 9.0
"""Where the box loss turns from a square into a line, as in SECOND."""
CENTER_WEIGHT = 2.0
"""Of the centre head's regression against its heat map."""


@dataclass(frozen=True, slots=True)
class TargetTensors:
    """The targets of a batch; see `detection.targets.Targets`.

    Attributes:
        frame: (T,) int64 frame of each place.
        place: (T,) int64.
        category: (T,) int64.
        regression: (T, 7 or 8) float32.
        direction: (T,) int64.
        ignored_frame: (I,) int64 frame of each ignored place.
        ignored: (I,) int64.
        heatmap: (B, K, H, W) float32; (B, 0, H, W) for the anchor head.
        count: () float32, at least 1: what sums over targets are divided by. It is T, or where
            several processes share a batch the mean of their T.
    """

    frame: Tensor
    place: Tensor
    category: Tensor
    regression: Tensor
    direction: Tensor
    ignored_frame: Tensor
    ignored: Tensor
    heatmap: Tensor
    count: Tensor

    def to(self, device: torch.device) -> Self:
        """Return the targets on a device."""
        return type(self)(
            *(getattr(self, field.name).to(device, non_blocking=True) for field in fields(self))
        )


def anchor_losses(
    logits: Tensor, residuals: Tensor, directions: Tensor, targets: TargetTensors
) -> dict[str, Tensor]:
    """Return the weighted parts "category", "box" and "direction" of an anchor head's loss.

    Args:
        logits: (B, A * K, H, W).
        residuals: (B, A * 7, H, W).
        directions: (B, A * 2, H, W).
        targets: what they should be.
    """
    num_kinds = residuals.shape[1] // 7
    logits_BAKL = _by_kind(logits, num_kinds).float()
    kind, cell = _split(targets.place, logits_BAKL.shape[3])
    category = focal_loss(logits_BAKL, targets, kind, cell) / targets.count
    residuals_T7 = _gather(residuals, num_kinds, targets.frame, kind, cell)
    directions_T2 = _gather(directions, num_kinds, targets.frame, kind, cell)
    box = _residual_loss(residuals_T7, targets.regression) / targets.count
    direction = (
        functional.cross_entropy(directions_T2, targets.direction, reduction="sum") / targets.count
    )
    return {
        "category": CATEGORY_WEIGHT * category,
        "box": BOX_WEIGHT * box,
        "direction": DIRECTION_WEIGHT * direction,
    }


def focal_loss(logits_BAKL: Tensor, targets: TargetTensors, kind: Tensor, cell: Tensor) -> Tensor:
    """Return the summed focal loss (Lin et al., ICCV 2017) over all anchors not ignored.

    Every logit is first counted as background; the few that are not are then corrected.
    """
    background = _focal_background(logits_BAKL)
    ignored_kind, ignored_cell = _split(targets.ignored, logits_BAKL.shape[3])
    left_out = _focal_background(logits_BAKL[targets.ignored_frame, ignored_kind, :, ignored_cell])
    positive_T = logits_BAKL[targets.frame, kind, targets.category, cell]
    wanted = (
        FOCAL_ALPHA * torch.sigmoid(-positive_T) ** FOCAL_GAMMA * functional.softplus(-positive_T)
    )
    wrong = _focal_background(positive_T)
    return background.sum() - left_out.sum() + (wanted - wrong).sum()


def _focal_background(logits: Tensor) -> Tensor:
    weight = (1.0 - FOCAL_ALPHA) * torch.sigmoid(logits) ** FOCAL_GAMMA
    return weight * functional.softplus(logits)


def _residual_loss(predicted_T7: Tensor, wanted_T7: Tensor) -> Tensor:
    """Return the summed smooth L1 loss; the yaw counts by the sine of its error (SECOND, 3.2)."""
    error_T6 = predicted_T7[:, :6] - wanted_T7[:, :6]
    error_T1 = torch.sin(predicted_T7[:, 6:] - wanted_T7[:, 6:])
    error_T7 = torch.cat([error_T6, error_T1], dim=1)
    return functional.smooth_l1_loss(
        error_T7, torch.zeros_like(error_T7), reduction="sum", beta=SMOOTH_L1_BETA
    )


def center_losses(heatmap: Tensor, regression: Tensor, targets: TargetTensors) -> dict[str, Tensor]:
    """Return the weighted parts "heatmap" and "box" of a centre head's loss.

    The heat map's is the Gaussian focal loss of CornerNet (eq. 1), the regression's is L1.

    Args:
        heatmap: (B, K, H, W) logits.
        regression: (B, 8, H, W).
        targets: what they should be.
    """
    logits_BKHW = heatmap.float()
    score_BKHW = torch.sigmoid(logits_BKHW)
    near_BKHW = (1.0 - targets.heatmap) ** 4
    background = near_BKHW * score_BKHW**2 * functional.softplus(logits_BKHW)
    positive_T = logits_BKHW.flatten(2)[targets.frame, targets.category, targets.place]
    wanted = torch.sigmoid(-positive_T) ** 2 * functional.softplus(-positive_T)
    found_T8 = regression.float().flatten(2)[targets.frame, :, targets.place]
    box = functional.l1_loss(found_T8, targets.regression, reduction="sum")
    return {
        "heatmap": (background.sum() + wanted.sum()) / targets.count,
        "box": CENTER_WEIGHT * box / targets.count,
    }


def _split(place: Tensor, num_cells: int) -> tuple[Tensor, Tensor]:
    return torch.div(place, num_cells, rounding_mode="floor"), place % num_cells


def _gather(planes: Tensor, num_kinds: int, frame: Tensor, kind: Tensor, cell: Tensor) -> Tensor:
    """Return (T, D) the values at places of (B, A * D, H, W) planes."""
    return _by_kind(planes, num_kinds)[frame, kind, :, cell].float()


def _by_kind(planes: Tensor, num_kinds: int) -> Tensor:
    """Return (B, A, D, L) a view of (B, A * D, H, W) planes, where the layout allows one."""
    batch, channels, rows, columns = planes.shape
    return planes.reshape(batch, num_kinds, channels // num_kinds, rows * columns)
