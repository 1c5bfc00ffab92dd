"""The 2D backbone and neck of PointPillars (section 2.2), shared by all pillar detectors."""

from torch import Tensor, cat, nn

from admlops.detection.config import PillarDetectorConfig


def convolution_block(
    in_channels: int, out_channels: int, stride: int, momentum: float
) -> list[nn.Module]:
    """Return a 3 x 3 convolution, normalisation and rectifier."""
    return [
        nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels, eps=1e-3, momentum=momentum),
        nn.ReLU(inplace=True),
    ]


class Backbone(nn.Module):
    """Blocks of convolutions, each coarser than the one before."""

    def __init__(self, config: PillarDetectorConfig) -> None:
        super().__init__()
        settings, momentum = config.backbone, config.norm_momentum
        channels = config.encoder.num_channels
        self.blocks = nn.ModuleList()
        for layers, stride, width in zip(
            settings.num_layers, settings.strides, settings.num_channels, strict=True
        ):
            modules = convolution_block(channels, width, stride, momentum)
            for _ in range(layers):
                modules += convolution_block(width, width, 1, momentum)
            self.blocks.append(nn.Sequential(*modules))
            channels = width

    def forward(self, features_BCHW: Tensor) -> list[Tensor]:
        """Return one map per block."""
        maps = []
        for block in self.blocks:
            features_BCHW = block(features_BCHW)
            maps.append(features_BCHW)
        return maps


class Neck(nn.Module):
    """Brings the backbone's maps to one resolution and joins their channels."""

    def __init__(self, config: PillarDetectorConfig) -> None:
        super().__init__()
        settings = config.neck
        self.num_channels = sum(settings.num_channels)
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.ConvTranspose2d(width_in, width, stride, stride=stride, bias=False),
                nn.BatchNorm2d(width, eps=1e-3, momentum=config.norm_momentum),
                nn.ReLU(inplace=True),
            )
            for width_in, width, stride in zip(
                config.backbone.num_channels, settings.num_channels, settings.strides, strict=True
            )
        )

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Return (B, C, H, W) the joined map."""
        return cat([branch(one) for branch, one in zip(self.branches, maps, strict=True)], dim=1)
