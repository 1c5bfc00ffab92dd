"""Which convention were the boxes written in? Lidar points decide.

Every combination of the known ways to name axes, count yaw, place the box origin and order the
sizes turns the boxes as they are written into boxes of the ego frame. Under the right one nearly
all points that stand out of the ground near a box lie inside it. All combinations keep a box's
volume, so none wins by being larger.
"""

import math
from dataclasses import dataclass, field
from itertools import product
from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from admlops.geometry.pose import make_transform, wrap_angle
from admlops.structures.boxes import Boxes
from admlops.structures.frame import Frame

Axes = Literal["ego", "y_right", "xy_swapped", "x_right_y_forward", "lidar", "camera"]
Yaw = Literal["ego", "clockwise", "quarter_turn", "clockwise_quarter_turn"]
Origin = Literal["centre", "bottom"]
Sizes = Literal["lwh", "wlh", "hwl"]

AXES: dict[Axes, str] = {
    "ego": "",
    "y_right": "y points right instead of left: negate y",
    "xy_swapped": "x and y are swapped: swap them",
    "x_right_y_forward": "x points right and y forward: take (y, -x)",
    "lidar": "boxes are in the lidar frame: apply ego_from_sensor of the lidar",
    "camera": "boxes are in the camera frame (x right, y down): apply its ego_from_sensor",
}
YAWS: dict[Yaw, str] = {
    "ego": "",
    "clockwise": "yaw has the wrong sign: negate it",
    "quarter_turn": "yaw is a quarter turn off: add 90 degrees",
    "clockwise_quarter_turn": "yaw is KITTI's rotation_y: take -(yaw + 90 degrees)",
}
ORIGINS: dict[Origin, str] = {
    "centre": "",
    "bottom": "z is the bottom centre instead of the geometric centre: add half the height",
}
SIZES: dict[Sizes, str] = {
    "lwh": "",
    "wlh": "length and width are swapped: read width, length, height",
    "hwl": "sizes are in KITTI's order: read height, width, length",
}
_ORDER: dict[Sizes, tuple[int, int, int]] = {"lwh": (0, 1, 2), "wlh": (1, 0, 2), "hwl": (2, 1, 0)}
_KITTI_CAMERA = make_transform([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], [0, 0, 1.65])

INFORMATIVE_GAIN = 0.1
MIN_INFORMATIVE_BOXES = 5
MIN_SHARE_IN_FAVOUR = 0.75
ELONGATED_RATIO = 1.3


@dataclass(frozen=True, slots=True)
class Convention:
    """One way to write a box; the default is the one of this project."""

    axes: Axes = "ego"
    yaw: Yaw = "ego"
    origin: Origin = "centre"
    sizes: Sizes = "lwh"

    @property
    def num_changes(self) -> int:
        """How many parts differ from the project's convention."""
        return len(self._changes())

    def __str__(self) -> str:
        """Return what is different and how to convert it, in words."""
        return "; ".join(self._changes()) or "as written"

    def _changes(self) -> list[str]:
        words = [AXES[self.axes], YAWS[self.yaw], ORIGINS[self.origin], SIZES[self.sizes]]
        return [word for word in words if word]

    def mend(self, boxes: Boxes, frame: Frame) -> Boxes:
        """Return boxes that were written in this convention in the project's."""
        size_m = boxes.size_m[:, _ORDER[self.sizes]]
        center_m = _mend_axes(self.axes, boxes.center_m, frame)
        if self.origin == "bottom":
            center_m[:, 2] += size_m[:, 2] / 2
        return boxes.replace(
            center_m=center_m, size_m=size_m, yaw_rad=_mend_yaw(self.yaw, boxes.yaw_rad)
        )


EVERY_CONVENTION: tuple[Convention, ...] = tuple(
    Convention(*parts) for parts in product(AXES, YAWS, ORIGINS, SIZES)
)


