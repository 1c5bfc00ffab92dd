"""Detectors: a network that can be exported, and the loss that trains it."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from admlops.detection.config import (
    NETWORK_INPUTS,
    CenterPointConfig,
    PillarDetectorConfig,
    PointPillarsConfig,
)
from admlops.detection.families import find_family
from admlops.detection.predictor import FRAME_EMBEDDING
from admlops.errors import ConfigError
from admlops.models.backbone import Backbone, Neck
from admlops.models.encoder import PillarEncoder
from admlops.models.heads import AnchorHead, CenterHead
from admlops.models.losses import TargetTensors, anchor_losses, center_losses

Losses = Callable[..., dict[str, Tensor]]
"""The output planes, in order, and the targets, to the weighted parts of the loss."""


class PillarNetwork(nn.Module):
    """Encoder, backbone, neck and head: everything between voxelisation and decoding.

    Its inputs are `NETWORK_INPUTS`, its outputs `config.output_names`, both in that order.
    """

    def __init__(self, config: PillarDetectorConfig, head: type[nn.Module]) -> None:
        super().__init__()
        self.encoder = PillarEncoder(config)
        self.backbone = Backbone(config)
        self.neck = Neck(config)
        self.head = head(self.neck.num_channels, config)

    def forward(
        self,
        point_features: Tensor,
        point_pillar: Tensor,
        pillar_cell: Tensor,
        batch_size: int = 1,
    ) -> tuple[Tensor, ...]:
        """Return the head's planes.

        Args:
            point_features: (M, 9) decorated points, sorted by pillar.
            point_pillar: (M,) pillar of each point.
            pillar_cell: (P,) grid cell of each pillar, plus b * H * W in the b-th frame.
            batch_size: number of frames.
        """
        features_BCHW = self.features(point_features, point_pillar, pillar_cell, batch_size)
        outputs: tuple[Tensor, ...] = self.head(features_BCHW)
        return outputs

    def features(
        self,
        point_features: Tensor,
        point_pillar: Tensor,
        pillar_cell: Tensor,
        batch_size: int = 1,
    ) -> Tensor:
        """Return (B, C, H, W) what the head sees; the arguments are those of `forward`."""
        canvas_BCHW = self.encoder(point_features, point_pillar, pillar_cell, batch_size)
        features_BCHW: Tensor = self.neck(self.backbone(canvas_BCHW))
        return features_BCHW


class Detector(nn.Module):
    """A network with its config and loss; `infer` fits the `Predictor`.

    Attributes:
        config: the typed settings.
        network: the exportable module.
    """

    def __init__(self, config: PillarDetectorConfig, network: nn.Module, losses: Losses) -> None:
        super().__init__()
        self.config = config
        self.network = network
        self._losses = losses

    def losses(self, outputs: Mapping[str, Tensor], targets: TargetTensors) -> dict[str, Tensor]:
        """Return the weighted parts of the loss by name; training minimises their sum."""
        return self._losses(*(outputs[name] for name in self.config.output_names), targets)

    def forward(self, inputs: Mapping[str, Tensor], batch_size: int = 1) -> dict[str, Tensor]:
        """Return the outputs by name for a batch's inputs by name."""
        planes = self.network(*(inputs[name] for name in NETWORK_INPUTS), batch_size)
        return dict(zip(self.config.output_names, planes, strict=True))

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        """Run the network on one frame's arrays, without gradients and in evaluation mode."""
        was_training = self.training
        self.eval()
        device = next(self.parameters()).device
        tensors = {name: torch.from_numpy(inputs[name]).to(device) for name in NETWORK_INPUTS}
        with torch.inference_mode():
            outputs = self(tensors)
        self.train(was_training)
        return {name: plane.float().cpu().numpy() for name, plane in outputs.items()}

    def infer_and_embed(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        """Run the network as `infer` does and add the frame's embedding to the outputs.

        It is (2 C,): mean and maximum over the map that the head sees.

        Raises:
            ConfigError: the network has no such map.
        """
        if not isinstance(self.network, PillarNetwork):
            raise ConfigError(
                f"detector kind {self.config.kind!r} shows no features; predict without embed"
            )
        was_training = self.training
        self.eval()
        device = next(self.parameters()).device
        points, pillar, cell = (torch.from_numpy(inputs[n]).to(device) for n in NETWORK_INPUTS)
        with torch.inference_mode():
            features_BCHW = self.network.features(points, pillar, cell)
            planes = self.network.head(features_BCHW)
            pooled = torch.cat([features_BCHW.mean((2, 3)), features_BCHW.amax((2, 3))], dim=1)
        self.train(was_training)
        named = dict(zip(self.config.output_names, planes, strict=True))
        named[FRAME_EMBEDDING] = pooled[0]
        return {name: plane.float().cpu().numpy() for name, plane in named.items()}

    def set_channels_last(self, claim: bool) -> None:
        """Choose whether the canvas keeps its channels innermost, as it is built."""
        for module in self.modules():
            if isinstance(module, PillarEncoder):
                module.channels_last = claim

    def num_parameters(self) -> int:
        """Return the number of trained values."""
        return sum(parameter.numel() for parameter in self.parameters())


def pointpillars(config: PointPillarsConfig) -> Detector:
    """Return PointPillars with new weights."""
    return Detector(config, PillarNetwork(config, AnchorHead), anchor_losses)


def centerpoint(config: CenterPointConfig) -> Detector:
    """Return CenterPoint on pillars with new weights."""
    return Detector(config, PillarNetwork(config, CenterHead), center_losses)


def build_detector(config: PillarDetectorConfig) -> Detector:
    """Return a detector with new weights, of a built-in kind or an entry point's.

    Raises:
        ConfigError: no family of that kind is installed.
    """
    detector: Detector = find_family(config.kind).import_detector()(config)
    return detector
