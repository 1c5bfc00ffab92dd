"""Rules on labels that need no sensor data: BOX001 to BOX010, LABEL001, LABEL002 and LABEL004."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from admlops.checks.findings import FindingLog
from admlops.checks.units import UNITS_PER_METRE, name_size_unit
from admlops.geometry.boxes import iou_bev
from admlops.structures.boxes import Boxes
from admlops.structures.frame import Frame

DUPLICATE_IOU = 0.85
DUPLICATE_REACH_M = 0.5
ODD_SIZE_RATIO = 3.0
MIN_BOXES_FOR_MEDIAN = 10
MAX_EMPTY_SHARE = 0.5
DEGREES_SHARE = 0.3
AXIS_NAMES = ("length", "width", "height")
_RESERVOIR = 20_000
_NUM_EXTREMES = 5


@dataclass(slots=True)
class CategorySizes:
    """A bounded record of one category's sizes.

    Attributes:
        kept_m: the first sizes, at most 20,000 (one row each).
        extremes: per axis and side a heap of the five most extreme sizes and where they are.
    """

    kept_m: list[tuple[float, float, float]] = field(default_factory=list)
    extremes: dict[tuple[int, int], list[tuple[float, tuple[str, int]]]] = field(
        default_factory=dict
    )

    def add(self, size_m: Sequence[float], where: tuple[str, int]) -> None:
        """Record one length, width and height; `where` is a frame and the number of the box."""
        if len(self.kept_m) < _RESERVOIR:
            self.kept_m.append((size_m[0], size_m[1], size_m[2]))
        for axis, value in enumerate(size_m):
            for side in (-1, 1):
                heap = self.extremes.setdefault((axis, side), [])
                if len(heap) < _NUM_EXTREMES:
                    heapq.heappush(heap, (side * value, where))
                elif side * value > heap[0][0]:
                    heapq.heapreplace(heap, (side * value, where))

    def median_m(self) -> NDArray[np.float64]:
        """Return the (3,) median length, width and height."""
        return np.median(np.asarray(self.kept_m), axis=0)


@dataclass(slots=True)
class LabelCheck:
    """Checks the labels of every frame, one after the other, in bounded memory."""

    log: FindingLog
    num_frames: int = 0
    num_labelled: int = 0
    num_empty: int = 0
    num_without_points: int = 0
    num_bad_yaw: int = 0
    largest_yaw: tuple[float, str] = (0.0, "")
    counts: Counter[str] = field(default_factory=Counter)
    sizes: dict[str, CategorySizes] = field(default_factory=lambda: defaultdict(CategorySizes))

    def look(self, frame: Frame) -> None:
        """Check the labels of one frame."""
        self.num_frames += 1
        boxes = frame.boxes
        if boxes is None:
            return
        self.num_labelled += 1
        self.num_empty += len(boxes) == 0
        if len(boxes) == 0:
            return
        where = str(frame.key)
        self.counts.update(boxes.category.tolist())
        self.num_without_points += int((boxes.num_points == 0).sum())
        usable = self._look_at_values(boxes, where)
        self._look_at_image_boxes(boxes, where)
        self._look_for_duplicates(boxes, usable, where)
        sizes, names = boxes.size_m.tolist(), boxes.category.tolist()
        for index in np.flatnonzero(usable).tolist():
            self.sizes[names[index]].add(sizes[index], (where, index))

    @property
    def num_boxes(self) -> int:
        """Return how many boxes were seen."""
        return sum(self.counts.values())

    def finish(self) -> None:
        """Add what only all labels together tell."""
        if self.num_boxes == 0:
            what = f"{self.num_labelled} labelled of {self.num_frames} frames, and no box in them"
            self.log.add("LABEL001", "dataset", what)
            return
        if self.num_empty > MAX_EMPTY_SHARE * self.num_labelled:
            what = f"{self.num_empty} of {self.num_labelled} labelled frames hold no box"
            self.log.add("LABEL002", "dataset", what)
        if self.num_without_points:
            share = self.num_without_points / self.num_boxes
            what = (
                f"{self.num_without_points} of {self.num_boxes} boxes ({share:.1%}) hold no point"
            )
            self.log.add("BOX010", "dataset", what, self.num_without_points)
        self._finish_yaw()
        self._finish_spelling()
        self._finish_unit()
        self._finish_odd_sizes()

    def _look_at_values(self, boxes: Boxes, where: str) -> NDArray[np.bool_]:
        rows = boxes.as_7()
        finite = np.asarray(np.isfinite(rows).all(axis=1))
        positive = np.asarray((boxes.size_m > 0.0).all(axis=1))
        usable = finite & positive
        for index in np.flatnonzero(~finite):
            self.log.add("BOX001", f"{where} box {index}", f"the box is {_row(rows[index])}")
        for index in np.flatnonzero(finite & ~positive):
            what = f"length, width, height are {_row(boxes.size_m[index])} m"
            self.log.add("BOX002", f"{where} box {index} ({boxes.category[index]})", what)
        outside = finite & ((boxes.yaw_rad < -np.pi - 1e-6) | (boxes.yaw_rad > np.pi + 1e-6))
        if outside.any():
            self.num_bad_yaw += int(outside.sum())
            worst = int(np.argmax(np.where(outside, np.abs(boxes.yaw_rad), -1.0)))
            if abs(boxes.yaw_rad[worst]) > self.largest_yaw[0]:
                self.largest_yaw = (abs(float(boxes.yaw_rad[worst])), f"{where} box {worst}")
        return usable

    def _look_at_image_boxes(self, boxes: Boxes, where: str) -> None:
        extent = boxes.box2d_px[:, 2:] - boxes.box2d_px[:, :2]
        empty = (extent <= 0.0).any(axis=1)
        for index in np.flatnonzero(empty):
            what = f"left, top, right, bottom are {_row(boxes.box2d_px[index])} px"
            self.log.add("BOX009", f"{where} box {index} ({boxes.category[index]})", what)

    def _look_for_duplicates(self, boxes: Boxes, usable: NDArray[np.bool_], where: str) -> None:
        rows = np.flatnonzero(usable)
        if len(rows) < 2:
            return
        apart = np.abs(boxes.center_m[rows, None, :2] - boxes.center_m[None, rows, :2]).max(axis=2)
        near = np.triu(apart < DUPLICATE_REACH_M, k=1)
        for first, second in rows[np.argwhere(near)].tolist():
            both = boxes.select([first, second]).as_7()
            overlap = float(iou_bev(both[:1], both[1:])[0, 0])
            if overlap > DUPLICATE_IOU:
                names = f"{boxes.category[first]} and {boxes.category[second]}"
                what = f"boxes {first} and {second} ({names}) overlap with IoU {overlap:.2f}"
                self.log.add("BOX006", where, what)

    def _finish_yaw(self) -> None:
        if self.num_bad_yaw == 0:
            return
        largest, where = self.largest_yaw
        share = f"{self.num_bad_yaw} of {self.num_boxes}"
        what = f"{share} yaws leave [-pi, pi), the largest is {largest:.2f}"
        if largest > 2.0 * np.pi and self.num_bad_yaw > DEGREES_SHARE * self.num_boxes:
            what += "; yaw is in degrees instead of radians"
        self.log.add("BOX003", where, what, self.num_bad_yaw)

    def _finish_spelling(self) -> None:
        spellings: dict[str, list[str]] = defaultdict(list)
        for name in self.counts:
            spellings[fold_name(name)].append(name)
        for names in spellings.values():
            if len(names) > 1:
                found = ", ".join(f"{name!r} ({self.counts[name]} boxes)" for name in sorted(names))
                self.log.add("LABEL004", "category", f"one category is spelled {found}")

    def _finish_unit(self) -> None:
        rows = [(name, size) for name, kept in self.sizes.items() for size in kept.kept_m]
        if not rows:
            return
        names = np.array([fold_name(name) for name, _ in rows], dtype=object)
        size = np.array([size for _, size in rows])
        unit = name_size_unit(names, size) or "metres"
        if unit != "metres":
            middle = _row(np.median(size, axis=0))
            factor = 1.0 / UNITS_PER_METRE[unit]
            what = f"the median box is {middle}: boxes are in {unit}, times {factor:.4g} is metres"
            self.log.add("BOX005", "size_m and center_m", what, self.num_boxes)

    def _finish_odd_sizes(self) -> None:
        for name, sizes in self.sizes.items():
            if len(sizes.kept_m) < MIN_BOXES_FOR_MEDIAN:
                continue
            median_m = sizes.median_m()
            for (axis, side), heap in sorted(sizes.extremes.items()):
                for signed, (frame, index) in sorted(heap, reverse=True):
                    ratio = (side * signed / median_m[axis]) ** side
                    if ratio > ODD_SIZE_RATIO:
                        word = "more" if side > 0 else "less"
                        what = (
                            f"{AXIS_NAMES[axis]} is {side * signed:.2f}, {ratio:.1f} times {word} "
                            f"than the median of {name} ({median_m[axis]:.2f})"
                        )
                        self.log.add("BOX008", f"{frame} box {index} ({name})", what)


def is_in_degrees(yaw_rad: NDArray[np.float64]) -> bool:
    """Return whether so many yaws leave a full turn that they can only be degrees."""
    if len(yaw_rad) == 0 or not np.abs(yaw_rad).max() > 2.0 * np.pi:
        return False
    return bool((np.abs(yaw_rad) > np.pi + 1e-6).mean() > DEGREES_SHARE)


def fold_name(name: str) -> str:
    """Return a category name without case, spaces, dashes and dots."""
    return name.strip().lower().replace(" ", "_").replace("-", "_").replace(".", "_")


def _row(values: NDArray[np.float64]) -> str:
    return " ".join(f"{value:.2f}" for value in values)