def _mend_axes(axes: Axes, center_m: NDArray[np.float64], frame: Frame) -> NDArray[np.float64]:
    x, y, z = center_m.T
    if axes == "y_right":
        return np.column_stack([x, -y, z])
    if axes == "xy_swapped":
        return np.column_stack([y, x, z])
    if axes == "x_right_y_forward":
        return np.column_stack([y, -x, z])
    sensor = frame.camera if axes == "camera" else frame.lidar if axes == "lidar" else None
    if axes == "camera" and sensor is None:
        transform = _KITTI_CAMERA
    else:
        transform = np.eye(4) if sensor is None else sensor.sensor.ego_from_sensor
    return center_m @ transform[:3, :3].T + transform[:3, 3]


def _mend_yaw(yaw: Yaw, yaw_rad: NDArray[np.float64]) -> NDArray[np.float64]:
    if yaw == "ego":
        return yaw_rad.copy()
    if yaw == "clockwise":
        return wrap_angle(-yaw_rad)
    if yaw == "quarter_turn":
        return wrap_angle(yaw_rad + np.pi / 2)
    return wrap_angle(-(yaw_rad + np.pi / 2))


@dataclass(slots=True)
class ConventionEvidence:
    """How well each convention fits, box by box, over the frames seen so far.

    Attributes:
        fits: one (N, C) array per frame: for each box and convention the share of the points
            standing out of the ground near the box that lie inside it.
        sizes_m: one (N, 3) array per frame, sizes as written.
    """

    fits: list[NDArray[np.float64]] = field(default_factory=list)
    sizes_m: list[NDArray[np.float64]] = field(default_factory=list)

    def add(self, boxes: Boxes, points: NDArray[np.floating], frame: Frame) -> None:
        """Measure the boxes of one frame against its (P, >= 3) points in the ego frame."""
        if len(boxes) == 0 or len(points) == 0:
            return
        xyz = np.ascontiguousarray(points[:, :3], dtype=np.float32)
        columns = []
        for axes in AXES:
            variants = [c for c in EVERY_CONVENTION if c.axes == axes]
            rows = np.stack([c.mend(boxes, frame).as_7() for c in variants])
            columns.append(_fit(xyz, rows))
        self.fits.append(np.concatenate(columns, axis=1))
        self.sizes_m.append(boxes.size_m)

    @property
    def num_boxes(self) -> int:
        """Return how many boxes were measured."""
        return sum(len(part) for part in self.fits)

    def mean_fits(self) -> dict[Convention, float]:
        """Return each convention's mean fit over boxes that have points under any convention."""
        fits = self._fits()
        means = fits.mean(axis=0) if len(fits) else np.zeros(len(EVERY_CONVENTION))
        return dict(zip(EVERY_CONVENTION, means.tolist(), strict=True))

    def verdict(self) -> Convention:
        """Return the simplest convention that no other beats box by box.

        A convention beats another if it fits clearly better for at least three quarters of the
        boxes on which the two differ, and if there are five such boxes.
        """
        fits = self._fits()
        allowed = self._allowed_sizes()
        candidates = [
            (convention, column)
            for column, convention in enumerate(EVERY_CONVENTION)
            if convention.sizes in allowed
        ]
        total = fits.sum(axis=0)
        candidates.sort(key=lambda item: (item[0].num_changes, -total[item[1]]))
        best, best_column = candidates[0]
        for convention, column in candidates[1:]:
            if _beats(fits[:, column], fits[:, best_column]):
                best, best_column = convention, column
        return best

    def _fits(self) -> NDArray[np.float64]:
        if not self.fits:
            return np.empty((0, len(EVERY_CONVENTION)))
        fits = np.concatenate(self.fits)
        return fits[fits.max(axis=1) > 0.0]

    def _allowed_sizes(self) -> list[Sizes]:
        """Tell swapped sizes from a quarter turn: what is not square is longer than wide."""
        if not self.sizes_m:
            return ["lwh"]
        written = np.concatenate(self.sizes_m)
        allowed: list[Sizes] = []
        for sizes, order in _ORDER.items():
            length, width = written[:, order[0]], written[:, order[1]]
            ratio = length / np.maximum(width, 1e-6)
            elongated = (ratio > ELONGATED_RATIO) | (ratio < 1 / ELONGATED_RATIO)
            if not elongated.any():
                if sizes != "wlh":
                    allowed.append(sizes)
            elif (ratio[elongated] > 1).mean() >= 0.5:
                allowed.append(sizes)
        return allowed or ["lwh"]


