"""Waymo's calibration: places of five cameras and five lidars on the vehicle, beams, lenses.

A camera's axes are x forward, y left, z up in the format; ours are x right, y down, z forward.
Source: dataset.proto.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from admlops.formats.waymo.range_image import LidarCalibration
from admlops.formats.waymo.wire import BrokenMessageError, Message
from admlops.geometry.pose import is_rotation
from admlops.structures.frame import CalibratedSensor

CAMERAS: Mapping[int, str] = MappingProxyType(
    {
        1: "camera_front",
        2: "camera_front_left",
        3: "camera_front_right",
        4: "camera_side_left",
        5: "camera_side_right",
        6: "camera_rear_left",
        7: "camera_rear",
        8: "camera_rear_right",
    }
)
"""Our name of each camera; the last three are in releases with cameras at the rear alone."""
LIDARS: Mapping[int, str] = MappingProxyType(
    {1: "top", 2: "front", 3: "side left", 4: "side right", 5: "rear"}
)
_CAMERA_CALIBRATIONS, _LASER_CALIBRATIONS = 2, 3
_NAME, _INTRINSIC, _CAMERA_EXTRINSIC, _WIDTH, _HEIGHT = 1, 2, 3, 4, 5
_INCLINATIONS, _INCLINATION_MIN, _INCLINATION_MAX, _LASER_EXTRINSIC = 2, 3, 4, 5
_NUM_INTRINSIC = 9
_CAMERA_FROM_OPTICAL = np.array(
    [[0.0, 0.0, 1.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera.

    Attributes:
        sensor: its calibration.
        size_px: width and height of its images.
    """

    sensor: CalibratedSensor
    size_px: tuple[int, int]


def read_cameras(context: Message) -> dict[str, Camera]:
    """Return the cameras of a segment by name.

    Raises:
        BrokenMessageError: a calibration is not whole.
    """
    cameras = {}
    for item in context.messages(_CAMERA_CALIBRATIONS):
        name = CAMERAS.get(item.integer(_NAME))
        if name is None:
            continue
        numbers = item.doubles(_INTRINSIC)
        is_lens = len(numbers) == _NUM_INTRINSIC and np.isfinite(numbers).all()
        if not is_lens or min(numbers[:2]) <= 0:
            raise BrokenMessageError(f"{name} has no focal lengths, centre and five coefficients")
        fx, fy, cx, cy = numbers[:4]
        place = read_transform(item.message(_CAMERA_EXTRINSIC), name)
        cameras[name] = Camera(
            CalibratedSensor(
                name,
                "camera",
                place @ _CAMERA_FROM_OPTICAL,
                np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]),
                numbers[4:].copy(),
            ),
            (item.integer(_WIDTH), item.integer(_HEIGHT)),
        )
    return cameras


def read_lidars(context: Message) -> dict[int, LidarCalibration]:
    """Return the lidars of a segment by Waymo's number.

    Raises:
        BrokenMessageError: a calibration is not whole.
    """
    lidars = {}
    for item in context.messages(_LASER_CALIBRATIONS):
        number = item.integer(_NAME)
        name = f"lidar {LIDARS.get(number, number)}"
        beams = item.doubles(_INCLINATIONS)
        limits = item.double(_INCLINATION_MIN), item.double(_INCLINATION_MAX)
        if not np.isfinite([*beams, *limits]).all() or (len(beams) == 0 and limits[0] >= limits[1]):
            raise BrokenMessageError(f"{name} has no beam inclinations")
        place = read_transform(item.message(_LASER_EXTRINSIC), name)
        lidars[number] = LidarCalibration(beams, limits, place)
    return lidars


def read_transform(message: Message, what: str) -> NDArray[np.float64]:
    """Return the rigid (4, 4) transform of a message.

    Raises:
        BrokenMessageError: it does not hold sixteen numbers of a rigid transform.
    """
    numbers = message.doubles(1)
    if len(numbers) != 16 or not np.isfinite(numbers).all():
        raise BrokenMessageError(f"{what} has no transform of sixteen numbers")
    transform = numbers.reshape(4, 4)
    if not is_rotation(transform[:3, :3]) or transform[3].tolist() != [0.0, 0.0, 0.0, 1.0]:
        raise BrokenMessageError(f"{what} has a transform that is not rigid")
    return transform
