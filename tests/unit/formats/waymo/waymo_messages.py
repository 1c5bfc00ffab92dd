"""Waymo frames written by Google's protobuf runtime, so that our decoder is not its own judge.

The schema is stated here once more, from the published field numbers; records get their checksums
from Google's CRC-32C.
"""

import io
import struct
import zlib

import google_crc32c
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from PIL import Image

from admlops.geometry.pose import make_transform, rotation_about_z

_TYPES = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "double": _TYPES.TYPE_DOUBLE,
    "float": _TYPES.TYPE_FLOAT,
    "int32": _TYPES.TYPE_INT32,
    "int64": _TYPES.TYPE_INT64,
    "string": _TYPES.TYPE_STRING,
    "bytes": _TYPES.TYPE_BYTES,
}
SCHEMA = {
    "MatrixShape": "*int32 dims=1",
    "MatrixFloat": "*float data=1, MatrixShape shape=2",
    "Transform": "*double transform=1",
    "CameraCalibration": (
        "int32 name=1, *double intrinsic=2, Transform extrinsic=3, int32 width=4, int32 height=5, "
        "int32 rolling_shutter_direction=6"
    ),
    "LaserCalibration": (
        "int32 name=1, *double beam_inclinations=2, double beam_inclination_min=3, "
        "double beam_inclination_max=4, Transform extrinsic=5"
    ),
    "ObjectCount": "int32 type=1, int32 count=2",
    "Stats": (
        "*ObjectCount laser_object_counts=1, string time_of_day=2, string location=3, "
        "string weather=4, *ObjectCount camera_object_counts=5"
    ),
    "Context": (
        "string name=1, *CameraCalibration camera_calibrations=2, "
        "*LaserCalibration laser_calibrations=3, Stats stats=4"
    ),
    "RangeImage": (
        "bytes range_image_compressed=2, bytes camera_projection_compressed=3, "
        "bytes range_image_pose_compressed=4, bytes range_image_flow_compressed=5, "
        "bytes segmentation_label_compressed=6"
    ),
    "CameraImage": "int32 name=1, bytes image=2, Transform pose=3, double pose_timestamp=5",
    "Laser": "int32 name=1, RangeImage ri_return1=2, RangeImage ri_return2=3",
    "Box": (
        "double center_x=1, double center_y=2, double center_z=3, double width=4, double length=5, "
        "double height=6, double heading=7"
    ),
    "Metadata": "double speed_x=1, double speed_y=2, double accel_x=3, double speed_z=5",
    "Label": (
        "Box box=1, Metadata metadata=2, int32 type=3, string id=4, "
        "int32 detection_difficulty_level=5, int32 tracking_difficulty_level=6, "
        "int32 num_lidar_points_in_box=7, string most_visible_camera_name=11, "
        "Box camera_synced_box=12, int32 num_top_lidar_points_in_box=13"
    ),
    "Polygon2dProto": "*double x=1, *double y=2, string id=3",
    "CameraLabels": "int32 name=1, *Label labels=2",
    "Frame": (
        "Context context=1, int64 timestamp_micros=2, Transform pose=3, *CameraImage images=4, "
        "*Laser lasers=5, *Label laser_labels=6, *Polygon2dProto no_label_zones=7, "
        "*CameraLabels camera_labels=8, *CameraLabels projected_lidar_labels=9"
    ),
}


def _classes():
    file = descriptor_pb2.FileDescriptorProto(name="waymo.proto", package="w", syntax="proto2")
    for name, fields in SCHEMA.items():
        message = file.message_type.add(name=name)
        for text in fields.split(", "):
            kind, rest = text.lstrip("*").split(" ")
            field_name, number = rest.split("=")
            field = message.field.add(name=field_name, number=int(number))
            field.label = _TYPES.LABEL_REPEATED if text[0] == "*" else _TYPES.LABEL_OPTIONAL
            field.type = _SCALARS.get(kind, _TYPES.TYPE_MESSAGE)
            if kind not in _SCALARS:
                field.type_name = f".w.{kind}"
            if kind == "float":
                field.options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = message_factory.GetMessageClassesForFiles(["waymo.proto"], pool)
    return {name.removeprefix("w."): item for name, item in found.items()}


MESSAGES = _classes()
HEIGHT, WIDTH = 4, 8
INCLINATIONS = (-0.3, -0.2, -0.1, 0.05)
POSE = make_transform(rotation_about_z(0.7), [120.0, -40.0, 3.0])
TOP_PLACE = make_transform(rotation_about_z(0.4), [1.5, 0.0, 2.0])


