"""Decodes the ROS messages that a drive is made of; every length is checked before it is used.

Source: common_interfaces (ROS 2) and common_msgs (ROS 1), whose fields agree but for Header.seq.
"""

from collections.abc import Callable
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from admlops.errors import DataError
from admlops.recordings.events import (
    CalibrationEvent,
    ImageEvent,
    ImuEvent,
    LidarEvent,
    OdometryEvent,
    PositionEvent,
    SensorEvent,
    StampedTransform,
    TransformEvent,
)
from admlops.recordings.messages import Place, RawMessage
from admlops.recordings.point_cloud import PointField, RawCloud
from admlops.recordings.wire import WireReader

MAX_DISTANCE_M = 1e8
"""No pose is farther from its origin; the earth's radius is 6.4e6 m."""

_MAX_DISTORTION = 14
_MAX_LENGTH_ERROR = 0.05
_MIN_FIELD_BYTES = 13
_MIN_TRANSFORM_BYTES = 64


class _Head(TypedDict):
    """What all events share, while the rest is being read."""

    topic: str
    sensor: str
    frame_id: str
    stamp_ns: int
    log_time_ns: int
    place: Place


_Decoder = Callable[[WireReader, _Head], SensorEvent]


def decode(message: RawMessage, sensor: str, is_static: bool = False) -> SensorEvent:
    """Return the event that a message holds.

    Args:
        message: as recorded.
        sensor: our name of the sensor.
        is_static: whether transforms of this topic hold for ever.

    Raises:
        DataError: its type is none of `DECODED_TYPES`, or its content is damaged.
    """
    kind = message.topic.type_name
    if kind not in DECODED_TYPES:
        raise DataError(f"type {kind!r} is not decoded; known are {', '.join(DECODED_TYPES)}")
    reader = WireReader(message.data, message.topic.encoding)
    if kind == TRANSFORMS:
        return _transforms(reader, message, sensor, is_static)
    stamp_ns, frame_id = reader.header()
    if stamp_ns <= 0:
        stamp_ns = message.log_time_ns
    head = _Head(
        topic=message.topic.name,
        sensor=sensor,
        frame_id=frame_id.lstrip("/"),
        stamp_ns=stamp_ns,
        log_time_ns=message.log_time_ns,
        place=message.place,
    )
    return _DECODERS[kind](reader, head)


def _point_cloud(reader: WireReader, head: _Head) -> LidarEvent:
    height, width = reader.integer(), reader.integer()
    fields = tuple(
        PointField(reader.text(), reader.integer(), reader.integer("B"), reader.integer())
        for _ in range(reader.count(_MIN_FIELD_BYTES))
    )
    is_bigendian = reader.flag()
    point_step, row_step = reader.integer(), reader.integer()
    raw = RawCloud(fields, width, height, point_step, row_step, is_bigendian, reader.payload())
    return LidarEvent(**head, raw=raw)


def _image(reader: WireReader, head: _Head) -> ImageEvent:
    height, width = reader.integer(), reader.integer()
    encoding, is_bigendian, step = reader.text(), reader.flag(), reader.integer()
    return ImageEvent(
        **head,
        encoding=encoding,
        width_px=width,
        height_px=height,
        step_bytes=step,
        is_bigendian=is_bigendian,
        is_compressed=False,
        data=reader.payload(),
    )


def _compressed_image(reader: WireReader, head: _Head) -> ImageEvent:
    return ImageEvent(
        **head,
        encoding=reader.text(),
        width_px=0,
        height_px=0,
        step_bytes=0,
        is_bigendian=False,
        is_compressed=True,
        data=reader.payload(),
    )


