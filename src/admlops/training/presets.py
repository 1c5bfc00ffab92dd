"""Named trainings: functions that return complete configs."""

from admlops.detection.config import PillarDetectorConfig
from admlops.detection.presets import centerpoint_kitti, pointpillars_kitti, small_detector
from admlops.loading.config import AugmentationConfig, LoadingConfig
from admlops.training.config import OptimizerConfig, TrainConfig

KITTI_TRAIN_FRAMES = 3712
"""Frames of KITTI's usual training split."""
SMALL_OBJECTS = {"car": 10, "pedestrian": 6, "cyclist": 6}
"""Up to how many objects a frame of the small training is filled."""


def train_pointpillars_kitti() -> TrainConfig:
    """Return 80 passes over KITTI's training split, as OpenPCDet trains PointPillars."""
    return _train_kitti(pointpillars_kitti())


def train_centerpoint_kitti() -> TrainConfig:
    """Return 80 passes over KITTI's training split for CenterPoint."""
    return _train_kitti(centerpoint_kitti())


def _train_kitti(detector: PillarDetectorConfig) -> TrainConfig:
    batch_size = 4
    return TrainConfig(
        detector=detector,
        loading=LoadingConfig(camera_view=True),
        optimizer=OptimizerConfig(learning_rate=0.003, weight_decay=0.01),
        num_steps=80 * KITTI_TRAIN_FRAMES // batch_size,
        batch_size=batch_size,
    )


def train_small(
    num_steps: int = 300, categories: tuple[str, ...] = ("car", "pedestrian", "cyclist")
) -> TrainConfig:
    """Return a training of the small detector that takes about a minute on two CPU cores.

    Args:
        num_steps: optimiser steps.
        categories: what to find.
    """
    return TrainConfig(
        detector=small_detector("centerpoint", categories),
        loading=LoadingConfig(
            augmentation=AugmentationConfig(
                rotation_rad=0.4,
                object_rotation_rad=0.0,
                object_translation_m=0.0,
                objects_per_frame={
                    name: count for name, count in SMALL_OBJECTS.items() if name in categories
                },
            )
        ),
        optimizer=OptimizerConfig(learning_rate=0.006, warm_up_share=0.3),
        num_steps=num_steps,
        batch_size=4,
    )


def overfit(detector: PillarDetectorConfig, num_steps: int) -> TrainConfig:
    """Return a training without augmentation, to learn a few frames by heart.

    Args:
        detector: what is trained; its normalisation follows quickly.
        num_steps: optimiser steps.
    """
    return TrainConfig(
        detector=detector.replace(norm_momentum=0.1),
        loading=LoadingConfig(camera_view=True, augmentation=AugmentationConfig.none()),
        optimizer=OptimizerConfig(learning_rate=0.004, warm_up_share=0.3),
        num_steps=num_steps,
        batch_size=4,
    )
