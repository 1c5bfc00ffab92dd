"""Heads: from the joined map to named output planes."""

import math

from torch import Tensor, nn

from admlops.detection.config import CenterPointConfig, PointPillarsConfig
from admlops.models.backbone import convolution_block

PRIOR_PROBABILITY = 0.01
"""Score of every place before training, so that the focal loss starts small (RetinaNet, 4.1)."""


def _set_prior(layer: nn.Conv2d, probability: float) -> None:
    if layer.bias is None:
        raise ValueError("the layer has no bias")
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.constant_(layer.bias, -math.log((1.0 - probability) / probability))


class AnchorHead(nn.Module):
    """Three 1 x 1 convolutions: category, residuals and direction of each anchor."""

    def __init__(self, in_channels: int, config: PointPillarsConfig) -> None:
        super().__init__()
        num_kinds = len(config.head.anchors) * len(config.head.yaws_rad)
        self.categories = nn.Conv2d(in_channels, num_kinds * len(config.categories), 1)
        self.residuals = nn.Conv2d(in_channels, num_kinds * 7, 1)
        self.directions = nn.Conv2d(in_channels, num_kinds * 2, 1)
        _set_prior(self.categories, PRIOR_PROBABILITY)

    def forward(self, features_BCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the planes named `ANCHOR_OUTPUTS`."""
        return (
            self.categories(features_BCHW),
            self.residuals(features_BCHW),
            self.directions(features_BCHW),
        )


class CenterHead(nn.Module):
    """A shared convolution, then one branch for the heat map and one for the regression."""

    def __init__(self, in_channels: int, config: CenterPointConfig) -> None:
        super().__init__()
        width, momentum = config.head.num_channels, config.norm_momentum
        self.shared = nn.Sequential(*convolution_block(in_channels, width, 1, momentum))
        self.heatmap = nn.Sequential(
            *convolution_block(width, width, 1, momentum),
            nn.Conv2d(width, len(config.categories), 3, padding=1),
        )
        self.regression = nn.Sequential(
            *convolution_block(width, width, 1, momentum), nn.Conv2d(width, 8, 3, padding=1)
        )
        last = self.heatmap[-1]
        if isinstance(last, nn.Conv2d):
            _set_prior(last, 10 * PRIOR_PROBABILITY)

    def forward(self, features_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return the planes named `CENTER_OUTPUTS`."""
        shared_BCHW = self.shared(features_BCHW)
        return self.heatmap(shared_BCHW), self.regression(shared_BCHW)