def _camera_info(reader: WireReader, head: _Head) -> CalibrationEvent:
    height, width = reader.integer(), reader.integer()
    model = reader.text()
    num_coefficients = reader.count(8)
    if num_coefficients > _MAX_DISTORTION:
        raise DataError(f"{num_coefficients} coefficients of distortion")
    distortion = reader.doubles(num_coefficients)
    matrix = reader.doubles(9).reshape(3, 3)
    reader.doubles(9)  # rectification
    projection = reader.doubles(12).reshape(3, 4)
    return CalibrationEvent(
        **head,
        width_px=width,
        height_px=height,
        model=model,
        distortion=distortion,
        camera_matrix=matrix,
        rectified_matrix=projection[:, :3].copy(),
    )


def _fix(reader: WireReader, head: _Head) -> PositionEvent:
    status = reader.integer("b")
    reader.integer("H")  # service
    latitude, longitude, altitude = reader.doubles(3)
    return PositionEvent(
        **head,
        latitude_deg=float(latitude),
        longitude_deg=float(longitude),
        altitude_m=float(altitude),
        has_fix=status >= 0,
    )


def _imu(reader: WireReader, head: _Head) -> ImuEvent:
    quaternion = np.roll(reader.doubles(4), 1)
    is_unit = (np.abs(quaternion) < 2.0).all() and np.linalg.norm(quaternion) > 0.5
    is_measured = reader.doubles(9)[0] != -1.0 and is_unit
    angular = reader.doubles(3)
    reader.doubles(9)  # covariance
    return ImuEvent(
        **head,
        quaternion_wxyz=quaternion if is_measured else np.full(4, np.nan),
        angular_velocity_radps=angular,
        acceleration_mps2=reader.doubles(3),
    )


def _odometry(reader: WireReader, head: _Head) -> OdometryEvent:
    child = reader.text().lstrip("/")
    translation, quaternion = _pose(reader)
    reader.doubles(36)  # covariance
    return OdometryEvent(
        **head,
        child_frame_id=child,
        translation_m=translation,
        quaternion_wxyz=quaternion,
        velocity_mps=reader.doubles(3),
        angular_velocity_radps=reader.doubles(3),
    )


def _transforms(
    reader: WireReader, message: RawMessage, sensor: str, is_static: bool
) -> TransformEvent:
    transforms = []
    for _ in range(reader.count(_MIN_TRANSFORM_BYTES)):
        stamp_ns, parent = reader.header()
        child = reader.text().lstrip("/")
        transforms.append(
            StampedTransform(parent.lstrip("/"), child, stamp_ns, *_pose(reader))
        )  # fmt: skip
    return TransformEvent(
        topic=message.topic.name,
        sensor=sensor,
        frame_id="",
        stamp_ns=transforms[0].stamp_ns if transforms else message.log_time_ns,
        log_time_ns=message.log_time_ns,
        place=message.place,
        transforms=tuple(transforms),
        is_static=is_static,
    )


def _pose(reader: WireReader) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return translation and unit quaternion w x y z; ROS writes x y z w."""
    translation, quaternion = reader.doubles(3), np.roll(reader.doubles(4), 1)
    is_near = (np.abs(translation) < MAX_DISTANCE_M).all()
    if not (is_near and (np.abs(quaternion) < 2.0).all()):
        raise DataError(f"a pose with quaternion {quaternion} at {translation}")
    length = np.linalg.norm(quaternion)
    if abs(length - 1.0) > _MAX_LENGTH_ERROR:
        raise DataError(f"a pose with a quaternion of length {length:.3f}")
    return translation, quaternion / length


POINT_CLOUD = "sensor_msgs/msg/PointCloud2"
IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
FIX = "sensor_msgs/msg/NavSatFix"
IMU = "sensor_msgs/msg/Imu"
ODOMETRY = "nav_msgs/msg/Odometry"
TRANSFORMS = "tf2_msgs/msg/TFMessage"
_DECODERS: dict[str, _Decoder] = {
    POINT_CLOUD: _point_cloud,
    IMAGE: _image,
    COMPRESSED_IMAGE: _compressed_image,
    CAMERA_INFO: _camera_info,
    FIX: _fix,
    IMU: _imu,
    ODOMETRY: _odometry,
}
DECODED_TYPES = (*_DECODERS, TRANSFORMS)
