"""Writes frames as a recording that Foxglove shows: clouds, images, calibrations, poses, labels.

Source: Foxglove's message schemas (https://docs.foxglove.dev/docs/visualization/message-schemas),
in protobuf; every schema is embedded with all that it builds on, so that any MCAP tool reads it.
"""

import colorsys
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from foxglove_schemas_protobuf.CameraCalibration_pb2 import CameraCalibration
from foxglove_schemas_protobuf.Color_pb2 import Color
from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from foxglove_schemas_protobuf.CubePrimitive_pb2 import CubePrimitive
from foxglove_schemas_protobuf.FrameTransform_pb2 import FrameTransform
from foxglove_schemas_protobuf.FrameTransforms_pb2 import FrameTransforms
from foxglove_schemas_protobuf.ImageAnnotations_pb2 import ImageAnnotations
from foxglove_schemas_protobuf.KeyValuePair_pb2 import KeyValuePair
from foxglove_schemas_protobuf.PackedElementField_pb2 import PackedElementField
from foxglove_schemas_protobuf.Point2_pb2 import Point2
from foxglove_schemas_protobuf.PointCloud_pb2 import PointCloud
from foxglove_schemas_protobuf.PointsAnnotation_pb2 import PointsAnnotation
from foxglove_schemas_protobuf.Pose_pb2 import Pose
from foxglove_schemas_protobuf.Quaternion_pb2 import Quaternion
from foxglove_schemas_protobuf.SceneEntity_pb2 import SceneEntity
from foxglove_schemas_protobuf.SceneEntityDeletion_pb2 import SceneEntityDeletion
from foxglove_schemas_protobuf.SceneUpdate_pb2 import SceneUpdate
from foxglove_schemas_protobuf.TextAnnotation_pb2 import TextAnnotation
from foxglove_schemas_protobuf.TextPrimitive_pb2 import TextPrimitive
from foxglove_schemas_protobuf.Vector3_pb2 import Vector3
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.timestamp_pb2 import Timestamp
from mcap.writer import CompressionType, Writer
from numpy.typing import NDArray

from admlops.files import open_atomically
from admlops.geometry.pose import quaternion_from_rotation
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import CameraImage, Frame, LidarSweep

if TYPE_CHECKING:
    from google.protobuf.message import Message

GLOBAL_FRAME, EGO_FRAME = "global", "ego"

_POINT_FIELDS = ("x", "y", "z", "intensity")
_FACE_OPACITY = 0.35
_LABEL_SIZE_M, _LABEL_SIZE_PX = 0.6, 14.0


class FoxgloveRecorder:
    """Writes protobuf messages into one MCAP file; topics appear with their first message."""

    def __init__(self, file: IO[bytes]) -> None:
        """Start a recording in an open file."""
        self._writer = Writer(file, compression=CompressionType.ZSTD)
        self._writer.start(library="admlops")
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}

    def write(self, topic: str, time_ns: int, message: "Message") -> None:
        """Write one message."""
        name = message.DESCRIPTOR.full_name
        if topic not in self._channels:
            if name not in self._schemas:
                self._schemas[name] = self._writer.register_schema(
                    name, "protobuf", describe(message).SerializeToString()
                )
            self._channels[topic] = self._writer.register_channel(
                topic, "protobuf", self._schemas[name]
            )
        data = message.SerializeToString()
        self._writer.add_message(self._channels[topic], time_ns, data, time_ns)

    def finish(self) -> None:
        """Write index and footer."""
        self._writer.finish()  # type: ignore[no-untyped-call]


def describe(message: "Message") -> FileDescriptorSet:
    """Return the definitions of a message's type and of all that it builds on, in order."""
    described = FileDescriptorSet()
    seen: set[str] = set()

    def add(file: Any) -> None:  # noqa: ANN401 - protobuf's file descriptor
        if file.name not in seen:
            seen.add(file.name)
            for needed in file.dependencies:
                add(needed)
            file.CopyToProto(described.file.add())

    add(message.DESCRIPTOR.file)
    return described


