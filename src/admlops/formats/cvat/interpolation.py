"""Tracks of keyframes become boxes in every frame, as CVAT shows them."""

import numpy as np
from numpy.typing import NDArray

from admlops.geometry.pose import wrap_angle

STAYS = -1
"""In place of a following shape."""


def spans_of(shapes: NDArray[np.int64], num_frames: int) -> NDArray[np.int64]:
    """Return in which frames the shapes of a track are seen.

    A shape is seen up to the next one; before the object leaves, and up to the last frame, it
    stays as it is. Of several shapes in a frame the last counts; CVAT writes one.

    Args:
        shapes: (N, 3) frame, whether the object is gone from there on, and number of the shape.
        num_frames: frames of the task.

    Returns:
        (M, 4) first frame, frame after the last, number of the shape, and number of the shape that
        it moves to, which is seen in the frame after the last; `STAYS` where there is none.
    """
    if not len(shapes):
        return np.empty((0, 4), np.int64)
    shapes = shapes[np.argsort(shapes[:, 0], kind="stable")]
    frames, is_outside, numbers = shapes[np.append(np.diff(shapes[:, 0]) > 0, True)].T
    stops = np.maximum(np.append(frames[1:], num_frames), frames + 1)
    following = np.append(np.where(is_outside[1:], STAYS, numbers[1:]), STAYS)
    return np.stack([frames, stops, numbers, following], axis=1)[is_outside == 0]


def move(
    first: NDArray[np.float64], second: NDArray[np.float64], share: float
) -> NDArray[np.float64]:
    """Return a box on its way: position and size move linearly, the yaw the shorter way round.

    Args:
        first: (7,) x y z length width height yaw, or (4,) left top right bottom.
        second: the same, at the end of the way.
        share: of the way.
    """
    step = second - first
    if len(first) == 7:
        step[6] = wrap_angle(step[6])
    moved = first + share * step
    if len(first) == 7 and not -np.pi <= moved[6] < np.pi:
        moved[6] = wrap_angle(moved[6])
    return moved
