"""The vehicle's way from satellite fixes and an inertial unit, where no odometry was recorded.

Fixes (WGS 84) become metres east, north and up of the first one; the Imu's orientation is relative
to east, north and up at the place where it was measured (REP 103, REP 145). The antenna's and the
Imu's mounting are taken out, and poses between messages are interpolated. This is no filter: noise
and outliers of the receiver are in the places as they are in the fixes, and in a heading by course.
"""

from array import array
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from admlops.errors import DataError
from admlops.geometry.geodesy import local_from_places, turns_between
from admlops.geometry.pose import (
    conjugate_quaternions,
    multiply_quaternions,
    quaternion_from_rotation,
    quaternions_about,
    rotate_by_quaternions,
    wrap_angle,
)
from admlops.geometry.trajectory import Trajectory
from admlops.recordings.course import (
    course_of,
    headings_through_stops,
    interpolated,
)
from admlops.recordings.events import ImuEvent, PositionEvent

_LIMITS = np.array([90.0, 180.0, 1e5])
"""Degrees of latitude and longitude and metres of height that no place of a road goes beyond."""


def is_usable(event: PositionEvent) -> bool:
    """Return whether a receiver had a fix and says where; the height may not be missing.

    A message that nobody filled in says that it has a fix, at zero degrees: no road is there.
    """
    place = np.array([event.latitude_deg, event.longitude_deg, event.altitude_m])
    return event.has_fix and bool(place[:2].any() and (np.abs(place) <= _LIMITS).all())


@dataclass(frozen=True, slots=True)
class Navigation:
    """What a recording says about places and orientations.

    Attributes:
        fix_times_ns: (F,) int64, strictly rising.
        places: (F, 3) latitude and longitude in degrees, height over the ellipsoid in metres.
        num_unusable: fixes beside them that say nothing.
        imu: orientations `local_from_imu`, the translations zero.
        frames: coordinate frames of the antenna and of the Imu, as their messages name them.
    """

    fix_times_ns: NDArray[np.int64]
    places: NDArray[np.float64]
    num_unusable: int
    imu: Trajectory
    frames: tuple[str, str]


@dataclass(slots=True)
class NavigationLog:
    """Fixes and orientations as they come in: some 40 bytes each."""

    num_unusable: int = 0
    frames: list[str] = field(default_factory=lambda: ["", ""])
    _fix_times_ns: "array[int]" = field(default_factory=lambda: array("q"))
    _places: "array[float]" = field(default_factory=lambda: array("d"))
    _imu_times_ns: "array[int]" = field(default_factory=lambda: array("q"))
    _quaternions: "array[float]" = field(default_factory=lambda: array("d"))

    def add(self, event: PositionEvent | ImuEvent) -> None:
        """Take one message; an Imu without orientation only names its frame."""
        if isinstance(event, ImuEvent):
            self.frames[1] = self.frames[1] or event.frame_id
            if np.isfinite(event.quaternion_wxyz).all():
                self._imu_times_ns.append(event.stamp_ns)
                self._quaternions.extend(event.quaternion_wxyz)
            return
        self.frames[0] = self.frames[0] or event.frame_id
        if is_usable(event):
            self._fix_times_ns.append(event.stamp_ns)
            self._places.extend((event.latitude_deg, event.longitude_deg, event.altitude_m))
        else:
            self.num_unusable += 1

    def navigation(self) -> Navigation:
        """Return what came in, in the order of its times; of two at one time the last counts."""
        times_ns = np.array(self._fix_times_ns, dtype=np.int64)
        places = np.array(self._places).reshape(-1, 3)
        last = len(times_ns) - 1 - np.unique(times_ns[::-1], return_index=True)[1]
        quaternions = np.array(self._quaternions).reshape(-1, 4)
        imu_times_ns = np.array(self._imu_times_ns, dtype=np.int64)
        imu = Trajectory.make(imu_times_ns, np.zeros((len(quaternions), 3)), quaternions)
        frames = (self.frames[0], self.frames[1])
        return Navigation(times_ns[last], places[last], self.num_unusable, imu, frames)


