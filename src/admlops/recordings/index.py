"""One pass over a recording: when each sensor spoke, where its messages lie, and how it is set up.

What stays in memory is some 50 bytes per message and the vehicle's poses, or fixes and orientations
where no odometry has any; payloads are passed over.
"""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from admlops.errors import DataError
from admlops.geometry.trajectory import Trajectory
from admlops.recordings.config import LidarTopic, RecordingConfig
from admlops.recordings.decoding import decode
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
from admlops.recordings.messages import Place, RawMessage, Topic
from admlops.recordings.navigation import Navigation, NavigationLog, is_usable
from admlops.recordings.point_cloud import decode_cloud
from admlops.recordings.recording import Recording
from admlops.recordings.stream import Contents, EventStream
from admlops.recordings.transforms import PoseList, TransformTree
from admlops.structures.finding import Finding


@dataclass(frozen=True, slots=True)
class SensorIndex:
    """The messages of one sensor, in the order of writing.

    Attributes:
        topic: where they are.
        stamp_ns: (N,) int64 when they were measured, corrected by `time_offset_s`.
        log_time_ns: (N,) int64 when they were received.
        place: (N, 3) int64 rows of `Place`.
        is_empty: (N,) whether a message has no points or no pixels, or is a fix without a place.
    """

    topic: Topic
    stamp_ns: NDArray[np.int64]
    log_time_ns: NDArray[np.int64]
    place: NDArray[np.int64]
    is_empty: NDArray[np.bool_]

    def __len__(self) -> int:
        """Return the number of messages."""
        return len(self.stamp_ns)

    def read(self, recording: Recording, row: int, sensor: str) -> SensorEvent:
        """Read one message again.

        Raises:
            DataError: the recording is damaged there, or has changed.
        """
        place = Place(*(int(value) for value in self.place[row]))
        data = recording.read(place)
        message = RawMessage(self.topic, int(self.log_time_ns[row]), data, place)
        return decode(message, sensor)


@dataclass(frozen=True, slots=True)
class SweepLayout:
    """What the first sweep of a lidar tells about all of them.

    Attributes:
        frame_id: coordinate frame of the points.
        intensity_scale: the intensity is divided by it.
        has_times: whether points carry their time.
        start_ns: time of the earliest point after the stamp.
        end_ns: time of the latest.
    """

    frame_id: str
    intensity_scale: float
    has_times: bool
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class RecordingIndex:
    """What one pass over a recording leaves.

    Attributes:
        config: the mapping, complete.
        contents: messages by topic.
        sensors: by our name: lidars, cameras, "odometry", "imu", "fix".
        layouts: of the lidars.
        calibrations: the first one of each camera.
        num_calibrations: how many different ones each camera has.
        image_frames: coordinate frame that the images of each camera name.
        transforms: the tree of frames.
        odometry: the vehicle's way as odometry has it; empty without.
        odometry_frames: frame that it is given in, and frame whose way it is.
        navigation: satellite fixes and orientations; empty where poses come from elsewhere.
        out_of_order: messages by topic whose log time lies before that of an earlier message.
        findings: damage of files and messages.
    """

    config: RecordingConfig
    contents: Contents
    sensors: Mapping[str, SensorIndex]
    layouts: Mapping[str, SweepLayout]
    calibrations: Mapping[str, CalibrationEvent]
    num_calibrations: Mapping[str, int]
    image_frames: Mapping[str, str]
    transforms: TransformTree
    odometry: Trajectory
    odometry_frames: tuple[str, str]
    navigation: Navigation
    out_of_order: Mapping[str, int]
    findings: tuple[Finding, ...]


@dataclass(slots=True)
class _Rows:
    """Messages of one sensor as they come in."""

    topic: Topic
    times: "array[int]" = field(default_factory=lambda: array("q"))
    is_empty: "array[int]" = field(default_factory=lambda: array("b"))

    def add(self, event: SensorEvent, stamp_ns: int, is_empty: bool) -> None:
        self.times.extend((stamp_ns, event.log_time_ns, *event.place))
        self.is_empty.append(is_empty)

    def index(self) -> SensorIndex:
        rows = np.array(self.times, dtype=np.int64).reshape(-1, 5)
        empty = np.array(self.is_empty, dtype=np.bool_)
        return SensorIndex(self.topic, rows[:, 0], rows[:, 1], rows[:, 2:], empty)


