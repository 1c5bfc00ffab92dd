"""Tracks of keyframes become boxes in every frame, as CVAT shows them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from admlops.geometry.pose import wrap_angle


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape of a track.

    Attributes:
        frame: number of the frame.
        is_outside: whether the object is gone from here on.
        numbers: (7,) x y z length width height yaw, or (4,) left top right bottom.
        order: place among the boxes of the frame.
        details: what is said of it.
    """

    frame: int
    is_outside: bool
    numbers: NDArray[np.float64]
    order: int
    details: Mapping[str, Any]


def fill_track(shapes: Sequence[Shape], num_frames: int) -> Iterator[Shape]:
    """Yield the visible shapes of a track, with those between its keyframes.

    Between two shapes position and size move linearly and the yaw the shorter way round; before
    the object leaves, and up to the last frame, the last shape stays. What else is said of a box
    is said from its shape on.

    Args:
        shapes: with rising frame numbers.
        num_frames: frames of the task.
    """
    for place, shape in enumerate(shapes):
        if shape.is_outside:
            continue
        yield shape
        following = shapes[place + 1] if place + 1 < len(shapes) else None
        stop = num_frames if following is None else following.frame
        for frame in range(shape.frame + 1, stop):
            numbers = shape.numbers
            if following is not None and not following.is_outside:
                share = (frame - shape.frame) / (following.frame - shape.frame)
                numbers = _between(shape.numbers, following.numbers, share)
            yield Shape(frame, False, numbers, shape.order, shape.details)


def _between(
    first: NDArray[np.float64], second: NDArray[np.float64], share: float
) -> NDArray[np.float64]:
    step = second - first
    if len(first) == 7:
        step[6] = wrap_angle(step[6])
    moved = first + share * step
    if len(first) == 7 and not -np.pi <= moved[6] < np.pi:
        moved[6] = wrap_angle(moved[6])
    return moved
