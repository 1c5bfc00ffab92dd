"""Writes frames as a drive would be recorded: ROS 2 messages in MCAP, one file per scene.

Every sweep is turned back into what a spinning lidar on a moving vehicle measures: each point gets
a time by its azimuth, and lies where the sensor saw it then. Reading the recording with motion
compensation gives the frames back.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from itertools import chain, groupby, pairwise
from pathlib import Path
from typing import IO

import numpy as np
import yaml
from mcap.writer import CompressionType, Writer
from numpy.typing import NDArray

from admlops.files import open_atomically, write_atomically
from admlops.geometry.geodesy import places_from_local, turns_between
from admlops.geometry.pose import (
    invert,
    make_transform,
    quaternion_from_rotation,
    rotation_from_quaternion,
)
from admlops.geometry.trajectory import Trajectory
from admlops.recordings import decoding, encoding
from admlops.recordings.config import MAPPING_FILE
from admlops.recordings.encoding import frame_of
from admlops.recordings.messages import Topic
from admlops.structures.frame import Frame, LidarSweep

EGO_FRAME, GLOBAL_FRAME = "base_link", "odom"
SWEEP_S = 0.1
ODOMETRY_NS = 10_000_000
FIX_NS = 50_000_000
ANTENNA_FRAME, IMU_FRAME = "gnss", "imu"
ORIGIN = (49.0, 8.4, 115.0)
"""Latitude, longitude and height of the global frame's origin; its axes are east, north, up."""

_GRAVITY_MPS2 = 9.81
_CHUNK_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Receivers:
    """Where antenna and Imu sit on the vehicle.

    Attributes:
        ego_from_antenna: (4, 4); only its place counts.
        ego_from_imu: (4, 4); only its rotation counts.
    """

    ego_from_antenna: NDArray[np.float64]
    ego_from_imu: NDArray[np.float64]


ON_THE_ROOF = Receivers(
    ego_from_antenna=make_transform(np.eye(3), [-0.5, 0.0, 1.7]),
    ego_from_imu=make_transform(np.eye(3), [0.0, 0.0, 0.5]),
)


class RosRecorder:
    """Writes messages into one MCAP file; topics appear with their first message."""

    def __init__(self, file: IO[bytes], profile: str = "ros2") -> None:
        """Start a recording in an open file; "ros2" promises that all messages are ROS 2's."""
        self._writer = Writer(file, chunk_size=_CHUNK_BYTES, compression=CompressionType.ZSTD)
        self._writer.start(profile=profile, library="admlops")
        self._schemas: dict[tuple[str, str], int] = {}
        self._channels: dict[Topic, int] = {}

    def write(self, topic: str, type_name: str, time_ns: int, data: bytes) -> None:
        """Write one ROS 2 message, received at the time at which it was measured."""
        self.copy(Topic(topic, type_name, "cdr"), time_ns, data)

    def copy(self, topic: Topic, time_ns: int, data: bytes) -> None:
        """Write one message of any kind, with the definition of its type as far as it is known."""
        if topic not in self._channels:
            key = (topic.type_name, topic.encoding)
            if key not in self._schemas:
                self._schemas[key] = self._writer.register_schema(*_schema(topic))
            self._channels[topic] = self._writer.register_channel(
                topic.name, topic.encoding, self._schemas[key]
            )
        self._writer.add_message(self._channels[topic], time_ns, data, time_ns)

    def finish(self) -> None:
        """Write index and footer."""
        self._writer.finish()  # type: ignore[no-untyped-call]


def _schema(topic: Topic) -> tuple[str, str, bytes]:
    """Return a type's name as its ROS version writes it, the kind and text of its definition."""
    is_ros1 = topic.encoding == "ros1"
    name = topic.type_name.replace("/msg/", "/") if is_ros1 else topic.type_name
    if topic.encoding == "cdr" and topic.type_name in decoding.DECODED_TYPES:
        return name, "ros2msg", message_definition(name).encode()
    return name, topic.definition.kind, topic.definition.text


def message_definition(type_name: str) -> str:
    """Return the definition of a message type with all that it is made of."""
    name = type_name.replace("/msg/", ".") + ".msg"
    return (files("admlops.recordings") / "schemas" / name).read_text()


