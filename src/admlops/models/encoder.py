"""Points to a map of pillar features.

Shapes: M points, P pillars, C channels, B frames, H rows, W columns.
"""

import torch
from torch import Tensor, nn

from admlops.detection.config import NUM_POINT_FEATURES, PillarDetectorConfig


class PillarEncoder(nn.Module):
    """A linear layer and normalisation per point, then the maximum over each pillar's points.

    Source: PointPillars, section 2.1. The points are flat, not padded pillars; the maximum starts
    from zero, which makes it the rectifier too.
    """

    def __init__(self, config: PillarDetectorConfig) -> None:
        super().__init__()
        self.num_channels = config.encoder.num_channels
        self.grid_shape = config.grid_shape
        self.channels_last = True
        self.linear = nn.Linear(NUM_POINT_FEATURES, self.num_channels, bias=False)
        self.norm = nn.BatchNorm1d(self.num_channels, eps=1e-3, momentum=config.norm_momentum)

    def forward(
        self,
        point_features_M9: Tensor,
        point_pillar_M: Tensor,
        pillar_cell_P: Tensor,
        batch_size: int = 1,
    ) -> Tensor:
        """Return (B, C, H, W) pillar features, zero where no point fell.

        A pillar's cell of the b-th frame of a batch is offset by b * H * W.
        """
        features_MC = self.norm(self.linear(point_features_M9))
        index_MC = point_pillar_M[:, None].expand(-1, self.num_channels)
        pillars_PC = features_MC.new_zeros((pillar_cell_P.shape[0], self.num_channels))
        pillars_PC = pillars_PC.scatter_reduce(0, index_MC, features_MC, "amax")
        rows, columns = self.grid_shape
        canvas = features_MC.new_zeros((batch_size * rows * columns, self.num_channels))
        canvas = canvas.index_put((pillar_cell_P,), pillars_PC)
        canvas_BCHW = canvas.view(batch_size, rows, columns, -1).permute(0, 3, 1, 2)
        return canvas_BCHW if self.channels_last else canvas_BCHW.contiguous()


def warm_inputs(num_points: int = 64, num_pillars: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    """Return inputs of the right shapes and types, for tracing and export."""
    generator = torch.Generator().manual_seed(0)
    features_M9 = torch.randn((num_points, NUM_POINT_FEATURES), generator=generator)
    point_pillar_M = torch.arange(num_points) * num_pillars // num_points
    return features_M9, point_pillar_M, torch.arange(num_pillars) * 3
