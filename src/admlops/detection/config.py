"""What a detector is: typed settings by composition, and the names of its network's tensors.

A detector takes lidar points in the ego frame, gathers them into pillars (vertical columns of a
ground grid), runs a network and decodes its output into boxes. Everything here is plain numbers:
it is written beside the weights as ``detector.json`` and read again wherever the model runs.
"""

import json
from abc import abstractmethod
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from admlops.config import Config, read_json_object
from admlops.errors import ConfigError

POINT_FEATURES = "point_features"
"""(M, 9) float32: points sorted by pillar, decorated as in the paper."""
POINT_PILLAR = "point_pillar"
"""(M,) int64: the pillar, 0 .. P - 1, of each point."""
PILLAR_CELL = "pillar_cell"
"""(P,) int64: the grid cell, row * columns + column, of each pillar."""
NETWORK_INPUTS = (POINT_FEATURES, POINT_PILLAR, PILLAR_CELL)
"""Names of the network's inputs, in order. M and P change from frame to frame."""
NUM_POINT_FEATURES = 9
"""x y z intensity, offsets x y z to the pillar's mean, offsets x y to the pillar's centre."""

CLASS_LOGITS = "class_logits"
"""(1, A * K, H, W) float32 of the anchor head: K category logits for each of A anchors."""
BOX_RESIDUALS = "box_residuals"
"""(1, A * 7, H, W) float32 of the anchor head, coded against the anchors."""
DIRECTION_LOGITS = "direction_logits"
"""(1, A * 2, H, W) float32 of the anchor head: front or back."""
HEATMAP_LOGITS = "heatmap_logits"
"""(1, K, H, W) float32 of the centre head."""
CENTER_REGRESSION = "center_regression"
"""(1, 8, H, W) float32 of the centre head: dx dy z log l log w log h sin cos."""
ANCHOR_OUTPUTS = (CLASS_LOGITS, BOX_RESIDUALS, DIRECTION_LOGITS)
CENTER_OUTPUTS = (HEATMAP_LOGITS, CENTER_REGRESSION)

DETECTOR_FILE = "detector.json"
"""Name of the file in model, exported and built folders."""
WEIGHTS_FILE = "weights.pt"
"""Name of the state dict in a model folder."""

PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class PillarEncoderConfig(Config):
    """One linear layer, normalisation and a maximum over each pillar's points."""

    num_channels: PositiveInt = 64
    """Features per pillar."""


class BackboneConfig(Config):
    """Blocks of 3 x 3 convolutions; each block's first one has the stride."""

    num_layers: tuple[PositiveInt, ...] = (3, 5, 5)
    """Convolutions after the strided one, for each block."""
    strides: tuple[PositiveInt, ...] = (2, 2, 2)
    """Stride of each block against the one before."""
    num_channels: tuple[PositiveInt, ...] = (64, 128, 256)
    """Output channels of each block."""

    @model_validator(mode="after")
    def _lengths_agree(self) -> Self:
        if not len(self.num_layers) == len(self.strides) == len(self.num_channels):
            raise ValueError("num_layers, strides and num_channels must have one entry per block")
        return self


class NeckConfig(Config):
    """Each block's output is brought to one resolution by a transposed convolution, then joined."""

    strides: tuple[PositiveInt, ...] = (1, 2, 4)
    """Up-sampling of each block's output."""
    num_channels: tuple[PositiveInt, ...] = (128, 128, 128)
    """Output channels for each block."""


class AnchorConfig(Config):
    """One category's anchor box, laid at every cell under every yaw."""

    category: str
    """Category that the anchor is for."""
    size_m: tuple[PositiveFloat, PositiveFloat, PositiveFloat]
    """Length, width, height."""
    center_z_m: float
    """Height of the centre above the ground."""
    positive_iou: Share = 0.6
    """Overlap in BEV from which an anchor is trained towards a box."""
    negative_iou: Share = 0.45
    """Overlap below which an anchor is trained towards nothing."""


class AnchorHeadConfig(Config):
    """Category, box and direction for each anchor."""

    anchors: tuple[AnchorConfig, ...]
    """One entry per category, in the order of the detector's categories."""
    yaws_rad: tuple[float, ...] = (0.0, 1.5707963267948966)
    """Yaws of the anchors of each category."""
    direction_offset_rad: float = 0.7853981633974483
    """Where the front bin starts: far from common yaws, so that the bins are easy to tell."""


class CenterHeadConfig(Config):
    """A heat map of centres per category, and one box regression."""

    num_channels: PositiveInt = 64
    """Channels of the shared convolution and of each branch."""
    min_radius_cells: PositiveInt = 2
    """Smallest radius of a centre's Gaussian."""
    min_overlap: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Overlap that a box moved by the radius must keep; smaller means wider Gaussians."""


class DecodeConfig(Config):
    """From network output to boxes."""

    score_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Boxes below this score are dropped."""
    nms_iou: Share = 0.01
    """Overlap in BEV above which the weaker of two boxes is dropped."""
    per_category_nms: bool = True
    """Whether only boxes of the same category suppress each other."""
    max_candidates: PositiveInt = 1000
    """Best boxes per frame that go into the suppression."""
    max_boxes: PositiveInt = 200
    """Boxes per frame that come out."""


