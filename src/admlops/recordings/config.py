"""Says which topics of a recording are which sensors, and how good a recording must be."""

from pathlib import PurePosixPath
from typing import Literal, Self

from pydantic import Field, model_validator

from admlops.config import Config
from admlops.recordings.point_cloud import TimeUnit

MAPPING_FILE = "admlops_recording.yaml"
"""Says beside the recordings which topics are which sensors (a `RecordingConfig`)."""

PoseSource = Literal["auto", "odometry", "transforms", "gnss"]
"""Where the vehicle's pose comes from; "gnss" is NavSatFix and Imu."""


class LidarTopic(Config):
    """A lidar."""

    topic: str
    """Topic of sensor_msgs/PointCloud2."""
    name: str = ""
    """Our name; from the topic when empty: "/lidar_top/points" is "lidar_top"."""
    frame_id: str = ""
    """Coordinate frame of the points; the messages' own when empty."""
    rate_hz: float = Field(default=0.0, ge=0)
    """Rate that is meant; 0 takes the median of the recording."""
    intensity_scale: float = Field(default=0.0, ge=0)
    """The intensity is divided by it; 0 tells it by type and first sweep (1, 255 or 65535)."""
    time_unit: TimeUnit = "auto"
    """Of the points' times; "auto": integers are nanoseconds, floats are seconds."""
    time_offset_s: float = 0.0
    """Added to the stamps, for a sensor whose clock is known to be off."""

    @property
    def sensor(self) -> str:
        """Our name."""
        return self.name or sensor_name(self.topic)


class CameraTopic(Config):
    """A camera."""

    topic: str
    """Topic of sensor_msgs/Image or CompressedImage."""
    info_topic: str = ""
    """Topic of sensor_msgs/CameraInfo; "camera_info" beside the images when empty."""
    name: str = ""
    """Our name; from the topic when empty: "/camera_front/image_raw" is "camera_front"."""
    frame_id: str = ""
    """Coordinate frame (x right, y down, z forward); the messages' own when empty."""
    rate_hz: float = Field(default=0.0, ge=0)
    """Rate that is meant; 0 takes the median of the recording."""
    is_rectified: bool | None = None
    """Whether the images are free of distortion; None tells it by "rect" in the topic."""
    time_offset_s: float = 0.0
    """Added to the stamps, for example minus half the exposure."""

    @property
    def sensor(self) -> str:
        """Our name."""
        return self.name or sensor_name(self.topic)

    @property
    def calibration_topic(self) -> str:
        """Topic of the intrinsics."""
        if self.info_topic:
            return self.info_topic
        path = PurePosixPath(self.topic)
        above = path.parent.parent if path.name == "compressed" else path.parent
        return str(above / "camera_info")

    @property
    def has_rectified_images(self) -> bool:
        """Whether the images are free of distortion."""
        return "rect" in self.topic if self.is_rectified is None else self.is_rectified


class QualityLimits(Config):
    """What a recording must reach to be accepted."""

    min_rate_share: float = Field(default=0.8, ge=0, le=1)
    """Messages per second over the log, but for `max_gap_s`, as a share of the rate that is meant
    (REC006)."""
    max_drop_share: float = Field(default=0.05, ge=0, le=1)
    """Share of messages that are missing between others (REC007)."""
    max_jitter_share: float = Field(default=0.2, ge=0)
    """Deviation of the period (99 % of all) as a share of the period (REC008)."""
    max_gap_s: float = Field(default=1.0, gt=0)
    """Time without a message of a lidar or camera (REC009)."""
    max_clock_jump_s: float = Field(default=0.2, gt=0)
    """A stamp may run so far ahead of the log time from one message to the next (REC010, 011)."""
    max_latency_s: float = Field(default=0.5, gt=0)
    """Median of log time less stamp, either way (REC013)."""
    max_empty_share: float = Field(default=0.01, ge=0, le=1)
    """Share of messages without points or pixels (REC014)."""
    min_sync_share: float = Field(default=0.9, ge=0, le=1)
    """Share of sweeps with a partner from every other sensor within the tolerance (REC015)."""
    max_heading_error_deg: float = Field(default=15.0, gt=0, le=180)
    """Where poses come from fixes: median of the Imu's heading less the course over ground, either
    way (REC021)."""


