"""The vehicle in a recording: which frame is its own, its way, and where its sensors sit."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from admlops.errors import DataError
from admlops.geometry.pose import make_transform
from admlops.geometry.trajectory import Trajectory
from admlops.recordings.index import RecordingIndex
from admlops.recordings.navigation import NavigationSetup, navigate
from admlops.recordings.stream import EGO_FRAMES, GLOBAL_FRAMES


@dataclass(frozen=True, slots=True)
class VehicleWay:
    """Where the vehicle is.

    Attributes:
        way: `global_from_ego`.
        source: what it is from: "odometry", "transforms", "gnss, heading by imu" or "gnss, heading
            by course"; "" for nothing.
        heading_error_deg: median of the Imu's heading less the course over ground; NaN where they
            were not compared.
    """

    way: Trajectory
    source: str
    heading_error_deg: float = np.nan


_NO_WAY = Trajectory.make([], np.empty((0, 3)), np.empty((0, 4)))


def find_ego_frame(index: RecordingIndex) -> str:
    """Return the vehicle's frame: the one that is set, or a usual name that is there.

    Raises:
        DataError: neither is.
    """
    if index.config.ego_frame:
        return index.config.ego_frame
    frames = index.transforms.frames | set(index.odometry_frames) - {""}
    for name in (*EGO_FRAMES, index.odometry_frames[1]):
        if name in frames:
            return name
    lidar_frames = {layout.frame_id for layout in index.layouts.values()}
    if not frames and len(lidar_frames) == 1 and lidar_frames <= set(EGO_FRAMES):
        return lidar_frames.pop()
    known = ", ".join(sorted(frames)) or "none"
    raise DataError(f"no frame of the vehicle; set ego_frame to one of: {known}")


def place_sensor(index: RecordingIndex, ego_frame: str, frame_id: str) -> NDArray[np.float64]:
    """Return the (4, 4) `ego_from_sensor`, with our ego frame's origin on the ground.

    Raises:
        DataError: the transforms do not connect the sensor with the vehicle.
    """
    if frame_id == ego_frame:
        base_from_sensor = np.eye(4)
    else:
        base_from_sensor = index.transforms.transform(ego_frame, frame_id, 0)
    return _raise_by(index.config.ego_height_m) @ base_from_sensor


def vehicle_way(index: RecordingIndex, ego_frame: str) -> VehicleWay:
    """Return `global_from_ego` over time, from what the config names; empty without.

    Raises:
        DataError: what was recorded cannot be used: odometry is about a frame, or an antenna sits
            on one, that is not connected with the vehicle's, or no fix gives a pose.
    """
    wanted = index.config.pose_source
    if wanted in ("auto", "odometry") and len(index.odometry):
        return VehicleWay(_odometry_way(index, ego_frame), "odometry")
    if wanted in ("auto", "transforms"):
        way = _transform_way(index, ego_frame)
        if len(way):
            return VehicleWay(way, "transforms")
    if wanted in ("auto", "gnss") and "fix" in index.sensors:
        return _navigated_way(index, ego_frame)
    return VehicleWay(_NO_WAY, "")


def _odometry_way(index: RecordingIndex, ego_frame: str) -> Trajectory:
    child = index.odometry_frames[1]
    child_from_ego = np.eye(4)
    if child and child != ego_frame:
        child_from_ego = index.transforms.transform(child, ego_frame, 0)
    return _shifted(index.odometry, child_from_ego @ _raise_by(-index.config.ego_height_m))


def _transform_way(index: RecordingIndex, ego_frame: str) -> Trajectory:
    lowered = _raise_by(-index.config.ego_height_m)
    tree = index.transforms
    names = [index.config.global_frame] if index.config.global_frame else GLOBAL_FRAMES
    for name in names:
        if name not in tree.frames or ego_frame not in tree.frames:
            continue
        moving = tree.moving_links(name, ego_frame)
        if moving:
            times_ns = max((tree.trajectory(link).times_ns for link in moving), key=len)
            poses = [tree.transform(name, ego_frame, int(time)) @ lowered for time in times_ns]
            return Trajectory.from_transforms(times_ns, np.array(poses))
    return _NO_WAY


def _navigated_way(index: RecordingIndex, ego_frame: str) -> VehicleWay:
    config, navigation = index.config, index.navigation
    fix_frame = config.fix_frame_id or navigation.frames[0]
    imu_frame = config.imu_frame_id or navigation.frames[1]
    ego_from_imu = None
    if len(navigation.imu):
        ego_from_imu = _place_receiver(index, ego_frame, imu_frame, ("Imu", "imu_frame_id"))
    setup = NavigationSetup(
        ego_from_antenna=_place_receiver(
            index, ego_frame, fix_frame, ("NavSatFix", "fix_frame_id")
        ),
        ego_from_imu=ego_from_imu,
        max_gap_ns=round(config.max_pose_gap_s * 1e9),
        yaw_offset_rad=float(np.radians(config.imu_yaw_offset_deg)),
        min_course_speed_mps=config.min_course_speed_mps,
    )
    found = navigate(navigation, setup)
    error_deg = float(np.degrees(found.heading_error_rad))
    return VehicleWay(found.way, f"gnss, heading by {found.heading}", error_deg)


def _place_receiver(
    index: RecordingIndex, ego_frame: str, frame_id: str, names: tuple[str, str]
) -> NDArray[np.float64]:
    """Return `ego_from_sensor`; `names` are of the message and of the setting for its frame."""
    message, setting = names
    if not frame_id:
        raise DataError(
            f"the frame_id of {message} is empty; set {setting} to where it is mounted "
            f"({ego_frame!r} is the vehicle's own frame)"
        )
    try:
        return place_sensor(index, ego_frame, frame_id)
    except DataError as error:
        raise DataError(f"{error}; {setting} names another frame for {message}") from error


def _shifted(way: Trajectory, child_from_ego: NDArray[np.float64]) -> Trajectory:
    """Return the way of a frame that is fixed to the one whose way is given."""
    if np.array_equal(child_from_ego, np.eye(4)):
        return way
    poses = np.array([way.at(int(time)) @ child_from_ego for time in way.times_ns])
    return Trajectory.from_transforms(way.times_ns, poses)


def _raise_by(height_m: float) -> NDArray[np.float64]:
    return make_transform(np.eye(3), [0.0, 0.0, height_m])
