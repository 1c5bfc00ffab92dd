"""The way of a body through time: poses between poses, and points moved along with it.

Rotations are interpolated by slerp (Shoemake, "Animating rotation with quaternion curves", 1985),
translations linearly.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from admlops.geometry.pose import (
    make_transform,
    multiply_quaternions,
    quaternion_from_rotation,
)

_SMALL_ANGLE_COSINE = 0.9999999


@dataclass(frozen=True, slots=True)
class Trajectory:
    """Poses of one frame in another at rising times.

    Attributes:
        times_ns: (K,) int64, strictly rising.
        translation_m: (K, 3) float64.
        quaternion_wxyz: (K, 4) float64 of length one; neighbours on the same half sphere.
    """

    times_ns: NDArray[np.int64]
    translation_m: NDArray[np.float64]
    quaternion_wxyz: NDArray[np.float64]

    @classmethod
    def make(
        cls, times_ns: ArrayLike, translation_m: ArrayLike, quaternion_wxyz: ArrayLike
    ) -> Self:
        """Return a trajectory of poses in any order; of poses at one time the last one counts."""
        times = np.asarray(times_ns, dtype=np.int64).reshape(-1)
        order = np.argsort(times, kind="stable")
        is_last = np.append(np.diff(times[order]) > 0, True)[: len(order)]
        chosen = order[is_last]
        quaternion = np.asarray(quaternion_wxyz, dtype=np.float64).reshape(-1, 4)[chosen]
        quaternion = quaternion / np.linalg.norm(quaternion, axis=1, keepdims=True)
        if len(quaternion) > 1:
            turns = (quaternion[1:] * quaternion[:-1]).sum(axis=1) < 0.0
            signs = np.where(np.cumsum(turns) % 2 == 1, -1.0, 1.0)
            quaternion[1:] *= signs[:, None]
        translation = np.asarray(translation_m, dtype=np.float64).reshape(-1, 3)[chosen]
        return cls(times[chosen], translation, quaternion)

    @classmethod
    def from_transforms(cls, times_ns: ArrayLike, transforms: NDArray[np.float64]) -> Self:
        """Return a trajectory of (K, 4, 4) rigid transforms."""
        quaternion = [quaternion_from_rotation(transform[:3, :3]) for transform in transforms]
        return cls.make(times_ns, transforms[:, :3, 3], np.array(quaternion).reshape(-1, 4))

    def __len__(self) -> int:
        """Return the number of poses."""
        return len(self.times_ns)

    def covers(self, times_ns: ArrayLike, max_gap_ns: int) -> NDArray[np.bool_]:
        """Return for each time whether it lies at a pose or between two that are close enough."""
        times = np.asarray(times_ns, dtype=np.int64)
        if len(self) == 0:
            return np.zeros(times.shape, dtype=np.bool_)
        after = np.searchsorted(self.times_ns, times, side="left")
        inside = (after < len(self)) & (times >= self.times_ns[0])
        after = np.clip(after, 0, len(self) - 1)
        before = np.clip(after - 1, 0, None)
        is_exact = self.times_ns[after] == times
        is_close = self.times_ns[after] - self.times_ns[before] <= max_gap_ns
        covered: NDArray[np.bool_] = inside & (is_exact | is_close)
        return covered

    def at(self, time_ns: int) -> NDArray[np.float64]:
        """Return the (4, 4) pose at a time; outside the trajectory that of the nearer end.

        Raises:
            ValueError: the trajectory is empty.
        """
        if len(self) == 0:
            raise ValueError("a trajectory without poses")
        after = int(np.clip(np.searchsorted(self.times_ns, time_ns), 1, max(1, len(self) - 1)))
        before = after - 1
        after = min(after, len(self) - 1)
        span_ns = int(self.times_ns[after] - self.times_ns[before])
        share = (int(time_ns) - int(self.times_ns[before])) / span_ns if span_ns else 0.0
        share = min(max(share, 0.0), 1.0)
        numbers = np.empty(12)
        rows = (int(before), int(after))
        _interpolate(self.translation_m, self.quaternion_wxyz, rows, share, numbers)
        return make_transform(numbers[:9].reshape(3, 3), numbers[9:])

    def between(self, start_ns: int, end_ns: int) -> Self:
        """Return the part whose poses are needed for times from `start_ns` to `end_ns`."""
        first = max(int(np.searchsorted(self.times_ns, start_ns, side="right")) - 1, 0)
        last = int(np.searchsorted(self.times_ns, end_ns, side="left")) + 1
        part = slice(first, last)
        return type(self)(self.times_ns[part], self.translation_m[part], self.quaternion_wxyz[part])

    def seen_from(self, target_from_parent: NDArray[np.float64]) -> Self:
        """Return the same way in another fixed frame."""
        turn = quaternion_from_rotation(target_from_parent[:3, :3])
        translation = self.translation_m @ target_from_parent[:3, :3].T + target_from_parent[:3, 3]
        turned = multiply_quaternions(turn[None], self.quaternion_wxyz)
        return type(self)(self.times_ns, translation, turned)

    def sampled(self, times_ns: NDArray[np.int64]) -> Self:
        """Return the poses at (N,) strictly rising times; outside, those of the nearer end.

        Raises:
            ValueError: the trajectory is empty.
        """
        if len(self) == 0:
            raise ValueError("a trajectory without poses")
        after = np.clip(np.searchsorted(self.times_ns, times_ns), 1, max(1, len(self) - 1))
        before, after = after - 1, np.minimum(after, len(self) - 1)
        span_ns = np.maximum(self.times_ns[after] - self.times_ns[before], 1)
        share = np.clip((times_ns - self.times_ns[before]) / span_ns, 0.0, 1.0)[:, None]
        start_m = self.translation_m[before]
        translation_m = start_m + share * (self.translation_m[after] - start_m)
        quaternion = _slerp(self.quaternion_wxyz[before], self.quaternion_wxyz[after], share)
        return type(self)(np.asarray(times_ns, dtype=np.int64), translation_m, quaternion)


def compensate_motion(
    points: NDArray[np.float32],
    times_ns: NDArray[np.int64],
    reference_from_body: Trajectory,
) -> NDArray[np.float32]:
    """Return (N, 4) float32 points in the reference frame, each moved by the pose at its time.

    Args:
        points: (N, 4) float32 x y z intensity in the moving body's frame.
        times_ns: (N,) int64 time of each point; beyond the ends the nearer end's pose is taken.
        reference_from_body: the body's way in the reference frame.

    Raises:
        ValueError: the trajectory is empty.
    """
    if len(reference_from_body) == 0:
        raise ValueError("a trajectory without poses")
    start_ns = reference_from_body.times_ns[0]
    return _compensate(
        np.ascontiguousarray(points, dtype=np.float32),
        np.ascontiguousarray(times_ns - start_ns, dtype=np.int64),
        reference_from_body.times_ns - start_ns,
        reference_from_body.translation_m,
        reference_from_body.quaternion_wxyz,
    )


def _slerp(
    first: NDArray[np.float64], second: NDArray[np.float64], share: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (N, 4) turns between (N, 4) turns on the same half sphere, at (N, 1) shares."""
    cosine = np.clip((first * second).sum(axis=1, keepdims=True), -1.0, 1.0)
    angle = np.arccos(cosine)
    is_small = cosine > _SMALL_ANGLE_COSINE
    sine = np.where(is_small, 1.0, np.sin(angle))
    left = np.where(is_small, 1.0 - share, np.sin((1.0 - share) * angle) / sine)
    right = np.where(is_small, share, np.sin(share * angle) / sine)
    between: NDArray[np.float64] = left * first + right * second
    return between / np.linalg.norm(between, axis=1, keepdims=True)


