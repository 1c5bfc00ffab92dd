"""Hand-made events and recordings for the tests of quality and frames."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from admlops.geometry.geodesy import places_from_local
from admlops.geometry.pose import make_transform, rotation_about_z
from admlops.recordings import decoding, encoding
from admlops.recordings.recorder import RosRecorder
from admlops.structures.frame import CalibratedSensor, CameraImage

START_NS = 1_700_000_000_000_000_000
MS = 1_000_000
PNG = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x08\x00\x00\x00\x06\x08\x00\x00\x00\x00"
    b"\x00\x00\x00\x00\x00\x00\x00\x00IEND\xaeB`\x82"
)
CAMERA_AXES = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
ANTENNA_M = (-0.5, 0.2, 1.7)
ORIGIN = np.array([48.0, 11.0, 500.0])
MATRIX = np.array([[10.0, 0, 4], [0, 10.0, 3], [0, 0, 1]])


def camera_image(name: str = "camera") -> CameraImage:
    pose = make_transform(CAMERA_AXES, [1.0, 0.0, 1.5])
    return CameraImage(CalibratedSensor(name, "camera", pose, MATRIX), PNG, 8, 6)


def points(count: int = 5, distance_m: float = 10.0) -> np.ndarray:
    table = np.zeros(count, encoding.POINT_DTYPE)
    table["x"], table["y"] = distance_m, np.arange(count)
    table["intensity"] = 0.5
    table["time"] = np.linspace(0, 0.09, count)
    return table


class Drive:
    """A drive of a lidar and a camera at 10 Hz and odometry at 50 Hz; parts may be left out."""

    def __init__(self, num_sweeps: int = 30, speed_mps: float = 10.0) -> None:
        self.speed_mps = speed_mps
        self.sweeps_ns = [START_NS + 100 * MS * i for i in range(num_sweeps)]
        self.images_ns = [time + 5 * MS for time in self.sweeps_ns]
        self.log_ns: Callable[[int], int] = lambda stamp: stamp + 2 * MS
        self.cloud: Callable[[int], np.ndarray] = lambda _: points()
        self.has_calibration = self.has_mounting = self.has_odometry = True
        self.second_lidar_ns: list[int] = []
        self.fix_period_ns = 0  # none
        self.has_fix: Callable[[int], bool] = lambda _: True
        self.antenna_frame, self.imu_frame = "gnss", "imu"
        self.odometry_bytes: int | None = None  # what is left of each message
        self.imu_yaw_deg: float | None = None  # of its message; an Imu without orientation
        self.east_m: Callable[[float], float] = lambda time_s: speed_mps * time_s
        self.end_ns = self.sweeps_ns[-1] + 200 * MS

    def write(self, path: Path) -> Path:
        messages = [*self._sensors(), *self._vehicle(), *self._navigation()]
        with path.open("wb") as file:
            recorder = RosRecorder(file)
            for log_ns, topic, kind, data in sorted(messages, key=lambda item: item[0]):
                recorder.write(topic, kind, log_ns, data)
            recorder.finish()
        return path

    def _sensors(self):
        log_ns = self.log_ns
        for row, time in enumerate(self.sweeps_ns):
            data = encoding.encode_points(time, "lidar", self.cloud(row))
            yield log_ns(time), "/lidar/points", decoding.POINT_CLOUD, data
        for time in self.second_lidar_ns:
            data = encoding.encode_points(time, "lidar_left", points(3, 7.0))
            yield log_ns(time), "/lidar_left/points", decoding.POINT_CLOUD, data
        for time in self.images_ns:
            image = camera_image()
            data = encoding.encode_compressed_image(time, "camera", image.encoded)
            yield log_ns(time), "/camera/image_rect", decoding.COMPRESSED_IMAGE, data
            if self.has_calibration:
                data = encoding.encode_camera_info(time, "camera", image)
                yield log_ns(time), "/camera/camera_info", decoding.CAMERA_INFO, data

    def _vehicle(self):
        if self.has_mounting:
            left = make_transform(np.eye(3), [0.0, 1.0, 2.0])
            mounting = [
                ("base_link", "lidar", make_transform(np.eye(3), [0.0, 0.0, 2.0])),
                ("base_link", "lidar_left", left),
                ("base_link", "camera", camera_image().sensor.ego_from_sensor),
                ("base_link", "gnss", make_transform(np.eye(3), ANTENNA_M)),
                ("base_link", "imu", np.eye(4)),
            ]
            data = encoding.encode_transforms(START_NS, mounting)
            yield START_NS - 10 * MS, "/tf_static", decoding.TRANSFORMS, data
        if self.has_odometry:
            for time in range(START_NS - 100 * MS, self.end_ns, 20 * MS):
                pose = make_transform(np.eye(3), [self.speed_mps * (time - START_NS) * 1e-9, 0, 0])
                twist = np.array([self.speed_mps, 0, 0, 0, 0, 0])
                data = encoding.encode_odometry(time, ("odom", "base_link"), pose, twist)
                yield time, "/odometry", decoding.ODOMETRY, data[: self.odometry_bytes]

    def _navigation(self):
        """Eastward from the origin, at `east_m`."""
        if not self.fix_period_ns:
            return
        start_ns = START_NS - 100 * MS
        for time in range(start_ns, self.end_ns, self.fix_period_ns):
            antenna_m = np.array([[self.east_m((time - START_NS) * 1e-9), 0.0, 0.0]]) + ANTENNA_M
            (place,) = places_from_local(ORIGIN, antenna_m)
            data = encoding.encode_fix(time, self.antenna_frame, place, self.has_fix(time))
            yield time, "/gnss/fix", decoding.FIX, data
        for time in range(start_ns, self.end_ns, 10 * MS):
            yaw_deg = self.imu_yaw_deg
            rotation = None if yaw_deg is None else rotation_about_z(np.radians(yaw_deg))
            data = encoding.encode_imu(
                time, self.imu_frame, rotation, np.zeros(3), np.array([0, 0, 9.81])
            )
            yield time, "/imu", decoding.IMU, data
