"""The stream of typed sensor events of a recording: what screening, triggers and frames read."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from admlops.checks.findings import FindingLog
from admlops.errors import DataError
from admlops.recordings import decoding
from admlops.recordings.config import CameraTopic, LidarTopic, RecordingConfig
from admlops.recordings.decoding import decode
from admlops.recordings.events import SensorEvent
from admlops.recordings.messages import RawMessage, Topic
from admlops.recordings.recording import Recording

EGO_FRAMES = ("base_link", "base_footprint", "ego_vehicle", "ego", "vehicle", "body")
GLOBAL_FRAMES = ("map", "odom", "world", "global")


@dataclass(frozen=True, slots=True)
class Contents:
    """What a recording holds.

    Attributes:
        counts: number of messages by topic, in order of appearance.
    """

    counts: Mapping[Topic, int]

    @property
    def num_messages(self) -> int:
        """Messages of all topics."""
        return sum(self.counts.values())

    def of_type(self, *names: str) -> list[str]:
        """Return the names of the topics of some types, sorted."""
        return sorted({topic.name for topic in self.counts if topic.type_name in names})


def survey(recording: Recording) -> Contents:
    """Count the messages of a recording by topic; nothing is decoded.

    Raises:
        DataError: it holds no message, or none that is serialised in a known way.
    """
    counts: dict[Topic, int] = {}
    for message in recording.messages():
        counts[message.topic] = counts.get(message.topic, 0) + 1
    if not counts:
        damage = "; ".join(finding.what for finding in recording.log.kept[:3])
        raise DataError(f"REC001 {recording.path}: no messages{': ' if damage else ''}{damage}")
    encodings = {topic.encoding for topic in counts}
    if not encodings & {"cdr", "ros1"}:
        raise DataError(
            f"REC001 {recording.path}: messages are serialised as {', '.join(sorted(encodings))}; "
            "cdr and ros1 are read"
        )
    return Contents(counts)


def complete(config: RecordingConfig, contents: Contents) -> RecordingConfig:
    """Return the config with what it leaves open filled in from what a recording holds."""
    lidars = config.lidars or tuple(
        LidarTopic(topic=name) for name in contents.of_type(decoding.POINT_CLOUD)
    )
    cameras = config.cameras or _find_cameras(contents)
    return config.replace(
        lidars=lidars,
        cameras=cameras,
        odometry_topic=config.odometry_topic or _only(contents.of_type(decoding.ODOMETRY)),
        imu_topic=config.imu_topic or _only(contents.of_type(decoding.IMU)),
        fix_topic=config.fix_topic or _only(contents.of_type(decoding.FIX)),
    )


def _find_cameras(contents: Contents) -> tuple[CameraTopic, ...]:
    """Return the image topics with a CameraInfo; of raw and compressed ones, the raw."""
    infos = set(contents.of_type(decoding.CAMERA_INFO))
    found: dict[str, CameraTopic] = {}
    for kind in (decoding.IMAGE, decoding.COMPRESSED_IMAGE):
        for name in contents.of_type(kind):
            camera = CameraTopic(topic=name)
            if camera.calibration_topic in infos:
                found.setdefault(camera.calibration_topic, camera)
    cameras = sorted(found.values(), key=lambda item: ("front" not in item.topic, item.topic))
    return tuple(cameras)


def _only(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ""


class EventStream:
    """Iterates over the events of the mapped topics, in the order of writing.

    One message at a time is in memory. A message that cannot be decoded is passed over and noted.

    Attributes:
        recording: what is read.
        config: which topics are which sensors.
        log: what was found wrong with messages; the files' damage is in `recording.log`.
    """

    def __init__(self, recording: Recording, config: RecordingConfig) -> None:
        """Take a recording and a config; `complete` fills in what the config leaves open."""
        self.recording = recording
        self.config = config
        self.log = FindingLog()
        self._sensors = sensors_by_topic(config)

    def __iter__(self) -> Iterator[SensorEvent]:
        """Yield the events, anew every time."""
        self.log = FindingLog()
        for message in self.recording.messages():
            event = self.decode(message)
            if event is not None:
                yield event

    def decode(self, message: RawMessage) -> SensorEvent | None:
        """Return what a message says; None if no sensor is behind it, or it is damaged (REC004)."""
        sensor = self._sensors.get(message.topic.name)
        if sensor is None:
            return None
        is_static = message.topic.name == self.config.static_transform_topic
        try:
            return decode(message, sensor, is_static)
        except DataError as error:
            where = f"{self.recording.path.name} {message.topic.name} at {message.log_time_ns} ns"
            self.log.add("REC004", where, str(error))
            return None


def sensors_by_topic(config: RecordingConfig) -> dict[str, str]:
    """Return our name of the sensor behind each mapped topic."""
    sensors = {camera.calibration_topic: camera.sensor for camera in config.cameras}
    sensors |= {
        config.odometry_topic: "odometry",
        config.imu_topic: "imu",
        config.fix_topic: "fix",
        config.transform_topic: "transforms",
        config.static_transform_topic: "transforms",
    }
    sensors |= {sensor.topic: sensor.sensor for sensor in config.sensors}
    return {topic: name for topic, name in sensors.items() if topic}
