"""Frames as training needs them: points as stored, and what it takes to compose a cloud."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from admlops.detection.targets import category_indices
from admlops.geometry.pose import invert
from admlops.structures.boxes import NUM_POINTS_UNKNOWN
from admlops.structures.frame import Frame, FrameKey

NO_VIEW = np.zeros(14, dtype=np.float32)
"""Stands for "no camera": every point is in view."""


@dataclass(frozen=True, slots=True)
class RawFrame:
    """A labelled frame before augmentation.

    Attributes:
        key: its key.
        points: (N, 4) float32 as stored, x y z in the sensor frame and intensity.
        ego_from_sensor: (3, 4) float32.
        view: (14,) float32, rows of the (3, 4) projection from the ego frame, then width and
            height in pixels; zeros where every point is in view.
        boxes_7: (B, 7) float64 labels to train on, in the ego frame.
        category: (B,) int64 their categories.
        obstacles_7: (O, 7) float64 all labels, whatever they are: nothing is pasted onto them.
    """

    key: FrameKey
    points: NDArray[np.float32]
    ego_from_sensor: NDArray[np.float32]
    view: NDArray[np.float32]
    boxes_7: NDArray[np.float64]
    category: NDArray[np.int64]
    obstacles_7: NDArray[np.float64]

    @property
    def num_bytes(self) -> int:
        """Return the memory that the points take."""
        return self.points.nbytes


def camera_view(frame: Frame) -> NDArray[np.float32]:
    """Return the front camera's view as `RawFrame.view` has it; no view without a camera."""
    camera = frame.camera
    if camera is None or camera.sensor.camera_matrix is None:
        return NO_VIEW
    camera_from_ego = invert(camera.sensor.ego_from_sensor)[:3]
    projection = camera.sensor.camera_matrix @ camera_from_ego
    return np.array([*projection.ravel(), camera.width_px, camera.height_px], dtype=np.float32)


def raw_frame(
    frame: Frame, categories: Sequence[str], min_points: int, with_view: bool
) -> RawFrame | None:
    """Return a frame as training needs it; None if it has no lidar sweep or is not labelled.

    Args:
        frame: the frame, with its lidar points.
        categories: what the detector knows; other labels only become obstacles.
        min_points: boxes with fewer points become obstacles too.
        with_view: whether points outside the front camera's image will be dropped.
    """
    if frame.lidar is None or frame.boxes is None:
        return None
    plain = as_raw_frame(frame, with_view=with_view)
    boxes_7 = frame.boxes.as_7()
    category = category_indices(frame.boxes, categories)
    count = frame.boxes.num_points
    seen = (count >= min_points) | (count == NUM_POINTS_UNKNOWN)
    wanted = (category >= 0) & seen & np.isfinite(boxes_7).all(axis=1)
    return replace(plain, boxes_7=boxes_7[wanted], category=category[wanted], obstacles_7=boxes_7)


def as_raw_frame(frame: Frame, *, with_view: bool) -> RawFrame:
    """Return a frame without its labels.

    Raises:
        ValueError: the frame has no lidar sweep.
    """
    if frame.lidar is None:
        raise ValueError(f"frame {frame.key} has no lidar sweep")
    return RawFrame(
        key=frame.key,
        points=frame.lidar.points,
        ego_from_sensor=frame.lidar.sensor.ego_from_sensor[:3].astype(np.float32),
        view=camera_view(frame) if with_view else NO_VIEW,
        boxes_7=np.empty((0, 7)),
        category=np.empty(0, dtype=np.int64),
        obstacles_7=np.empty((0, 7)),
    )
