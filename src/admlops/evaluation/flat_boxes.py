"""Boxes of many frames as flat columns: what the evaluators read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from admlops.formats.kitti.labels import LabelTable
from admlops.geometry.pose import wrap_angle
from admlops.structures.boxes import NUM_POINTS_UNKNOWN, Boxes

ALPHA_UNKNOWN = -10.0
DONT_CARE = "dontcare"


@dataclass(frozen=True, slots=True)
class FlatBoxes:
    """The N boxes of F frames, labels or predictions, in frame order.

    Attributes:
        frame_names: (F) names, unique.
        offsets: (F + 1,) int64; the boxes of frame f are offsets[f] to offsets[f + 1].
        category_names: distinct categories, lower case.
        category_index: (N,) int64 into `category_names`.
        boxes_7: (N, 7) float64 x y z length width height yaw, ego frame.
        box2d_px: (N, 4) float64 left top right bottom; NaN absent.
        alpha_rad: (N,) float64 observation angle; -10 unknown.
        truncation: (N,) float64; -1 or NaN unknown.
        occlusion: (N,) int64; -1 unknown.
        num_points: (N,) int64 lidar points inside; -1 unknown.
        score: (N,) float64; NaN for labels.
    """

    frame_names: tuple[str, ...]
    offsets: NDArray[np.int64]
    category_names: tuple[str, ...]
    category_index: NDArray[np.int64]
    boxes_7: NDArray[np.float64]
    box2d_px: NDArray[np.float64]
    alpha_rad: NDArray[np.float64]
    truncation: NDArray[np.float64]
    occlusion: NDArray[np.int64]
    num_points: NDArray[np.int64]
    score: NDArray[np.float64]

    def __len__(self) -> int:
        """Return the number of boxes."""
        return len(self.category_index)

    @property
    def num_frames(self) -> int:
        """The number of frames, empty ones included."""
        return len(self.frame_names)

    @classmethod
    def from_label_table(cls, table: LabelTable) -> Self:
        """Return the rows of KITTI label files, moved to the ego frame."""
        return cls(
            frame_names=table.frame_names,
            offsets=table.offsets,
            category_names=table.type_names,
            category_index=table.type_index,
            boxes_7=table.as_7(),
            box2d_px=table.box2d_px,
            alpha_rad=table.alpha_rad,
            truncation=table.truncation,
            occlusion=table.occlusion,
            num_points=np.full(len(table), NUM_POINTS_UNKNOWN),
            score=table.score,
        )

    @classmethod
    def from_frames(cls, names: Sequence[str], frames: Iterable[Boxes]) -> Self:
        """Return the boxes of frames that follow each other as `names` do."""
        parts = list(frames)
        boxes = Boxes.concatenate(parts)
        sizes = np.array([0, *(len(part) for part in parts)], dtype=np.int64)
        categories, index = np.unique(boxes.category.astype(str), return_inverse=True)
        rows = boxes.as_7()
        return cls(
            frame_names=tuple(names),
            offsets=np.cumsum(sizes),
            category_names=tuple(str(name) for name in categories),
            category_index=index.astype(np.int64).reshape(-1),
            boxes_7=rows,
            box2d_px=boxes.box2d_px,
            alpha_rad=observation_angle(rows),
            truncation=boxes.truncation,
            occlusion=boxes.occlusion,
            num_points=boxes.num_points,
            score=boxes.score,
        )

    def frame_of_box(self) -> NDArray[np.int64]:
        """Return (N,) the frame number of each box."""
        return np.repeat(np.arange(self.num_frames), np.diff(self.offsets))

    def first_unscored(self) -> str | None:
        """Return the name of the first frame that holds a box without a score, or None."""
        unscored = np.flatnonzero(np.isnan(self.score))
        if len(unscored) == 0:
            return None
        return self.frame_names[int(np.searchsorted(self.offsets, unscored[0], side="right")) - 1]

    def look_up(self, values: dict[str, int], absent: int) -> NDArray[np.int64]:
        """Return (N,) the value of each box's category, `absent` for a category without one."""
        table = np.array([values.get(name, absent) for name in self.category_names] or [absent])
        return table[self.category_index].astype(np.int64)


def observation_angle(boxes_7: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (N,) KITTI's alpha of boxes in the ego frame: the heading seen from the camera.

    alpha = rotation_y - atan2(x_camera, z_camera), with rotation_y = -(yaw + pi/2).
    """
    bearing = np.arctan2(boxes_7[:, 1], boxes_7[:, 0])
    return wrap_angle(-(boxes_7[:, 6] + np.pi / 2.0) + bearing)