@dataclass
class _Indexer:
    """Takes events one by one."""

    config: RecordingConfig
    topics: Mapping[str, Topic]
    rows: dict[str, _Rows] = field(default_factory=dict)
    layouts: dict[str, SweepLayout] = field(default_factory=dict)
    calibrations: dict[str, CalibrationEvent] = field(default_factory=dict)
    num_calibrations: dict[str, int] = field(default_factory=dict)
    image_frames: dict[str, str] = field(default_factory=dict)
    transforms: TransformTree = field(default_factory=TransformTree)
    odometry: PoseList = field(default_factory=PoseList)
    odometry_frames: tuple[str, str] = ("", "")
    navigation: NavigationLog = field(default_factory=NavigationLog)
    out_of_order: dict[str, int] = field(default_factory=dict)
    last_log_time_ns: int = -1

    def __post_init__(self) -> None:
        sensors = self.config.sensors
        self._offset_ns = {item.sensor: round(item.time_offset_s * 1e9) for item in sensors}
        self._lidars = {item.sensor: item for item in self.config.lidars}
        self._navigates = self.config.pose_source in ("auto", "gnss")

    def add(self, event: SensorEvent) -> None:
        if event.log_time_ns < self.last_log_time_ns:
            self.out_of_order[event.topic] = self.out_of_order.get(event.topic, 0) + 1
        self.last_log_time_ns = max(self.last_log_time_ns, event.log_time_ns)
        if isinstance(event, CalibrationEvent):
            self._add_calibration(event)
        elif isinstance(event, TransformEvent):
            for item in event.transforms:
                self.transforms.add(item, event.is_static)
        else:
            self._add_measurement(event)

    def _add_measurement(self, event: SensorEvent) -> None:
        if event.sensor not in self.rows:
            self.rows[event.sensor] = _Rows(self.topics[event.topic])
        is_empty = False
        if isinstance(event, LidarEvent):
            is_empty = event.raw.num_points == 0
            if not is_empty and event.sensor not in self.layouts:
                self.layouts[event.sensor] = _layout(event, self._lidars[event.sensor])
        elif isinstance(event, ImageEvent):
            is_empty = len(event.data) == 0
            self.image_frames.setdefault(event.sensor, event.frame_id)
        elif isinstance(event, OdometryEvent):
            self.odometry_frames = (event.frame_id, event.child_frame_id)
            self.odometry.add(
                StampedTransform(
                    event.frame_id,
                    event.child_frame_id,
                    event.stamp_ns,
                    event.translation_m,
                    event.quaternion_wxyz,
                )
            )
        elif isinstance(event, PositionEvent | ImuEvent):
            is_empty = isinstance(event, PositionEvent) and not is_usable(event)
            if self._navigates:
                self.navigation.add(event)
        stamp_ns = event.stamp_ns + self._offset_ns.get(event.sensor, 0)
        self.rows[event.sensor].add(event, stamp_ns, is_empty)

    def _add_calibration(self, event: CalibrationEvent) -> None:
        first = self.calibrations.setdefault(event.sensor, event)
        is_new = first is event or not (
            np.array_equal(first.camera_matrix, event.camera_matrix)
            and np.array_equal(first.distortion, event.distortion)
            and (first.width_px, first.height_px) == (event.width_px, event.height_px)
        )
        self.num_calibrations[event.sensor] = self.num_calibrations.get(event.sensor, 0) + is_new


def index_recording(
    recording: Recording, config: RecordingConfig, contents: Contents
) -> RecordingIndex:
    """Read a recording once.

    Args:
        recording: what is read.
        config: the mapping, completed by `stream.complete`.
        contents: what `stream.survey` found.
    """
    stream = EventStream(recording, config)
    indexer = _Indexer(config, {topic.name: topic for topic in contents.counts})
    for event in stream:
        indexer.add(event)
    odometry, navigation = indexer.odometry.trajectory(), indexer.navigation
    if config.pose_source == "auto" and len(odometry):
        navigation = NavigationLog()
    return RecordingIndex(
        config=config,
        contents=contents,
        sensors={name: rows.index() for name, rows in indexer.rows.items()},
        layouts=indexer.layouts,
        calibrations=indexer.calibrations,
        num_calibrations=indexer.num_calibrations,
        image_frames=indexer.image_frames,
        transforms=indexer.transforms,
        odometry=odometry,
        odometry_frames=indexer.odometry_frames,
        navigation=navigation.navigation(),
        out_of_order=indexer.out_of_order,
        findings=(*recording.log.ordered(), *stream.log.ordered()),
    )


def _layout(event: LidarEvent, lidar: LidarTopic) -> SweepLayout:
    """Return what a sweep tells; of one that cannot be unpacked, only its frame."""
    frame_id = lidar.frame_id or event.frame_id
    try:
        cloud = decode_cloud(event.raw, event.stamp_ns, lidar.time_unit)
    except DataError:
        return SweepLayout(frame_id, lidar.intensity_scale or 1.0, False, 0, 0)
    scale = lidar.intensity_scale or cloud.full_scale
    if not scale:
        largest = float(cloud.points[:, 3].max(initial=0.0))
        scale = 1.0 if largest <= 1.0 else 255.0 if largest <= 255.0 else 65535.0
    times = cloud.offset_ns
    if times is None or len(times) == 0:
        return SweepLayout(frame_id, scale, False, 0, 0)
    return SweepLayout(frame_id, scale, True, int(times.min()), int(times.max()))