def record_scenes(
    folder: Path, frames: Iterable[Frame], receivers: Receivers = ON_THE_ROOF
) -> list[Path]:
    """Write one recording per scene of frames in order; return the files.

    Args:
        folder: is made; the files are called "<log>-<scene>.mcap", since "<log>_<number>.mcap"
            would be parts of one recording. Beside them a mapping says under which conditions they
            were recorded.
        frames: in the order of log, scene and time; poses are taken as given.
        receivers: which measure the way without noise, as `navigation` reads it.
    """
    paths = []
    conditions: dict[str, list[str]] = {}
    for (log, scene), group in groupby(frames, key=lambda frame: frame.key[:2]):
        path = folder / f"{log}-{scene}.mcap"
        first = next(group)
        conditions[path.stem] = list(first.tags)
        with open_atomically(path) as file:
            recorder = RosRecorder(file)
            for step in _steps(chain((first,), group)):
                _record(recorder, step, receivers)
            recorder.finish()
        paths.append(path)
    mapping = yaml.safe_dump({"conditions": conditions}, sort_keys=True)
    write_atomically(folder / MAPPING_FILE, mapping)
    return paths


@dataclass(frozen=True, slots=True)
class _Step:
    """One frame and the way to the next.

    Attributes:
        frame: the frame.
        way: from its pose to that of the next, or on at the same velocity.
        twist: (6,) velocity and angular velocity on that way, in the vehicle's frame.
        acceleration_mps2: (3,) change of velocity since the way before, in the vehicle's frame.
        is_first: whether the scene begins.
        is_last: whether it ends.
    """

    frame: Frame
    way: Trajectory
    twist: NDArray[np.float64]
    acceleration_mps2: NDArray[np.float64]
    is_first: bool
    is_last: bool


def _steps(frames: Iterable[Frame]) -> Iterator[_Step]:
    """Yield each frame with its way; one frame is looked ahead."""
    motion, span_ns = np.eye(4), round(SWEEP_S * 1e9)
    old_velocity: NDArray[np.float64] | None = None
    for frame, following in pairwise(chain(frames, (None,))):
        assert frame is not None  # noqa: S101 - only the last one is
        if following is not None:
            motion = invert(frame.global_from_ego) @ following.global_from_ego
            span_ns = following.key.timestamp_ns - frame.key.timestamp_ns
        start_ns, span_s = frame.key.timestamp_ns, span_ns * 1e-9
        poses = np.array([frame.global_from_ego, frame.global_from_ego @ motion])
        velocity = (poses[1, :3, 3] - poses[0, :3, 3]) / span_s
        change = np.zeros(3) if old_velocity is None else (velocity - old_velocity) / span_s
        turn = 2.0 * quaternion_from_rotation(motion[:3, :3])[1:]
        yield _Step(
            frame=frame,
            way=Trajectory.from_transforms([start_ns, start_ns + span_ns], poses),
            twist=np.concatenate([motion[:3, 3], turn]) / span_s,
            acceleration_mps2=poses[0, :3, :3].T @ change,
            is_first=old_velocity is None,
            is_last=following is None,
        )
        old_velocity = velocity


def _record(recorder: RosRecorder, step: _Step, receivers: Receivers) -> None:
    frame, start_ns = step.frame, step.frame.key.timestamp_ns
    if step.is_first:
        _record_mounting(recorder, frame, receivers)
    for image in frame.cameras:
        if image.encoded:
            name = f"/{image.sensor.name}"
            frame_id = frame_of(image.sensor)
            info = encoding.encode_camera_info(start_ns, frame_id, image)
            recorder.write(f"{name}/camera_info", decoding.CAMERA_INFO, start_ns, info)
            data = encoding.encode_compressed_image(start_ns, frame_id, image.encoded)
            topic = f"{name}/image_rect/compressed" if not image.sensor.distortion.any() else ""
            topic = topic or f"{name}/image_raw/compressed"
            recorder.write(topic, decoding.COMPRESSED_IMAGE, start_ns, data)
    if frame.lidar is not None:
        table = spin(frame.lidar, step.way)
        data = encoding.encode_points(start_ns, frame_of(frame.lidar.sensor), table)
        topic = f"/{frame.lidar.sensor.name}/points"
        recorder.write(topic, decoding.POINT_CLOUD, start_ns, data)
    _record_way(recorder, step, receivers)


def _record_mounting(recorder: RosRecorder, frame: Frame, receivers: Receivers) -> None:
    sensors = [image.sensor for image in frame.cameras]
    if frame.lidar is not None:
        sensors.insert(0, frame.lidar.sensor)
    mounting = [(EGO_FRAME, frame_of(sensor), sensor.ego_from_sensor) for sensor in sensors]
    mounting.append((EGO_FRAME, ANTENNA_FRAME, receivers.ego_from_antenna))
    mounting.append((EGO_FRAME, IMU_FRAME, receivers.ego_from_imu))
    data = encoding.encode_transforms(frame.key.timestamp_ns, mounting)
    recorder.write("/tf_static", decoding.TRANSFORMS, frame.key.timestamp_ns, data)