@dataclass(frozen=True, slots=True)
class NavigationSetup:
    """How the way is made.

    Attributes:
        ego_from_antenna: (4, 4); only its place counts.
        ego_from_imu: (4, 4); only its rotation counts; None where nothing tells it.
        max_gap_ns: over longer times nothing is interpolated.
        yaw_offset_rad: is added to the Imu's yaw.
        min_course_speed_mps: below, the course over ground says nothing about the heading.
    """

    ego_from_antenna: NDArray[np.float64]
    ego_from_imu: NDArray[np.float64] | None
    max_gap_ns: int
    yaw_offset_rad: float = 0.0
    min_course_speed_mps: float = 2.0


@dataclass(frozen=True, slots=True)
class NavigatedWay:
    """The vehicle's way.

    Attributes:
        way: `global_from_ego`; global is east, north, up of the first usable fix.
        heading: what the heading is from.
        heading_error_rad: median of the Imu's heading less the course over ground; NaN where the
            vehicle hardly moves, and where the heading is the course.
    """

    way: Trajectory
    heading: Literal["imu", "course"]
    heading_error_rad: float = np.nan


def navigate(navigation: Navigation, setup: NavigationSetup) -> NavigatedWay:
    """Return the vehicle's way.

    The orientation is the Imu's where it tells any, else the course over ground while the vehicle
    moves, carried through short stops; then roll and pitch are zero and the vehicle is taken to
    drive forward.

    Raises:
        DataError: not one pose comes out, with the reason.
    """
    times_ns, places = navigation.fix_times_ns, navigation.places
    if len(times_ns) == 0:
        raise DataError(f"none of {navigation.num_unusable} satellite fixes tells a place")
    gap_s = float(np.median(np.diff(times_ns))) * 1e-9 if len(times_ns) > 1 else np.inf
    if gap_s * 1e9 > setup.max_gap_ns:
        raise DataError(
            f"satellite fixes come every {gap_s:.3g} s, and max_pose_gap_s is "
            f"{setup.max_gap_ns * 1e-9:g}"
        )
    antenna_m = local_from_places(places[0], places)
    lever_m = setup.ego_from_antenna[:3, 3]
    if len(navigation.imu):
        attitude = _attitude(navigation, setup)
        is_known = attitude.covers(times_ns, setup.max_gap_ns)
    else:
        attitude, is_known = _course_attitude(navigation, antenna_m, setup)
    if not is_known.any():
        raise DataError(_explain(navigation, setup))
    at_fixes = attitude.sampled(times_ns[is_known])
    arm_m = rotate_by_quaternions(at_fixes.quaternion_wxyz, lever_m[None])
    way = Trajectory(at_fixes.times_ns, antenna_m[is_known] - arm_m, at_fixes.quaternion_wxyz)
    if not len(navigation.imu):
        return NavigatedWay(way, "course")
    error_rad = _heading_error_rad(way, setup)
    return NavigatedWay(_refined(way, attitude, setup.max_gap_ns), "imu", error_rad)


def _attitude(navigation: Navigation, setup: NavigationSetup) -> Trajectory:
    """Return `global_from_ego` at the times of the Imu, the translations zero."""
    if setup.ego_from_imu is None:
        raise DataError("nothing tells how the Imu is mounted")
    imu = navigation.imu
    ego_from_imu = quaternion_from_rotation(setup.ego_from_imu[:3, :3])[None]
    yaw = quaternions_about(2, np.array([setup.yaw_offset_rad]))
    local_from_imu = multiply_quaternions(yaw, imu.quaternion_wxyz)
    local_from_ego = multiply_quaternions(local_from_imu, conjugate_quaternions(ego_from_imu))
    places = _places_at(navigation, imu.times_ns)
    turns = turns_between(navigation.places[0], places)
    quaternions = multiply_quaternions(turns, local_from_ego)
    return Trajectory.make(imu.times_ns, imu.translation_m, quaternions)


