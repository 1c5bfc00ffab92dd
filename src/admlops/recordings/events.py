"""Typed sensor events: what a message of a recording says, with both of its times.

Heavy parts stay as they were recorded until they are asked for: `LidarEvent.raw` is unpacked by
`point_cloud.decode_cloud`, `ImageEvent` by `images.encode_image`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from admlops.recordings.messages import Place
from admlops.recordings.point_cloud import RawCloud


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    """What all events have.

    Attributes:
        topic: the topic's name.
        sensor: our name of the sensor, for example "lidar_top".
        frame_id: the coordinate frame that the message names.
        stamp_ns: when it was measured, by the header; the log time where there is no header.
        log_time_ns: when the recorder received it.
        place: where the message lies in the recording.
    """

    topic: str
    sensor: str
    frame_id: str
    stamp_ns: int
    log_time_ns: int
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class LidarEvent(_Event):
    """A point cloud.

    Attributes:
        raw: fields and bytes.
    """

    raw: RawCloud


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageEvent(_Event):
    """An image, raw or compressed.

    Attributes:
        encoding: of a raw image, for example "rgb8"; of a compressed one its format.
        width_px: 0 where the message is compressed.
        height_px: 0 where the message is compressed.
        step_bytes: length of a row of a raw image.
        is_bigendian: byte order of 16-bit images.
        is_compressed: whether `data` is a PNG or JPEG file.
        data: the bytes.
    """

    encoding: str
    width_px: int
    height_px: int
    step_bytes: int
    is_bigendian: bool
    is_compressed: bool
    data: bytes | memoryview


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationEvent(_Event):
    """Intrinsics of a camera.

    Attributes:
        width_px: image width.
        height_px: image height.
        model: "plumb_bob", "rational_polynomial", "equidistant", ...
        distortion: (K,) coefficients, OpenCV's order.
        camera_matrix: (3, 3) of the image as recorded.
        rectified_matrix: (3, 3) left part of the projection matrix, of the rectified image.
    """

    width_px: int
    height_px: int
    model: str
    distortion: NDArray[np.float64]
    camera_matrix: NDArray[np.float64]
    rectified_matrix: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionEvent(_Event):
    """A satellite fix.

    Attributes:
        latitude_deg: WGS 84.
        longitude_deg: WGS 84.
        altitude_m: over the ellipsoid; NaN if unknown.
        has_fix: whether the receiver had one.
    """

    latitude_deg: float
    longitude_deg: float
    altitude_m: float
    has_fix: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ImuEvent(_Event):
    """One measurement of an inertial unit, in its own frame.

    Attributes:
        quaternion_wxyz: (4,) orientation; NaN where it is not measured.
        angular_velocity_radps: (3,).
        acceleration_mps2: (3,), gravity included.
    """

    quaternion_wxyz: NDArray[np.float64]
    angular_velocity_radps: NDArray[np.float64]
    acceleration_mps2: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class OdometryEvent(_Event):
    """Pose and velocity of the vehicle.

    Attributes:
        child_frame_id: the frame whose pose it is; `frame_id` is where it is given in.
        translation_m: (3,).
        quaternion_wxyz: (4,) of length one.
        velocity_mps: (3,) in the child frame.
        angular_velocity_radps: (3,) in the child frame.
    """

    child_frame_id: str
    translation_m: NDArray[np.float64]
    quaternion_wxyz: NDArray[np.float64]
    velocity_mps: NDArray[np.float64]
    angular_velocity_radps: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class StampedTransform:
    """The pose of one frame in its parent.

    Attributes:
        parent: frame that the pose is given in.
        child: frame whose pose it is.
        stamp_ns: when it held.
        translation_m: (3,).
        quaternion_wxyz: (4,) of length one.
    """

    parent: str
    child: str
    stamp_ns: int
    translation_m: NDArray[np.float64]
    quaternion_wxyz: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformEvent(_Event):
    """Some transforms.

    Attributes:
        transforms: at least none.
        is_static: whether they hold for ever.
    """

    transforms: tuple[StampedTransform, ...]
    is_static: bool


SensorEvent = (
    LidarEvent
    | ImageEvent
    | CalibrationEvent
    | PositionEvent
    | ImuEvent
    | OdometryEvent
    | TransformEvent
)
