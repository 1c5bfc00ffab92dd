"""Frames to network inputs and targets, many at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from admlops.detection.config import PillarDetectorConfig
from admlops.detection.targets import Targets, make_targets
from admlops.detection.voxelization import Pillars, Voxelizer
from admlops.loading.augmentation import TrainingFrame
from admlops.structures.frame import FrameKey


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs and targets of B frames.

    Attributes:
        keys: the frames.
        inputs: pillars of all frames; `point_pillar` counts on, and `pillar_cell` is offset by the
            number of grid cells from frame to frame.
        frame: (T,) int64 frame of each target.
        targets: targets of all frames; the heat map is (B, K, H, W).
        ignored_frame: (I,) int64 frame of each ignored place.
    """

    keys: tuple[FrameKey, ...]
    inputs: Pillars
    frame: NDArray[np.int64]
    targets: Targets
    ignored_frame: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.keys)


class Batcher:
    """Makes batches for one detector, in one thread."""

    def __init__(self, config: PillarDetectorConfig) -> None:
        self._config = config
        self._voxelizer = Voxelizer(config)

    def __call__(self, frames: Sequence[TrainingFrame]) -> Batch:
        """Return the batch of at least one frame; boxes outside the range are left out."""
        pillars = [self._voxelizer(frame.points).copy() for frame in frames]
        targets = [self._targets(frame) for frame in frames]
        rows, columns = self._config.grid_shape
        return Batch(
            keys=tuple(frame.key for frame in frames),
            inputs=_join_pillars(pillars, rows * columns),
            frame=_owners([len(one.place) for one in targets]),
            targets=_join_targets(targets),
            ignored_frame=_owners([len(one.ignored) for one in targets]),
        )

    def _targets(self, frame: TrainingFrame) -> Targets:
        low, high = self._config.range_low_m, self._config.range_high_m
        center = frame.boxes_7[:, :3]
        inside = ((center >= low) & (center < high)).all(axis=1)
        return make_targets(frame.boxes_7[inside], frame.category[inside], self._config)


def _owners(lengths: Sequence[int]) -> NDArray[np.int64]:
    return np.repeat(np.arange(len(lengths)), lengths)


def _join_pillars(parts: Sequence[Pillars], num_cells: int) -> Pillars:
    starts = np.cumsum([0, *(len(part) for part in parts[:-1])])
    return Pillars(
        np.concatenate([part.point_features for part in parts]),
        np.concatenate(
            [part.point_pillar + start for part, start in zip(parts, starts, strict=True)]
        ),
        np.concatenate([part.pillar_cell + i * num_cells for i, part in enumerate(parts)]),
        sum(part.num_points_invalid for part in parts),
    )


def _join_targets(parts: Sequence[Targets]) -> Targets:
    return Targets(
        place=np.concatenate([part.place for part in parts]),
        category=np.concatenate([part.category for part in parts]),
        regression=np.concatenate([part.regression for part in parts]),
        direction=np.concatenate([part.direction for part in parts]),
        ignored=np.concatenate([part.ignored for part in parts]),
        heatmap=np.stack([part.heatmap for part in parts]),
    )