def write_view(path: Path, frames: Iterable[Frame]) -> int:
    """Write frames into an MCAP file for Foxglove; return how many.

    Topics: `/tf`, `/<lidar>/points`, `/<camera>/image`, `/<camera>/calibration`, `/labels` (boxes
    in the ego frame), `/<camera>/labels` (boxes in the image). Boxes with scores are predictions
    and come under `/predictions` likewise.

    Args:
        path: the file; it appears when it is whole.
        frames: in the order of time.
    """
    count = 0
    with open_atomically(path) as file:
        recorder = FoxgloveRecorder(file)
        for frame in frames:
            _write_frame(recorder, frame)
            count += 1
        recorder.finish()
    return count


def _write_frame(recorder: FoxgloveRecorder, frame: Frame) -> None:
    time_ns = frame.key.timestamp_ns
    recorder.write("/tf", time_ns, _transforms(frame))
    if frame.lidar is not None:
        recorder.write(f"/{frame.lidar.sensor.name}/points", time_ns, _cloud(frame.lidar, time_ns))
    for image in frame.cameras:
        name = image.sensor.name
        if image.encoded:
            recorder.write(f"/{name}/image", time_ns, _image(image, time_ns))
        if image.sensor.camera_matrix is not None:
            recorder.write(f"/{name}/calibration", time_ns, _calibration(image, time_ns))
    if frame.boxes is not None:
        is_prediction = np.isfinite(frame.boxes.score)
        for topic, boxes in (
            ("/labels", frame.boxes.select(~is_prediction)),
            ("/predictions", frame.boxes.select(is_prediction)),
        ):
            if topic == "/labels" or len(boxes):
                recorder.write(topic, time_ns, _scene(boxes, time_ns))
    if frame.boxes_2d is not None:
        front = frame.camera.sensor.name if frame.camera else ""
        for image in frame.cameras:
            name = image.sensor.name
            of_camera = [
                camera in (name, "" if name == front else name) for camera in frame.boxes_2d.camera
            ]
            boxes_2d = frame.boxes_2d.select(np.array(of_camera, dtype=bool))
            recorder.write(f"/{name}/labels", time_ns, _annotations(boxes_2d, time_ns))


def _transforms(frame: Frame) -> FrameTransforms:
    time = _timestamp(frame.key.timestamp_ns)
    poses = [(GLOBAL_FRAME, EGO_FRAME, frame.global_from_ego)]
    sensors = [image.sensor for image in frame.cameras]
    if frame.lidar is not None:
        sensors.insert(0, frame.lidar.sensor)
    poses += [(EGO_FRAME, sensor.name, sensor.ego_from_sensor) for sensor in sensors]
    return FrameTransforms(
        transforms=[
            FrameTransform(
                timestamp=time,
                parent_frame_id=parent,
                child_frame_id=child,
                translation=_vector(pose[:3, 3]),
                rotation=_quaternion(pose[:3, :3]),
            )
            for parent, child, pose in poses
        ]
    )


def _cloud(sweep: LidarSweep, time_ns: int) -> PointCloud:
    points = np.ascontiguousarray(sweep.points, dtype="<f4")
    return PointCloud(
        timestamp=_timestamp(time_ns),
        frame_id=sweep.sensor.name,
        pose=_pose(np.zeros(3), np.eye(3)),
        point_stride=points.itemsize * points.shape[1],
        fields=[
            PackedElementField(
                name=name, offset=points.itemsize * place, type=PackedElementField.FLOAT32
            )
            for place, name in enumerate(_POINT_FIELDS)
        ],
        data=points.tobytes(),
    )


def _image(image: CameraImage, time_ns: int) -> CompressedImage:
    return CompressedImage(
        timestamp=_timestamp(time_ns),
        frame_id=image.sensor.name,
        data=image.encoded,
        format="png" if image.encoded.startswith(b"\x89PNG") else "jpeg",
    )