class PillarDetectorConfig(Config):
    """What all pillar detectors have; a third party's config is a subclass with its own kind."""

    kind: str
    """Name of the family."""
    categories: tuple[str, ...] = Field(min_length=1)
    """Categories that the detector knows, in the order of its outputs."""
    point_cloud_range_m: tuple[float, float, float, float, float, float]
    """Smallest x y z, largest x y z, in the ego frame."""
    voxel_size_m: tuple[PositiveFloat, PositiveFloat]
    """Ground size of a pillar, x y."""
    max_points_per_pillar: PositiveInt = 32
    """Points beyond are dropped."""
    max_pillars: PositiveInt = 40_000
    """Pillars beyond are dropped."""
    encoder: PillarEncoderConfig = PillarEncoderConfig()
    """From points to pillar features."""
    backbone: BackboneConfig = BackboneConfig()
    """From the pillar grid to feature maps."""
    neck: NeckConfig = NeckConfig()
    """From feature maps to one map."""
    decode: DecodeConfig = DecodeConfig()
    """From network output to boxes."""
    norm_momentum: Annotated[float, Field(gt=0, le=1)] = 0.01
    """How fast the normalisation's running statistics follow; larger for short trainings."""

    @model_validator(mode="after")
    def _grid_is_whole(self) -> Self:
        low, high = self.range_low_m, self.range_high_m
        if not bool((high > low).all()):
            raise ValueError("point_cloud_range_m: every largest value must exceed the smallest")
        cells = (high - low)[:2] / np.array(self.voxel_size_m)
        if bool((np.abs(cells - np.round(cells)) > 1e-3).any()):
            raise ValueError(f"the range holds {cells.tolist()} voxels: whole numbers are needed")
        total = int(np.prod(self.backbone.strides))
        if any(size % total for size in self.grid_shape):
            raise ValueError(
                f"a grid of {self.grid_shape} cells is not divisible by the strides ({total})"
            )
        self._check_neck()
        return self

    def _check_neck(self) -> None:
        blocks = len(self.backbone.strides)
        if len(self.neck.strides) != blocks or len(self.neck.num_channels) != blocks:
            raise ValueError(f"neck: strides and num_channels need {blocks} entries, one per block")
        down = np.cumprod(self.backbone.strides)
        if len({int(d) / u for d, u in zip(down, self.neck.strides, strict=True)}) != 1:
            raise ValueError("neck.strides must bring every block to the same resolution")

    @property
    def range_low_m(self) -> NDArray[np.float64]:
        """Return (3,) the smallest x y z."""
        return np.array(self.point_cloud_range_m[:3])

    @property
    def range_high_m(self) -> NDArray[np.float64]:
        """Return (3,) the largest x y z."""
        return np.array(self.point_cloud_range_m[3:])

    @property
    def grid_shape(self) -> tuple[int, int]:
        """Return rows (along y) and columns (along x) of the pillar grid."""
        size = (self.range_high_m - self.range_low_m)[:2] / np.array(self.voxel_size_m)
        columns, rows = np.round(size).astype(int).tolist()
        return rows, columns

    @property
    def output_stride(self) -> int:
        """Return how many pillars make one cell of the output map."""
        return int(self.backbone.strides[0]) // int(self.neck.strides[0])

    @property
    def output_shape(self) -> tuple[int, int]:
        """Return rows and columns of the output map."""
        rows, columns = self.grid_shape
        return rows // self.output_stride, columns // self.output_stride

    @property
    @abstractmethod
    def output_names(self) -> tuple[str, ...]:
        """Return the names of the network's outputs, in order."""


class PointPillarsConfig(PillarDetectorConfig):
    """PointPillars: an anchor head on a pillar grid (Lang et al., CVPR 2019)."""

    kind: Literal["pointpillars"] = "pointpillars"
    """Name of the family."""
    head: AnchorHeadConfig
    """From the joined map to categories and boxes."""

    @model_validator(mode="after")
    def _one_anchor_per_category(self) -> Self:
        named = tuple(anchor.category for anchor in self.head.anchors)
        if named != self.categories:
            raise ValueError(f"head.anchors are for {named}, categories are {self.categories}")
        return self

    @property
    def output_names(self) -> tuple[str, ...]:
        """Return the names of the network's outputs, in order."""
        return ANCHOR_OUTPUTS


class CenterPointConfig(PillarDetectorConfig):
    """CenterPoint on pillars: a heat-map head (Yin et al., CVPR 2021)."""

    kind: Literal["centerpoint"] = "centerpoint"
    """Name of the family."""
    head: CenterHeadConfig = CenterHeadConfig()
    """From the joined map to heat maps and boxes."""

    @property
    def output_names(self) -> tuple[str, ...]:
        """Return the names of the network's outputs, in order."""
        return CENTER_OUTPUTS


def _parse_if_plain(values: Any) -> Any:  # noqa: ANN401 - whatever a caller gave
    return parse_detector_config(values) if isinstance(values, dict) else values


DetectorConfig = Annotated[SerializeAsAny[PillarDetectorConfig], BeforeValidator(_parse_if_plain)]
"""Any detector's config, told apart by `kind`; also the type of a field in other configs."""


def parse_detector_config(values: Any, where: str = "") -> PillarDetectorConfig:  # noqa: ANN401
    """Return the config that a mapping of plain values describes, whichever its kind.

    Raises:
        ConfigError: a field is wrong, or no family of that kind is installed.
    """
    from admlops.detection.families import find_family

    if not isinstance(values, dict) or "kind" not in values:
        raise ConfigError(f"{where or 'detector'}: expected a mapping with a field 'kind'")
    return find_family(str(values["kind"])).config_type.parse(values, where=where)


def read_detector_config(folder: Path) -> PillarDetectorConfig:
    """Read `detector.json` of a model, exported or built folder.

    Raises:
        DataError: the file is absent or holds no JSON object.
        ConfigError: it describes no detector.
    """
    path = folder / DETECTOR_FILE
    values = read_json_object(path, f"is {folder} a model, exported or built folder?")
    return parse_detector_config(values, where=str(path))


def detector_config_json(config: PillarDetectorConfig) -> str:
    """Return the text of `detector.json`."""
    return json.dumps(config.to_json_dict(), indent=2) + "\n"
