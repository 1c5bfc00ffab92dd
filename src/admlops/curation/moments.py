"""When and where frames were taken, and how much frames of one scene therefore share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from admlops.lake.rows import tell_scenes
from admlops.structures.frame import FrameKey

SHARED_WITHIN_M = 30.0
"""Way of the vehicle on which the objects that two frames share become 1/e as many."""
SHARED_WITHIN_S = 15.0
"""Time in which they do where it stands."""


@dataclass(frozen=True, slots=True)
class Moments:
    """When and where N frames were taken.

    Attributes:
        scene: (N,) int64 number of each frame's scene, which frames of one `of` have in common.
        timestamp_ns: (N,) int64.
        global_from_ego: (N, 4, 4) float64.
        has_pose: (N,) whether the source knew poses of the scene.
    """

    scene: NDArray[np.int64]
    timestamp_ns: NDArray[np.int64]
    global_from_ego: NDArray[np.float64]
    has_pose: NDArray[np.bool_]

    @classmethod
    def of(cls, keys: Sequence[FrameKey], poses: NDArray[np.float64]) -> Self:
        """Return the moments of frames with (N, 4, 4) poses `global_from_ego`."""
        scene, has_pose = tell_scenes(keys, poses)
        times = np.array([key.timestamp_ns for key in keys], np.int64)
        return cls(scene, times, poses, has_pose)

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.scene)

    def select(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Self:
        """Return the moments of some frames."""
        return type(self)(
            self.scene[rows],
            self.timestamp_ns[rows],
            self.global_from_ego[rows],
            self.has_pose[rows],
        )


def shared_objects(moments: Moments, other: Moments) -> NDArray[np.float64]:
    """Return (N, M) shares of a frame's objects that frames of another list show too.

    Between frames of one scene the share falls exponentially with the way that the vehicle went
    and with the time. On objects within 40 m, the least squares are at 29 m and 6 s in the real
    sequence 0001 of KITTI tracking, and at 27 m and 33 s in a log of Argoverse 2, both with an
    error of 0.1. Frames of other scenes share nothing, nor do those without poses: a folder of
    images that is called one scene is none.
    """
    one_m, other_m = moments.global_from_ego[:, :2, 3], other.global_from_ego[:, :2, 3]
    way_m = np.linalg.norm(one_m[:, None] - other_m[None], axis=-1)
    time_s = np.abs(moments.timestamp_ns[:, None] - other.timestamp_ns[None]) / 1e9
    share = np.exp(-way_m / SHARED_WITHIN_M - time_s / SHARED_WITHIN_S)
    is_comparable = moments.scene[:, None] == other.scene[None]
    is_comparable &= moments.has_pose[:, None] & other.has_pose[None]
    return np.where(is_comparable, share, 0.0)