@njit(cache=True, nogil=True)
def _interpolate(translation, quaternion, rows, share, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Write the pose between two into `out`: 9 numbers of the rotation, 3 of the translation.

    Scalars only: an array made for every point would take ten times as long.
    """
    first, second = quaternion[rows[0]], quaternion[rows[1]]
    cosine = first[0] * second[0] + first[1] * second[1]
    cosine += first[2] * second[2] + first[3] * second[3]
    left, right = 1.0 - share, share
    if cosine < 0.0:
        cosine, right = -cosine, -share
    if cosine < _SMALL_ANGLE_COSINE:
        angle = math.acos(cosine)
        right = math.copysign(math.sin(share * angle), right)
        left = math.sin((1.0 - share) * angle)
    w, x = left * first[0] + right * second[0], left * first[1] + right * second[1]
    y, z = left * first[2] + right * second[2], left * first[3] + right * second[3]
    scale = 1.0 / math.sqrt(w * w + x * x + y * y + z * z)
    w, x, y, z = w * scale, x * scale, y * scale, z * scale
    out[0], out[1], out[2] = 1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)
    out[3], out[4], out[5] = 2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)
    out[6], out[7], out[8] = 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)
    for axis in range(3):
        start = translation[rows[0], axis]
        out[9 + axis] = start + share * (translation[rows[1], axis] - start)


@njit(cache=True, nogil=True)
def _compensate(points, times, knot_times, translation, quaternion):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Move every point by the pose at its time; a pose is found once per distinct time in a row."""
    out = np.empty_like(points)
    pose = np.zeros(12)
    last = len(knot_times) - 1
    knot, known_time = 0, times[0] - 1 if len(times) else 0
    for index in range(len(points)):
        time = times[index]
        if time != known_time:
            known_time = time
            if not knot_times[knot] <= time or (knot < last and time >= knot_times[knot + 1]):
                knot = max(0, min(np.searchsorted(knot_times, time, side="right") - 1, last))
            after = min(knot + 1, last)
            span = knot_times[after] - knot_times[knot]
            share = min(max((time - knot_times[knot]) / span, 0.0), 1.0) if span > 0 else 0.0
            _interpolate(translation, quaternion, (knot, after), share, pose)
        x, y, z = points[index, 0], points[index, 1], points[index, 2]
        for axis in range(3):
            row = 3 * axis
            moved = pose[row] * x + pose[row + 1] * y + pose[row + 2] * z + pose[9 + axis]
            out[index, axis] = moved
        out[index, 3] = points[index, 3]
    return out
