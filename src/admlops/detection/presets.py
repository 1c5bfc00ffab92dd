"""Named detectors: functions that return complete configs."""

from typing import Literal

from admlops.detection.config import (
    AnchorConfig,
    AnchorHeadConfig,
    BackboneConfig,
    CenterHeadConfig,
    CenterPointConfig,
    DecodeConfig,
    NeckConfig,
    PillarDetectorConfig,
    PillarEncoderConfig,
    PointPillarsConfig,
)

KITTI_CATEGORIES = ("pedestrian", "cyclist", "car")
KITTI_RANGE_M = (0.0, -39.68, -1.27, 69.12, 39.68, 2.73)
"""The paper's range x 0..69.12, y -39.68..39.68, z -3..1 about a lidar 1.73 m above ground."""


def _kitti_anchors() -> tuple[AnchorConfig, ...]:
    """Return the paper's anchors (section 5), heights moved to the ground: 1.73 m added."""
    return (
        AnchorConfig(
            category="pedestrian",
            size_m=(0.8, 0.6, 1.73),
            center_z_m=1.13,
            positive_iou=0.5,
            negative_iou=0.35,
        ),
        AnchorConfig(
            category="cyclist",
            size_m=(1.76, 0.6, 1.73),
            center_z_m=1.13,
            positive_iou=0.5,
            negative_iou=0.35,
        ),
        AnchorConfig(
            category="car",
            size_m=(3.9, 1.6, 1.56),
            center_z_m=0.73,
            positive_iou=0.6,
            negative_iou=0.45,
        ),
    )


def pointpillars_kitti() -> PointPillarsConfig:
    """Return PointPillars as in the paper, one network for KITTI's three classes."""
    return PointPillarsConfig(
        categories=KITTI_CATEGORIES,
        point_cloud_range_m=KITTI_RANGE_M,
        voxel_size_m=(0.16, 0.16),
        head=AnchorHeadConfig(anchors=_kitti_anchors()),
        decode=DecodeConfig(max_candidates=300, max_boxes=100),
    )


def centerpoint_kitti() -> CenterPointConfig:
    """Return CenterPoint on the same pillars and backbone as `pointpillars_kitti`."""
    return CenterPointConfig(
        categories=KITTI_CATEGORIES,
        point_cloud_range_m=KITTI_RANGE_M,
        voxel_size_m=(0.16, 0.16),
        head=CenterHeadConfig(),
        decode=DecodeConfig(nms_iou=0.2, max_candidates=300, max_boxes=100),
    )


def small_detector(
    kind: Literal["pointpillars", "centerpoint"] = "centerpoint",
    categories: tuple[str, ...] = ("car", "pedestrian", "cyclist"),
) -> PillarDetectorConfig:
    """Return a detector that learns on two CPU cores in less than a minute.

    Pillars of 0.4 m to 57.6 m ahead, 0.27 million weights. The centre head's map has cells of
    0.8 m; the anchor head's has 0.4 m, or a pedestrian could fall between its anchors.

    Args:
        kind: the head.
        categories: what to find; the anchor head knows car, pedestrian and cyclist only.
    """
    whole = {
        "categories": categories,
        "point_cloud_range_m": (0.0, -25.6, -2.0, 57.6, 25.6, 4.0),
        "voxel_size_m": (0.4, 0.4),
        "max_pillars": 8000,
        "encoder": PillarEncoderConfig(num_channels=32),
        "backbone": BackboneConfig(
            num_layers=(1, 2, 2),
            strides=(2, 2, 2) if kind == "centerpoint" else (1, 2, 2),
            num_channels=(32, 48, 64),
        ),
        "neck": NeckConfig(strides=(1, 2, 4), num_channels=(32, 32, 32)),
        "norm_momentum": 0.1,
    }
    if kind == "centerpoint":
        head = CenterHeadConfig(num_channels=32)
        decode = DecodeConfig(nms_iou=0.2, max_candidates=200, max_boxes=60)
        return CenterPointConfig.parse(whole | {"head": head, "decode": decode})
    known = {anchor.category: anchor for anchor in _kitti_anchors()}
    anchors = AnchorHeadConfig(anchors=tuple(known[name] for name in categories))
    decode = DecodeConfig(max_candidates=200, max_boxes=60)
    return PointPillarsConfig.parse(whole | {"head": anchors, "decode": decode})