def pack_matrix(values):
    """Return a compressed MatrixFloat."""
    matrix = MESSAGES["MatrixFloat"]()
    matrix.data.extend(np.asarray(values, dtype=np.float32).ravel().tolist())
    matrix.shape.dims.extend(np.shape(values))
    return zlib.compress(matrix.SerializeToString())


def write_records(path, contents):
    """Write a TFRecord file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(map(encode_record, contents)))


def encode_record(content):
    """Return a record around some bytes."""
    length = struct.pack("<Q", len(content))
    return length + _checksum(length) + content + _checksum(content)


def _checksum(content):
    crc = google_crc32c.value(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def set_transform(message, matrix):
    """Fill a Transform."""
    message.transform.extend(np.asarray(matrix).ravel().tolist())


def jpeg(width, height):
    """Return a grey JPEG."""
    content = io.BytesIO()
    Image.new("RGB", (width, height), (90, 90, 90)).save(content, "JPEG")
    return content.getvalue()


def small_frame(seed=0):
    """Return a frame of two lidars and two cameras with a box around points, and its images.

    Returns:
        The message, and the range images by lidar and return.
    """
    random = np.random.default_rng(seed)
    frame = MESSAGES["Frame"]()
    frame.timestamp_micros = 1_550_000_000_000_000 + 100_000 * seed
    set_transform(frame.pose, POSE)
    frame.context.name = "segment_7"
    stats = frame.context.stats
    stats.time_of_day, stats.location, stats.weather = "Night", "location_sf", "rain"
    stats.laser_object_counts.add(type=1, count=1)
    for number in (1, 2):
        camera = frame.context.camera_calibrations.add(name=number, width=64, height=48)
        camera.intrinsic.extend([50.0, 51.0, 32.0, 24.0, 0.1, -0.2, 0.01, 0.02, 0.3])
        set_transform(camera.extrinsic, make_transform(np.eye(3), [1.6, 0.1, 2.1]))
        frame.images.add(name=number, image=jpeg(64, 48))
    _add_lidars(frame, random)
    box = frame.laser_labels.add(type=1, id="track_a", num_lidar_points_in_box=5)
    box.box.center_x, box.box.center_y, box.box.center_z = 10.0, 1.0, 1.0
    box.box.length, box.box.width, box.box.height, box.box.heading = 4.0, 2.0, 1.5, 0.3
    speed_global = POSE[:3, :3] @ [3.0, 4.0, 0.0]
    box.metadata.speed_x, box.metadata.speed_y = speed_global[:2]
    box.detection_difficulty_level = 2
    labels = frame.camera_labels.add(name=2)
    label = labels.labels.add(type=2, id="seen")
    label.box.center_x, label.box.center_y, label.box.length, label.box.width = 20.0, 30, 8, 16
    frame.camera_labels.add(name=1)
    return frame


def _add_lidars(frame, random):
    top = frame.context.laser_calibrations.add(name=1)
    top.beam_inclinations.extend(INCLINATIONS)
    set_transform(top.extrinsic, TOP_PLACE)
    front = frame.context.laser_calibrations.add(
        name=2, beam_inclination_min=-0.4, beam_inclination_max=0.4
    )
    set_transform(front.extrinsic, make_transform(np.eye(3), [4.0, 0.0, 0.5]))
    for number in (1, 2):
        laser = frame.lasers.add(name=number)
        for which in (laser.ri_return1, laser.ri_return2):
            which.range_image_compressed = pack_matrix(range_image(random))
    poses = np.zeros((HEIGHT, WIDTH, 6))
    poses[...] = [0.0, 0.0, 0.7, 120.0, -40.0, 3.0]
    poses[..., 3] += np.linspace(-0.5, 0.5, WIDTH)  # the vehicle drives on while the lidar turns
    frame.lasers[0].ri_return1.range_image_pose_compressed = pack_matrix(poses)


def range_image(random):
    """Return (H, W, 4): half of the pixels have a return."""
    image = random.uniform(5.0, 60.0, (HEIGHT, WIDTH, 4))
    image[..., 1] = random.uniform(0.0, 3.0, (HEIGHT, WIDTH))
    image[..., 3] = 0.0
    image[random.random((HEIGHT, WIDTH)) < 0.5] = [-1.0, 0.0, 0.0, 0.0]
    return image