def _places_at(navigation: Navigation, times_ns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (N, 3) places at times, good enough to tell which way is down."""
    places = navigation.places.copy()
    places[:, 1] = np.unwrap(places[:, 1], period=360.0)
    return interpolated(navigation.fix_times_ns, places, times_ns)


def _course_attitude(
    navigation: Navigation, antenna_m: NDArray[np.float64], setup: NavigationSetup
) -> tuple[Trajectory, NDArray[np.bool_]]:
    """Return `global_from_ego` at the fixes, level and along the course; and where it is known.

    In a curve the antenna does not move as the vehicle's origin does: at yaw rate w, an antenna at
    (x, y) moves w x to the left and w y less forward. The origin is taken to move straight ahead,
    as the middle of the rear axle does.
    """
    turns = turns_between(navigation.places[0], navigation.places)
    course = course_of(navigation.fix_times_ns, antenna_m, setup.max_gap_ns)
    x_m, y_m, _ = setup.ego_from_antenna[:3, 3]
    ahead_mps = np.sqrt(np.maximum(course.speed_mps**2 - (course.rate_radps * x_m) ** 2, 0.0))
    drift_rad = np.arctan2(course.rate_radps * x_m, ahead_mps)
    own_mps = ahead_mps + course.rate_radps * y_m
    # The course is told in the global frame; the local one is turned against it about the vertical.
    convergence_rad = 2.0 * np.arctan2(turns[:, 3], turns[:, 0])
    yaw_rad = course.yaw_rad - drift_rad - convergence_rad
    is_known = course.is_known & (own_mps >= setup.min_course_speed_mps)
    yaw_rad, is_known = headings_through_stops(
        yaw_rad, is_known, navigation.fix_times_ns, antenna_m, setup.max_gap_ns
    )
    quaternions = multiply_quaternions(turns, quaternions_about(2, yaw_rad))
    zeros = np.zeros((len(quaternions), 3))
    return Trajectory.make(navigation.fix_times_ns, zeros, quaternions), is_known


def _refined(way: Trajectory, attitude: Trajectory, max_gap_ns: int) -> Trajectory:
    """Return a way with poses at the times of the attitude, too, where it has no gap there."""
    inner_ns = attitude.times_ns[way.covers(attitude.times_ns, max_gap_ns)]
    times_ns = np.union1d(way.times_ns, inner_ns)
    quaternions = attitude.sampled(times_ns).quaternion_wxyz
    return Trajectory.make(times_ns, way.sampled(times_ns).translation_m, quaternions)


def _heading_error_rad(way: Trajectory, setup: NavigationSetup) -> float:
    """Return the median of heading less course, while the vehicle moves."""
    course = course_of(way.times_ns, way.translation_m, setup.max_gap_ns)
    is_moving = course.is_known & (course.speed_mps >= setup.min_course_speed_mps)
    if not is_moving.any():
        return float(np.nan)
    forward = rotate_by_quaternions(way.quaternion_wxyz[is_moving], np.array([[1.0, 0.0, 0.0]]))
    error = np.arctan2(forward[:, 1], forward[:, 0]) - course.yaw_rad[is_moving]
    middle = float(np.angle(np.exp(1j * error).mean()))
    return float(wrap_angle(middle + np.median(wrap_angle(error - middle))))


def _explain(navigation: Navigation, setup: NavigationSetup) -> str:
    if len(navigation.imu):
        what = "no satellite fix lies between two orientations of the Imu that are close enough"
        return f"{what} (max_pose_gap_s {setup.max_gap_ns * 1e-9:g})"
    return (
        "no Imu tells an orientation, and the vehicle never moves at "
        f"{setup.min_course_speed_mps:g} m/s, so that its course could tell the heading"
    )
