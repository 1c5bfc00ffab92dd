"""The sensors of one recording as the lake wants them: placed on the vehicle and calibrated."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from admlops.checks.rules import find
from admlops.errors import DataError
from admlops.geometry.trajectory import Trajectory
from admlops.recordings.config import CameraTopic, RecordingConfig
from admlops.recordings.events import CalibrationEvent
from admlops.recordings.index import RecordingIndex
from admlops.recordings.vehicle import VehicleWay, find_ego_frame, place_sensor, vehicle_way
from admlops.structures.finding import Finding
from admlops.structures.frame import CalibratedSensor

MERGED_LIDAR = "lidar_merged"

_UNDISTORTED = ("", "none")
_PINHOLE_MODELS = ("plumb_bob", "rational_polynomial", *_UNDISTORTED)


@dataclass(frozen=True, slots=True)
class Rig:
    """Sensors on their vehicle.

    Attributes:
        sensors: calibration by our name; sensors that cannot be used are absent.
        way: `global_from_ego`; empty where the recording has no pose.
        pose_source: what it is from, see `VehicleWay`.
        findings: what is wrong with calibration and poses (REC016, REC017, REC021).
    """

    sensors: Mapping[str, CalibratedSensor]
    way: Trajectory
    pose_source: str
    findings: tuple[Finding, ...]


def build_rig(index: RecordingIndex, where: str) -> Rig:
    """Return the sensors of a recording, and what is missing for using them."""
    findings: list[Finding] = []
    empty = Trajectory.make([], np.empty((0, 3)), np.empty((0, 4)))
    try:
        ego_frame = find_ego_frame(index)
    except DataError as error:
        return Rig({}, empty, "", (find("REC016", where, str(error)),))
    try:
        vehicle = vehicle_way(index, ego_frame)
    except DataError as error:
        vehicle = VehicleWay(empty, "")
        findings.append(find("REC017", where, str(error)))
    else:
        findings += _judge_way(vehicle, index.config, where)
    sensors = {}
    for name, layout in index.layouts.items():
        try:
            pose = place_sensor(index, ego_frame, layout.frame_id)
            sensors[name] = CalibratedSensor(name, "lidar", pose)
        except DataError as error:
            findings.append(find("REC016", f"{where} {name}", str(error)))
    for camera in index.config.cameras:
        if camera.sensor not in index.sensors:
            continue
        try:
            sensors[camera.sensor] = _calibrate(index, camera, ego_frame)
        except DataError as error:
            findings.append(find("REC016", f"{where} {camera.sensor}", str(error)))
    return Rig(sensors, vehicle.way, vehicle.source, tuple(findings))


def _judge_way(vehicle: VehicleWay, config: RecordingConfig, where: str) -> Iterator[Finding]:
    if len(vehicle.way) == 0:
        what = "neither odometry nor transforms nor satellite fixes say where the vehicle is"
        if config.pose_source != "auto":
            what = f"no pose from {config.pose_source}, which pose_source names"
        yield find("REC017", where, what)
    if abs(vehicle.heading_error_deg) > config.limits.max_heading_error_deg:
        what = (
            f"the Imu's heading is {vehicle.heading_error_deg:+.1f} degrees from the course over "
            f"ground; at most {config.limits.max_heading_error_deg:g} may be"
        )
        yield find("REC021", where, what)


def _calibrate(index: RecordingIndex, camera: CameraTopic, ego_frame: str) -> CalibratedSensor:
    name = camera.sensor
    if name not in index.calibrations:
        raise DataError(f"no CameraInfo on {camera.calibration_topic!r}")
    if index.num_calibrations[name] > 1:
        raise DataError(f"{index.num_calibrations[name]} different CameraInfo in one recording")
    calibration = index.calibrations[name]
    frame_id = camera.frame_id or index.image_frames.get(name, "") or calibration.frame_id
    matrix, distortion = calibration.camera_matrix, calibration.distortion
    if camera.has_rectified_images and calibration.rectified_matrix.any():
        matrix, distortion = calibration.rectified_matrix, np.empty(0)
    _check_intrinsics(matrix, calibration)
    if calibration.model not in _PINHOLE_MODELS and distortion.any():
        raise DataError(
            f"distortion model {calibration.model!r}; record rectified images, or one of "
            f"{', '.join(_PINHOLE_MODELS[:2])}"
        )
    if not distortion.any():
        distortion = np.empty(0)
    ego_from_camera = place_sensor(index, ego_frame, frame_id)
    return CalibratedSensor(name, "camera", ego_from_camera, matrix, distortion)


def _check_intrinsics(matrix: np.ndarray, calibration: CalibrationEvent) -> None:
    size = np.array([calibration.width_px, calibration.height_px], dtype=np.float64)
    is_sound = np.isfinite(matrix).all() and matrix[0, 0] > 0 and matrix[1, 1] > 0
    if not is_sound or not np.array_equal(matrix[2], [0, 0, 1]):
        raise DataError(f"CameraInfo without a valid matrix: {matrix.tolist()}")
    if (size > 0).all() and (np.abs(matrix[:2, 2] / size - 0.5) > 0.5).any():
        raise DataError(f"CameraInfo with its centre at {matrix[:2, 2]}, outside {size} pixels")