class RecordingConfig(Config):
    """Which topics are which sensors, and how frames are made of them."""

    lidars: tuple[LidarTopic, ...] = ()
    """The lidars, the main one first: its sweeps are the frames. Every PointCloud2 when empty."""
    cameras: tuple[CameraTopic, ...] = ()
    """The cameras, the front one first. Every image topic with a CameraInfo when empty."""
    odometry_topic: str = ""
    """Topic of nav_msgs/Odometry for the vehicle's pose; the only one when empty."""
    imu_topic: str = ""
    """Topic of sensor_msgs/Imu; the only one when empty."""
    fix_topic: str = ""
    """Topic of sensor_msgs/NavSatFix; likewise."""
    pose_source: PoseSource = "auto"
    """Where the vehicle's pose comes from; "auto" takes the first that is there of odometry,
    transforms, and satellite fixes with the Imu's orientation."""
    fix_frame_id: str = ""
    """Coordinate frame of the antenna; the messages' own when empty."""
    imu_frame_id: str = ""
    """Coordinate frame of the Imu; likewise."""
    imu_yaw_offset_deg: float = Field(default=0.0, ge=-360, le=360)
    """Is added to the Imu's yaw, counter-clockwise; ours is zero in the east. 90 for an Imu whose
    yaw is zero in the north."""
    min_course_speed_mps: float = Field(default=2.0, gt=0)
    """Where the Imu tells no orientation, the heading is the course over ground of fixes from this
    speed on."""
    transform_topic: str = "/tf"
    """Topic of changing transforms."""
    static_transform_topic: str = "/tf_static"
    """Topic of transforms that hold for ever."""
    ego_frame: str = ""
    """Frame of the vehicle (x forward, y left, z up); a usual name that is there when empty."""
    global_frame: str = ""
    """Frame in which the vehicle moves, where its pose comes from transforms; likewise."""
    ego_height_m: float = 0.0
    """Height of that frame's origin over the ground; ours is on the ground."""
    sync_tolerance_s: float = Field(default=0.05, gt=0, le=1)
    """How far the stamps of one frame's sensors may lie apart."""
    motion_compensation: bool = True
    """Whether points are moved to where they were at the frame's time, by the vehicle's motion."""
    max_pose_gap_s: float = Field(default=0.25, gt=0, le=10)
    """The vehicle's pose is interpolated over no longer time."""
    conditions: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Conditions of recordings by name (of the log, or of the file without its suffix), for example
    "night"; "" is for all of them. They become the tags of their frames."""
    frame_stride: int = Field(default=1, ge=1)
    """Every so many sweeps of the main lidar become a frame."""
    scene_length_s: float = Field(default=20.0, gt=0)
    """About how long a scene is; a log is cut into equal pieces, and at gaps."""
    accept_poor: bool = False
    """Whether a recording is read although it breaks a rule of severity "error"."""
    limits: QualityLimits = QualityLimits()
    """When a recording is refused."""

    @property
    def sensors(self) -> tuple[LidarTopic | CameraTopic, ...]:
        """All lidars, then all cameras."""
        return (*self.lidars, *self.cameras)

    def tags_of(self, *names: str) -> tuple[str, ...]:
        """Return the tags of the frames of a recording with these names, sorted."""
        return tuple(
            sorted({tag for name in ("", *names) for tag in self.conditions.get(name, ())})
        )

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [sensor.sensor for sensor in self.sensors]
        topics = [sensor.topic for sensor in self.sensors]
        for values, what in ((names, "name"), (topics, "topic")):
            twice = sorted({value for value in values if values.count(value) > 1})
            if twice:
                raise ValueError(f"two sensors have the {what} {', '.join(twice)}")
        return self


_GENERIC = ("points", "velodyne_points", "cloud", "image_raw", "image", "compressed", "image_rect")
_GENERIC_COLOR = ("image_color", "image_rect_color", "image_raw_compressed", "point_cloud")


def sensor_name(topic: str) -> str:
    """Return a name for the sensor behind a topic: what is not generic, joined by underscores."""
    parts = [part for part in topic.split("/") if part]
    named = [part for part in parts if part not in (*_GENERIC, *_GENERIC_COLOR, "sensing")]
    return "_".join(named or parts) or "sensor"
