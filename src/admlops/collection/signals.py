"""What is known of the vehicle and its surroundings while a drive streams."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from admlops.geometry.pose import rotation_from_quaternion
from admlops.recordings.events import ImuEvent, OdometryEvent, PositionEvent, SensorEvent
from admlops.structures.boxes import Boxes

Signal = Literal["speed_mps", "acceleration_mps2", "yaw_rate_radps", "imu_acceleration_mps2"]

_GRAVITY_MPS2 = 9.81
_SLOPE_NS = 300_000_000
"""Time over which an acceleration is the slope of the speed, or the mean of the IMU's."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What is known at one time; what is not known, or too old, is absent.

    Attributes:
        time_ns: when.
        signals: values by name.
        position_deg: latitude and longitude.
        boxes: what a detector saw, in the ego frame.
        tags: conditions of the drive.
    """

    time_ns: int
    signals: Mapping[str, float] = field(default_factory=dict)
    position_deg: tuple[float, float] | None = None
    boxes: Boxes | None = None
    tags: frozenset[str] = frozenset()


class SignalTracker:
    """Turns sensor events and detections into observations.

    The speed is the forward one of odometry (negative backwards), `acceleration_mps2` its slope
    over the last 0.3 s. The yaw rate is odometry's, or the IMU's where there is no odometry.
    `imu_acceleration_mps2` is the IMU's along its x axis, which must point forward, without
    gravity; it is absent while the IMU does not know its orientation.
    """

    def __init__(self, max_age_s: float, tags: frozenset[str] = frozenset()) -> None:
        """Start a drive.

        Args:
            max_age_s: what was measured longer ago is not known any more.
            tags: conditions of the whole drive.
        """
        self._max_age_ns = round(max_age_s * 1e9)
        self._tags = tags
        self._values: dict[str, tuple[int, float]] = {}
        self._position: tuple[int, tuple[float, float]] | None = None
        self._boxes: tuple[int, Boxes] | None = None
        self._speeds: deque[tuple[int, float]] = deque()
        self._accelerations: deque[tuple[int, float]] = deque()
        self._has_odometry = False

    def update(self, event: SensorEvent) -> Observation | None:
        """Return what is known after an event; None if it says nothing of the vehicle."""
        time_ns = event.stamp_ns
        if isinstance(event, OdometryEvent):
            self._note_odometry(event)
        elif isinstance(event, ImuEvent):
            self._note_imu(event)
        elif isinstance(event, PositionEvent) and event.has_fix:
            self._position = (time_ns, (event.latitude_deg, event.longitude_deg))
        else:
            return None
        return self._observe(time_ns)

    def see(self, time_ns: int, boxes: Boxes | None) -> Observation:
        """Return what is known after a sweep.

        Args:
            time_ns: of the sweep.
            boxes: what a detector saw in it; None if it did not look.
        """
        if boxes is not None:
            self._boxes = (time_ns, boxes)
        return self._observe(time_ns)

    def _note_odometry(self, event: OdometryEvent) -> None:
        self._has_odometry = True
        speed = float(event.velocity_mps[0])
        self._values["speed_mps"] = (event.stamp_ns, speed)
        self._values["yaw_rate_radps"] = (event.stamp_ns, float(event.angular_velocity_radps[2]))
        _push(self._speeds, event.stamp_ns, speed)
        slope = _slope(self._speeds)
        if slope is not None:
            self._values["acceleration_mps2"] = (event.stamp_ns, slope)

    def _note_imu(self, event: ImuEvent) -> None:
        if not self._has_odometry:
            rate = float(event.angular_velocity_radps[2])
            self._values["yaw_rate_radps"] = (event.stamp_ns, rate)
        if not np.isfinite(event.quaternion_wxyz).all() or not event.quaternion_wxyz.any():
            return
        up: NDArray[np.float64] = rotation_from_quaternion(event.quaternion_wxyz)[2]
        forward = float(event.acceleration_mps2[0] - _GRAVITY_MPS2 * up[0])
        _push(self._accelerations, event.stamp_ns, forward)
        mean = sum(value for _, value in self._accelerations) / len(self._accelerations)
        self._values["imu_acceleration_mps2"] = (event.stamp_ns, mean)

    def _observe(self, time_ns: int) -> Observation:
        oldest_ns = time_ns - self._max_age_ns
        known = {
            name: value
            for name, (stamp_ns, value) in self._values.items()
            if stamp_ns >= oldest_ns and np.isfinite(value)
        }
        position, boxes = self._position, self._boxes
        return Observation(
            time_ns=time_ns,
            signals=known,
            position_deg=position[1] if position and position[0] >= oldest_ns else None,
            boxes=boxes[1] if boxes and boxes[0] >= oldest_ns else None,
            tags=self._tags,
        )


def _push(values: deque[tuple[int, float]], time_ns: int, value: float) -> None:
    """Add a value and forget those that are too old, or that a clock jump put in the future."""
    if values and time_ns <= values[-1][0]:
        values.clear()
    values.append((time_ns, value))
    while values[0][0] < time_ns - _SLOPE_NS:
        values.popleft()


def _slope(values: deque[tuple[int, float]]) -> float | None:
    """Return the least-squares slope per second; None over less than half the time."""
    if len(values) < 3 or values[-1][0] - values[0][0] < _SLOPE_NS // 2:
        return None
    times_s = np.array([time_ns - values[0][0] for time_ns, _ in values]) * 1e-9
    heights = np.array([value for _, value in values])
    centred = times_s - times_s.mean()
    return float((centred * heights).sum() / (centred * centred).sum())