def _beats(challenger: NDArray[np.float64], holder: NDArray[np.float64]) -> bool:
    gain = challenger - holder
    informative = np.abs(gain) > INFORMATIVE_GAIN
    if informative.sum() < MIN_INFORMATIVE_BOXES:
        return False
    return bool((gain[informative] > 0).mean() >= MIN_SHARE_IN_FAVOUR)


MARGIN_M = 0.25
GROUND_DISC_M = 3.0
GROUND_CLEARANCE_M = 0.2
MIN_POINTS_NEAR = 5


@njit(cache=True)
def local_ground_m(
    points: NDArray[np.float32], center_x_m: float, center_y_m: float, radius_m: float
) -> float:
    """Return the height of the ground in a disc: the 5th percentile of z; NaN with few points."""
    heights = np.empty(len(points))
    count = 0
    for index in range(len(points)):
        dx, dy = points[index, 0] - center_x_m, points[index, 1] - center_y_m
        if dx * dx + dy * dy <= radius_m * radius_m:
            heights[count] = points[index, 2]
            count += 1
    if count < 2 * MIN_POINTS_NEAR:
        return np.nan
    return np.sort(heights[:count])[count // 20]


@njit(cache=True)
def _fit(points: NDArray[np.float32], variants: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (N, V) shares of the points near each of N boxes that each of V variants holds.

    Args:
        points: (P, 3) in the ego frame.
        variants: (V, N, 7) boxes; the variants of one box differ in height, sizes and yaw only.
    """
    num_variants, num_boxes = variants.shape[0], variants.shape[1]
    result = np.zeros((num_boxes, num_variants))
    near = np.empty((len(points), 3))
    for box in range(num_boxes):
        first = variants[0, box]
        ordered = np.sort(first[3:6])
        reach = math.hypot(ordered[1], ordered[2]) / 2 + MARGIN_M
        ground = local_ground_m(points, first[0], first[1], reach + GROUND_DISC_M)
        if math.isnan(ground):
            ground = 0.0
        low, high = ground + GROUND_CLEARANCE_M, ground + ordered[2] + 2 * MARGIN_M
        count = 0
        for index in range(len(points)):
            dx, dy = points[index, 0] - first[0], points[index, 1] - first[1]
            if dx * dx + dy * dy <= reach * reach and low <= points[index, 2] <= high:
                near[count, 0], near[count, 1], near[count, 2] = dx, dy, points[index, 2]
                count += 1
        if count < MIN_POINTS_NEAR:
            continue
        for variant in range(num_variants):
            result[box, variant] = _count_inside(near[:count], variants[variant, box]) / count
    return result


@njit(cache=True)
def _count_inside(offsets: NDArray[np.float64], box: NDArray[np.float64]) -> int:
    cosine, sine = math.cos(box[6]), math.sin(box[6])
    half_l, half_w, half_h = box[3] / 2 + 0.05, box[4] / 2 + 0.05, box[5] / 2 + 0.05
    count = 0
    for index in range(len(offsets)):
        dx, dy, z = offsets[index]
        along, across = dx * cosine + dy * sine, dy * cosine - dx * sine
        if abs(along) <= half_l and abs(across) <= half_w and abs(z - box[2]) <= half_h:
            count += 1
    return count
