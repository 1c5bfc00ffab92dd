"""How objects move: a Kalman filter of constant velocity, and its smoother.

The state of an object is position and velocity of four axes, x y z in metres and yaw in radians,
in the global frame. The axes are independent, so that covariances are 2 x 2 and are kept as three
numbers: of position, of both, of velocity.

Source: Bar-Shalom, Li and Kirubarajan, "Estimation with Applications to Tracking and Navigation",
2001: piecewise constant acceleration (section 6.3.2), smoother of Rauch, Tung and Striebel
(section 8.6).
"""

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field

from admlops.config import Config

_YAW = 3
_CLIMB_MPS = 0.5
_TURN_RADPS = 0.4


class MotionConfig(Config):
    """How objects of a category move, and how well detectors see them."""

    noise_m: float = Field(default=0.25, gt=0)
    """Standard deviation of a detected centre."""
    noise_rad: float = Field(default=0.15, gt=0)
    """Standard deviation of a detected yaw."""
    speed_mps: float = Field(default=8.0, gt=0)
    """Standard deviation of the speed over ground of an object that is seen first."""
    acceleration_mps2: float = Field(default=2.0, gt=0)
    """Standard deviation of the acceleration."""
    turn_radps2: float = Field(default=0.5, gt=0)
    """Standard deviation of the acceleration of yaw."""

    def variances(self) -> "Variances":
        """Return the variances by axis."""
        meters, yaw = [self.noise_m] * 3, self.noise_rad
        return Variances(
            measured=np.square([*meters, yaw]),
            velocity=np.square([self.speed_mps, self.speed_mps, _CLIMB_MPS, _TURN_RADPS]),
            acceleration=np.square([*[self.acceleration_mps2] * 2, _CLIMB_MPS, self.turn_radps2]),
        )


@dataclass(frozen=True, slots=True)
class Variances:
    """Variances of the four axes x y z yaw.

    Attributes:
        measured: (4,) of a detection.
        velocity: (4,) of an object's velocity before it is known.
        acceleration: (4,) of what changes the velocity.
    """

    measured: NDArray[np.float64]
    velocity: NDArray[np.float64]
    acceleration: NDArray[np.float64]


@njit(cache=True)
def start(
    measured: NDArray[np.float64],
    variance: NDArray[np.float64],
    velocity_variance: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the (4, 2) mean and (4, 3) covariance after the first measurement."""
    mean, covariance = np.zeros((4, 2)), np.zeros((4, 3))
    for axis in range(4):
        mean[axis, 0] = measured[axis]
        covariance[axis, 0] = variance[axis]
        covariance[axis, 2] = velocity_variance[axis]
    return mean, covariance


@njit(cache=True)
def predict(
    mean: NDArray[np.float64],
    covariance: NDArray[np.float64],
    elapsed_s: float,
    acceleration: NDArray[np.float64],
) -> None:
    """Move a state on in time, in place."""
    step = elapsed_s
    for axis in range(4):
        mean[axis, 0] += step * mean[axis, 1]
        place, both, speed = covariance[axis, 0], covariance[axis, 1], covariance[axis, 2]
        push = acceleration[axis] * step * step
        covariance[axis, 0] = place + 2.0 * step * both + step * step * speed
        covariance[axis, 0] += 0.25 * push * step * step
        covariance[axis, 1] = both + step * speed + 0.5 * push * step
        covariance[axis, 2] = speed + push


@njit(cache=True)
def update(
    mean: NDArray[np.float64],
    covariance: NDArray[np.float64],
    measured: NDArray[np.float64],
    variance: NDArray[np.float64],
) -> None:
    """Take a measurement into a state, in place; a heading may be backward and on any turn."""
    for axis in range(4):
        surprise = measured[axis] - mean[axis, 0]
        if axis == _YAW:
            surprise = (surprise + 0.5 * math.pi) % math.pi - 0.5 * math.pi
        total = covariance[axis, 0] + variance[axis]
        gain, gain_speed = covariance[axis, 0] / total, covariance[axis, 1] / total
        mean[axis, 0] += gain * surprise
        mean[axis, 1] += gain_speed * surprise
        covariance[axis, 2] -= gain_speed * covariance[axis, 1]
        covariance[axis, 1] *= 1.0 - gain
        covariance[axis, 0] *= 1.0 - gain


@njit(cache=True)
def predict_all(
    means: NDArray[np.float64],
    covariances: NDArray[np.float64],
    elapsed_s: NDArray[np.float64],
    acceleration: NDArray[np.float64],
) -> None:
    """Move (T, 4, 2) and (T, 4, 3) states on in time, in place."""
    for row in range(len(means)):
        predict(means[row], covariances[row], elapsed_s[row], acceleration)


def smooth(
    times_s: NDArray[np.float64],
    measured: NDArray[np.float64],
    is_seen: NDArray[np.bool_],
    variances: Variances,
) -> NDArray[np.float64]:
    """Return (K, 4, 2) the most likely positions and velocities, given what came before and after.

    Args:
        times_s: (K,) rising.
        measured: (K, 4) x y z yaw; ignored where nothing is seen.
        is_seen: (K,) whether there is a measurement; the first has one.
        variances: of the object's category.
    """
    return _smooth(
        times_s,
        measured,
        is_seen,
        (variances.measured, variances.velocity, variances.acceleration),
    )


@njit(cache=True)
def _smooth(
    times_s: NDArray[np.float64],
    measured: NDArray[np.float64],
    is_seen: NDArray[np.bool_],
    variances: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
) -> NDArray[np.float64]:
    count = len(times_s)
    expected, expected_spread = np.zeros((count, 4, 2)), np.zeros((count, 4, 3))
    filtered, spread = np.zeros((count, 4, 2)), np.zeros((count, 4, 3))
    mean, covariance = start(measured[0], variances[0], variances[1])
    filtered[0], spread[0] = mean, covariance
    for row in range(1, count):
        predict(mean, covariance, times_s[row] - times_s[row - 1], variances[2])
        expected[row], expected_spread[row] = mean, covariance
        if is_seen[row]:
            update(mean, covariance, measured[row], variances[0])
        filtered[row], spread[row] = mean, covariance
    for row in range(count - 2, -1, -1):
        step = times_s[row + 1] - times_s[row]
        for axis in range(4):
            _look_back(
                filtered[row, axis],
                spread[row, axis],
                filtered[row + 1, axis] - expected[row + 1, axis],
                expected_spread[row + 1, axis],
                step,
            )
    return filtered


@njit(cache=True)
def _look_back(
    mean: NDArray[np.float64],
    covariance: NDArray[np.float64],
    correction: NDArray[np.float64],
    expected: NDArray[np.float64],
    step_s: float,
) -> None:
    """Correct one axis of a state, in place, by what the next state turned out to be."""
    place, both, speed = covariance
    ahead, behind = place + step_s * both, both + step_s * speed
    scale = expected[0] * expected[2] - expected[1] * expected[1]
    by_place = (correction[0] * expected[2] - correction[1] * expected[1]) / scale
    by_speed = (correction[1] * expected[0] - correction[0] * expected[1]) / scale
    mean[0] += ahead * by_place + both * by_speed
    mean[1] += behind * by_place + speed * by_speed