def _record_way(recorder: RosRecorder, step: _Step, receivers: Receivers) -> None:
    """Write odometry, transforms, fixes and inertial measurements up to the end of the way."""
    start_ns, end_ns = (int(time) for time in step.way.times_ns)
    for time_ns in range(start_ns, end_ns + step.is_last, ODOMETRY_NS):
        pose = step.way.at(time_ns)
        frames = (GLOBAL_FRAME, EGO_FRAME)
        data = encoding.encode_odometry(time_ns, frames, pose, step.twist)
        recorder.write("/odometry", decoding.ODOMETRY, time_ns, data)
        data = encoding.encode_transforms(time_ns, [(GLOBAL_FRAME, EGO_FRAME, pose)])
        recorder.write("/tf", decoding.TRANSFORMS, time_ns, data)
        antenna_m = (pose @ receivers.ego_from_antenna)[None, :3, 3]
        place = places_from_local(np.array(ORIGIN), antenna_m)
        if (time_ns - start_ns) % FIX_NS == 0:
            data = encoding.encode_fix(time_ns, ANTENNA_FRAME, place[0])
            recorder.write("/gnss/fix", decoding.FIX, time_ns, data)
        data = _measure_inertia(time_ns, pose, step, receivers, place)
        recorder.write("/imu", decoding.IMU, time_ns, data)


def _measure_inertia(
    time_ns: int,
    pose: NDArray[np.float64],
    step: _Step,
    receivers: Receivers,
    place: NDArray[np.float64],
) -> bytes:
    """Return an Imu; its orientation is against east, north and up of the (1, 3) place."""
    imu_from_ego = receivers.ego_from_imu[:3, :3].T
    global_from_local = rotation_from_quaternion(turns_between(np.array(ORIGIN), place)[0])
    acceleration = step.acceleration_mps2 + pose[:3, :3].T @ [0.0, 0.0, _GRAVITY_MPS2]
    return encoding.encode_imu(
        time_ns,
        IMU_FRAME,
        global_from_local.T @ pose[:3, :3] @ imu_from_ego.T,
        imu_from_ego @ step.twist[3:],
        imu_from_ego @ acceleration,
    )


def spin(sweep: LidarSweep, way: Trajectory) -> NDArray[np.void]:
    """Return (N,) points as the spinning, moving sensor measures them, in the order of firing.

    The sensor starts at the back, turns counter-clockwise once in `SWEEP_S`, and is at its place
    of the frame's time when it starts. Rings are numbered from the lowest beam.

    Args:
        sweep: the points as they lie at the way's start.
        way: `global_from_ego` during the rotation.
    """
    points = sweep.points
    azimuth = np.arctan2(points[:, 1], points[:, 0])
    time_s = ((azimuth + np.pi) / (2 * np.pi) * SWEEP_S).astype(np.float32)
    order = np.argsort(time_s, kind="stable")
    points, time_s = points[order], time_s[order]
    table = np.zeros(len(points), dtype=encoding.POINT_DTYPE)
    table["time"], table["intensity"] = time_s, points[:, 3]
    table["ring"] = _rings(points)
    times, column = np.unique(
        np.rint(time_s * np.float64(1e9)).astype(np.int64), return_inverse=True
    )
    start_ns = int(way.times_ns[0])
    ego_from_lidar = sweep.sensor.ego_from_sensor
    global_from_lidar = way.at(start_ns) @ ego_from_lidar
    moved = np.array(
        [
            invert(way.at(start_ns + int(time)) @ ego_from_lidar) @ global_from_lidar
            for time in times
        ]
    ).reshape(-1, 4, 4)
    xyz = np.einsum("nij,nj->ni", moved[column, :3, :3], points[:, :3].astype(np.float64))
    xyz += moved[column, :3, 3]
    for axis, name in enumerate("xyz"):
        table[name] = xyz[:, axis]
    return table


def _rings(points: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return (N,) numbers of the beams, told apart by a hundredth of a degree of elevation."""
    elevation_deg = np.degrees(np.arctan2(points[:, 2], np.hypot(points[:, 0], points[:, 1])))
    _, ring = np.unique(np.rint(elevation_deg * 100.0), return_inverse=True)
    return np.asarray(ring, dtype=np.int64)
