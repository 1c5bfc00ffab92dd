"""Serialises the ROS 2 messages of a drive (CDR, little-endian)."""

import numpy as np
from numpy.typing import NDArray

from admlops.geometry.pose import quaternion_from_rotation
from admlops.recordings.wire import WireWriter
from admlops.structures.frame import CalibratedSensor, CameraImage

_OFFSETS = (0, 4, 8, 12, 16, 18)
POINT_DTYPE = np.dtype(
    {
        "names": ["x", "y", "z", "intensity", "ring", "time"],
        "formats": ["<f4", "<f4", "<f4", "<f4", "<u2", "<f4"],
        "offsets": list(_OFFSETS),
        "itemsize": 22,
    }
)
"""The layout of Velodyne's driver: time in seconds after the stamp, not aligned."""

_DATATYPES = {"<f4": 7, "<u2": 4}
_NUM_COEFFICIENTS = 5


def encode_points(stamp_ns: int, frame_id: str, table: NDArray[np.void]) -> bytes:
    """Return a PointCloud2 of (N,) points in `POINT_DTYPE`."""
    writer = WireWriter()
    writer.header(stamp_ns, frame_id)
    writer.number("I", 1)
    writer.number("I", len(table))
    names = POINT_DTYPE.names or ()
    writer.number("I", len(names))
    for name, offset in zip(names, _OFFSETS, strict=True):
        writer.text(name)
        writer.number("I", offset)
        writer.number("B", _DATATYPES[POINT_DTYPE[name].str])
        writer.number("I", 1)
    writer.number("B", 0)
    writer.number("I", POINT_DTYPE.itemsize)
    writer.number("I", POINT_DTYPE.itemsize * len(table))
    writer.payload(table.tobytes())
    writer.number("B", 1)
    return writer.finish()


def encode_compressed_image(
    stamp_ns: int, frame_id: str, encoded: bytes, encoding: str = "cdr"
) -> bytes:
    """Return a CompressedImage of a PNG or JPEG file; `encoding` is "cdr" or "ros1"."""
    writer = WireWriter(encoding)
    writer.header(stamp_ns, frame_id)
    writer.text("png" if encoded.startswith(b"\x89PNG") else "jpeg")
    writer.payload(encoded)
    return writer.finish()


def encode_raw_image(
    stamp_ns: int, frame_id: str, pixels: NDArray[np.uint8], encoding: str = "cdr"
) -> bytes:
    """Return an Image of (H, W, 3) pixels, red first; `encoding` is "cdr" or "ros1"."""
    height, width, _ = pixels.shape
    writer = WireWriter(encoding)
    writer.header(stamp_ns, frame_id)
    writer.number("I", height)
    writer.number("I", width)
    writer.text("rgb8")
    writer.number("B", 0)
    writer.number("I", 3 * width)
    writer.payload(pixels.tobytes())
    return writer.finish()


def encode_camera_info(stamp_ns: int, frame_id: str, image: CameraImage) -> bytes:
    """Return a CameraInfo; an image without distortion has its matrix as projection."""
    camera = image.sensor
    assert camera.camera_matrix is not None  # noqa: S101 - a camera has a matrix
    matrix = camera.camera_matrix
    distortion = np.zeros(max(_NUM_COEFFICIENTS, len(camera.distortion)))
    distortion[: len(camera.distortion)] = camera.distortion
    is_rational = len(distortion) > _NUM_COEFFICIENTS
    writer = WireWriter()
    writer.header(stamp_ns, frame_id)
    writer.number("I", image.height_px)
    writer.number("I", image.width_px)
    writer.text("rational_polynomial" if is_rational else "plumb_bob")
    writer.number("I", len(distortion))
    writer.doubles(distortion)
    writer.doubles(matrix.reshape(-1))
    writer.doubles(np.eye(3).reshape(-1))
    writer.doubles(np.column_stack([matrix, np.zeros(3)]).reshape(-1))
    for _ in range(6):  # no binning, no region of interest
        writer.number("I", 0)
    writer.number("B", 0)
    return writer.finish()


def encode_transforms(
    stamp_ns: int, transforms: list[tuple[str, str, NDArray[np.float64]]]
) -> bytes:
    """Return a TFMessage of (parent, child, (4, 4) parent_from_child)."""
    writer = WireWriter()
    writer.number("I", len(transforms))
    for parent, child, parent_from_child in transforms:
        writer.header(stamp_ns, parent)
        writer.text(child)
        _write_pose(writer, parent_from_child)
    return writer.finish()


def encode_odometry(
    stamp_ns: int,
    frames: tuple[str, str],
    global_from_ego: NDArray[np.float64],
    twist: NDArray[np.float64],
) -> bytes:
    """Return an Odometry.

    Args:
        stamp_ns: time of the pose.
        frames: the global frame and the vehicle's.
        global_from_ego: (4, 4) pose.
        twist: (6,) velocity in m/s and angular velocity in rad/s, in the vehicle's frame.
    """
    writer = WireWriter()
    writer.header(stamp_ns, frames[0])
    writer.text(frames[1])
    _write_pose(writer, global_from_ego)
    writer.doubles(np.zeros(36))
    writer.doubles(twist)
    writer.doubles(np.zeros(36))
    return writer.finish()


def encode_imu(
    stamp_ns: int,
    frame_id: str,
    rotation: NDArray[np.float64] | None,
    angular_velocity_radps: NDArray[np.float64],
    acceleration_mps2: NDArray[np.float64],
) -> bytes:
    """Return an Imu; the covariances are zero, which means unknown, or say: no orientation."""
    writer = WireWriter()
    writer.header(stamp_ns, frame_id)
    quaternion = (
        np.array([1.0, 0, 0, 0]) if rotation is None else quaternion_from_rotation(rotation)
    )
    writer.doubles(np.roll(quaternion, -1))
    writer.doubles(np.append(-1.0 if rotation is None else 0.0, np.zeros(8)))
    writer.doubles(angular_velocity_radps)
    writer.doubles(np.zeros(9))
    writer.doubles(acceleration_mps2)
    writer.doubles(np.zeros(9))
    return writer.finish()


def encode_fix(
    stamp_ns: int, frame_id: str, place: NDArray[np.float64], has_fix: bool = True
) -> bytes:
    """Return a NavSatFix.

    Args:
        stamp_ns: time of the fix.
        frame_id: of the antenna.
        place: (3,) latitude and longitude in degrees, altitude in metres.
        has_fix: whether the status is a fix or none.
    """
    writer = WireWriter()
    writer.header(stamp_ns, frame_id)
    writer.number("b", 0 if has_fix else -1)
    writer.number("H", 1)
    writer.doubles(place)
    writer.doubles(np.zeros(9))
    writer.number("B", 0)
    return writer.finish()


def _write_pose(writer: WireWriter, pose: NDArray[np.float64]) -> None:
    writer.doubles(pose[:3, 3])
    writer.doubles(np.roll(quaternion_from_rotation(pose[:3, :3]), -1))


def frame_of(sensor: CalibratedSensor) -> str:
    """Return the name of a sensor's coordinate frame; a camera's has the optical axes."""
    return f"{sensor.name}_optical" if sensor.modality == "camera" else sensor.name