def _calibration(image: CameraImage, time_ns: int) -> CameraCalibration:
    matrix = image.sensor.camera_matrix
    assert matrix is not None  # noqa: S101 - asked before
    distortion = image.sensor.distortion
    return CameraCalibration(
        timestamp=_timestamp(time_ns),
        frame_id=image.sensor.name,
        width=image.width_px,
        height=image.height_px,
        distortion_model="rational_polynomial" if len(distortion) > 5 else "plumb_bob",
        D=distortion.tolist() or [0.0] * 5,
        K=matrix.reshape(-1).tolist(),
        R=np.eye(3).reshape(-1).tolist(),
        P=np.column_stack([matrix, np.zeros(3)]).reshape(-1).tolist(),
    )


def _scene(boxes: Boxes, time_ns: int) -> SceneUpdate:
    """Return the boxes of a frame in place of those before."""
    time = _timestamp(time_ns)
    return SceneUpdate(
        deletions=[SceneEntityDeletion(timestamp=time, type=SceneEntityDeletion.ALL)],
        entities=[_entity(boxes, row, time) for row in range(len(boxes))],
    )


def _entity(boxes: Boxes, row: int, time: Timestamp) -> SceneEntity:
    category, track = str(boxes.category[row]), str(boxes.track_id[row])
    score = float(boxes.score[row])
    cosine, sine = np.cos(boxes.yaw_rad[row]), np.sin(boxes.yaw_rad[row])
    rotation = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    over_m = boxes.center_m[row] + [0.0, 0.0, boxes.size_m[row, 2] / 2 + _LABEL_SIZE_M]
    facts = {"category": category, "track_id": track, "num_points": str(boxes.num_points[row])}
    if np.isfinite(score):
        facts["score"] = f"{score:.3f}"
    return SceneEntity(
        timestamp=time,
        frame_id=EGO_FRAME,
        id=track or str(row),
        metadata=[KeyValuePair(key=key, value=value) for key, value in facts.items() if value],
        cubes=[
            CubePrimitive(
                pose=_pose(boxes.center_m[row], rotation),
                size=_vector(boxes.size_m[row]),
                color=_colour(category, _FACE_OPACITY),
            )
        ],
        texts=[
            TextPrimitive(
                pose=_pose(over_m, np.eye(3)),
                billboard=True,
                font_size=_LABEL_SIZE_M,
                color=_colour(category, 1.0),
                text=f"{category} {score:.2f}" if np.isfinite(score) else category,
            )
        ],
    )


def _annotations(boxes: Boxes2d, time_ns: int) -> ImageAnnotations:
    time = _timestamp(time_ns)
    outlines, texts = [], []
    for (left, top, right, bottom), category in zip(boxes.box2d_px, boxes.category, strict=True):
        corners = ((left, top), (right, top), (right, bottom), (left, bottom))
        colour = _colour(str(category), 1.0)
        outlines.append(
            PointsAnnotation(
                timestamp=time,
                type=PointsAnnotation.LINE_LOOP,
                points=[Point2(x=x, y=y) for x, y in corners],
                outline_color=colour,
                thickness=2.0,
            )
        )
        texts.append(
            TextAnnotation(
                timestamp=time,
                position=Point2(x=left, y=top),
                text=str(category),
                font_size=_LABEL_SIZE_PX,
                text_color=colour,
            )
        )
    return ImageAnnotations(points=outlines, texts=texts)


def _timestamp(time_ns: int) -> Timestamp:
    return Timestamp(seconds=time_ns // 1_000_000_000, nanos=time_ns % 1_000_000_000)


def _pose(position_m: NDArray[np.float64], rotation: NDArray[np.float64]) -> Pose:
    return Pose(position=_vector(position_m), orientation=_quaternion(rotation))


def _vector(values: NDArray[np.float64]) -> Vector3:
    x, y, z = (float(value) for value in values)
    return Vector3(x=x, y=y, z=z)


def _quaternion(rotation: NDArray[np.float64]) -> Quaternion:
    w, x, y, z = (float(value) for value in quaternion_from_rotation(rotation))
    return Quaternion(w=w, x=x, y=y, z=z)


def _colour(category: str, opacity: float) -> Color:
    """Return a colour that a category always has: a hue by its name."""
    hue = hashlib.sha256(category.encode()).digest()[0] / 256
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.75, 0.95)
    return Color(r=red, g=green, b=blue, a=opacity)
