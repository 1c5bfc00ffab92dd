"""What was delivered for a frame, as rules over several frames look at it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from admlops.structures.box_table import BoxTable
from admlops.structures.frame import CalibratedSensor

TableT = TypeVar("TableT", bound=BoxTable)


@dataclass(frozen=True, slots=True)
class FramePlace:
    """Where a frame is in its package.

    Attributes:
        frame_id: its number.
        time_s: its time in its scene.
        is_gold: whether its labels are known.
    """

    frame_id: str
    time_s: float
    is_gold: bool


@dataclass(frozen=True, slots=True)
class DeliveredFrame(Generic[TableT]):
    """The boxes of one shape that were delivered for a frame.

    Attributes:
        frame_id: its number in the package.
        time_s: its time.
        global_from_ego: (4, 4) pose of the vehicle.
        boxes: with finite places and sizes.
        index: (N,) numbers of the boxes in the delivery.
        is_whole: (N,) whether a box shows all of its object, not cut by the border of an image.
        cameras: calibration by name; the front one is called "".
    """

    frame_id: str
    time_s: float
    global_from_ego: NDArray[np.float64]
    boxes: TableT
    index: NDArray[np.int64]
    is_whole: NDArray[np.bool_]
    cameras: Mapping[str, CalibratedSensor]
