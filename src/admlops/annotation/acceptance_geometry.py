"""Single boxes against each other, the ground and the points: ANNO024 to ANNO029."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from admlops.annotation.acceptance_config import GeometryLimits
from admlops.annotation.acceptance_defects import Defect, box_defect
from admlops.annotation.definition import DatasetDefinition
from admlops.annotation.definition_check import BoxRules
from admlops.geometry.boxes import iou_3d, iou_bev, points_in_boxes
from admlops.structures.boxes import Boxes

GROUND_CELL_M = 4.0
_MIN_CELL_POINTS = 4
_MIN_CELLS = 8
_PLANE_ROUNDS = 6
_PLANE_TOLERANCE_M = 0.4
_LOW_SHARE = 0.05
_SHIFT_STEP_M = 0.25
_RIM_M = 0.25
_ABOVE_GROUND_M = 0.2
_TIGHT_SHARE = 0.08
"""Points right outside a box, per point inside, with which it cuts through nothing."""


@dataclass(frozen=True, slots=True)
class GeometryRules:
    """What single boxes are held against."""

    definition: DatasetDefinition
    limits: GeometryLimits

    def find_defects(self, boxes: Boxes, points: NDArray[np.float32]) -> list[Defect]:
        """Return the defects of the boxes of one frame, the definition's rules included.

        Args:
            boxes: with categories of the definition, and numbers of points.
            points: (P, >= 3) in the ego frame.
        """
        rows_7 = boxes.as_7()
        usable = np.asarray(np.isfinite(rows_7).all(axis=1) & (boxes.size_m > 0).all(axis=1))
        defects = [
            box_defect("ANNO029", boxes, index, f"the box is {_text(rows_7[index])}")
            for index in np.flatnonzero(~usable).tolist()
        ]
        rules = BoxRules(self.definition)
        defects += [
            box_defect(item.rule_id, boxes, item.index, item.what)
            for item in rules.find_defects(boxes)
            if usable[item.index] or item.rule_id == "ANNO001"
        ]
        rows = np.flatnonzero(usable)
        defects += self._overlaps(boxes, rows)
        defects += self._swapped(boxes, rows)
        defects += self._off_ground(boxes, rows, points)
        defects += self._shifted(boxes, rows, points)
        return defects

    def _overlaps(self, boxes: Boxes, rows: NDArray[np.int64]) -> Iterator[Defect]:
        rows_7 = boxes.as_7()[rows]
        on_ground = np.triu(iou_bev(rows_7, rows_7), k=1)
        in_space = np.triu(iou_3d(rows_7, rows_7), k=1)
        is_double = (on_ground >= self.limits.duplicate_iou) & (in_space > 0)
        for first, second in np.argwhere(is_double).tolist():
            yield self._pair(
                "ANNO024", boxes, (rows[first], rows[second]), on_ground[first, second]
            )
        is_inside = (in_space >= self.limits.overlap_iou) & ~is_double
        for first, second in np.argwhere(is_inside).tolist():
            yield self._pair("ANNO025", boxes, (rows[first], rows[second]), in_space[first, second])

    def _pair(self, rule_id: str, boxes: Boxes, pair: tuple[int, int], overlap: float) -> Defect:
        first, second = int(pair[0]), int(pair[1])
        names = f"{boxes.category[second]} and box {first} ({boxes.category[first]})"
        return box_defect(rule_id, boxes, second, f"{names} overlap with IoU {overlap:.2f}")

    def _swapped(self, boxes: Boxes, rows: NDArray[np.int64]) -> Iterator[Defect]:
        spans = {
            item.name: np.array(item.size.spans_m[:2])
            for item in self.definition.categories
            if item.size is not None
        }
        for index in rows.tolist():
            span = spans.get(str(boxes.category[index]))
            if span is None:
                continue
            size_m = boxes.size_m[index, :2]
            fits = bool(((size_m >= span[:, 0]) & (size_m <= span[:, 1])).all())
            exchanged = size_m[::-1]
            if not fits and ((exchanged >= span[:, 0]) & (exchanged <= span[:, 1])).all():
                what = f"length {size_m[0]:.2f} m and width {size_m[1]:.2f} m fit a "
                what += f"{boxes.category[index]} when exchanged"
                yield box_defect("ANNO026", boxes, index, what)

    def _off_ground(
        self, boxes: Boxes, rows: NDArray[np.int64], points: NDArray[np.float32]
    ) -> Iterator[Defect]:
        bottom = boxes.center_m[rows, 2] - boxes.size_m[rows, 2] / 2
        height = bottom - ground_under(boxes.center_m[rows, :2], points)
        for place in np.flatnonzero(np.abs(height) > self.limits.ground_tolerance_m).tolist():
            side = "above" if height[place] > 0 else "under"
            what = f"the lower face lies {abs(height[place]):.2f} m {side} the ground"
            yield box_defect("ANNO028", boxes, int(rows[place]), what)

    def _shifted(
        self, boxes: Boxes, rows: NDArray[np.int64], points: NDArray[np.float32]
    ) -> Iterator[Defect]:
        rows_7 = boxes.as_7()
        owner = points_in_boxes(points, rows_7[rows])
        definition = self.definition
        names = {name: definition.min_points_of(name) for name in definition.category_names}
        for place, index in enumerate(rows.tolist()):
            least = names.get(str(boxes.category[index]), 0)
            if least and not self._holds_something(rows_7[index], points):
                yield box_defect("ANNO027", boxes, index, "the box holds no point of an object")
                continue
            others = np.delete(owner, place, axis=0).any(axis=0)
            found = self._better_place(rows_7[index], points[~others, :3])
            if found is not None:
                along, across, own, best = found
                what = f"{own} points; moved by {along:+.2f} m along and {across:+.2f} m across "
                what += f"its heading it holds {best}"
                yield box_defect("ANNO027", boxes, index, what)

    def _holds_something(self, row_7: NDArray[np.float64], points: NDArray[np.float32]) -> bool:
        """Return whether a point above the ground lies in a box, or right outside."""
        local = np.abs(self._local_points(row_7, points))
        return bool((local <= row_7[3:5] / 2 + _RIM_M).all(axis=1).any())

    def _better_place(
        self, row_7: NDArray[np.float64], points: NDArray[np.float32]
    ) -> tuple[float, float, int, int] | None:
        """Return the offsets to a place where the box holds a whole object, and both counts."""
        local = self._local_points(row_7, points)
        if len(local) < self.limits.min_fit_points:
            return None
        reach = self.limits.shift_reach_m
        steps = np.arange(-reach, reach + 1e-9, _SHIFT_STEP_M)
        grid = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
        offsets = grid[np.hypot(grid[:, 0], grid[:, 1]) <= reach + 1e-9]
        half = row_7[3:5] / 2 + _SHIFT_STEP_M / 2
        inside = _count_near(local, offsets, half)
        around = _count_near(local, offsets, half + _RIM_M) - inside
        own = int((np.abs(local) <= row_7[3:5] / 2 + _RIM_M).all(axis=1).sum())
        is_whole = around <= self.limits.max_rim_share * inside
        here = len(offsets) // 2
        is_tight = around[here] <= _TIGHT_SHARE * inside[here]
        if is_tight and inside[here] >= self.limits.min_fit_points:
            return None  # it holds an object of its own, whatever stands beside it
        best = int(np.argmax(np.where(is_whole, inside, -1)))
        count = int(inside[best])
        is_better = is_whole[best] and count >= self.limits.min_fit_points
        if not is_better or count < self.limits.shift_gain * own:
            return None
        same = is_whole & (inside == count)
        along, across = offsets[same].mean(axis=0)
        return float(along), float(across), own, count

    def _local_points(
        self, row_7: NDArray[np.float64], points: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """Return (P, 2) points near the box, in its axes, of its height and above the ground."""
        reach = self.limits.shift_reach_m + float(np.hypot(*row_7[3:5])) / 2 + _RIM_M
        delta = points[:, :2].astype(np.float64) - row_7[:2]
        bottom, top = row_7[2] - row_7[5] / 2, row_7[2] + row_7[5] / 2
        is_near = (np.abs(delta) <= reach).all(axis=1)
        is_near &= (points[:, 2] > bottom + _ABOVE_GROUND_M) & (points[:, 2] < top + _RIM_M)
        cosine, sine = np.cos(row_7[6]), np.sin(row_7[6])
        near = delta[is_near]
        turned: NDArray[np.float64] = near @ np.array([[cosine, -sine], [sine, cosine]])
        return turned


def ground_under(
    places_m: NDArray[np.float64], points: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return (N,) heights of the ground under (N, 2) places.

    The ground is the middle one of the low points of the nine cells around a place; where these lie
    far from a plane through the low points of the whole frame, they are of obstacles, and the plane
    is the ground. Without points the ego frame's origin is.
    """
    cells, low = _low_points(points)
    if len(cells) < _MIN_CELLS:
        return np.zeros(len(places_m))
    plane = _fit_plane(cells, low)
    heights = dict(zip(map(tuple, cells.tolist()), low.tolist(), strict=True))
    ground = _height_of(plane, places_m / GROUND_CELL_M - 0.5)
    for index, (x, y) in enumerate(np.floor(places_m / GROUND_CELL_M).astype(np.int64).tolist()):
        around = [(x + dx, y + dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
        near = [heights[cell] for cell in around if cell in heights]
        if near and abs(float(np.median(near)) - ground[index]) < _PLANE_TOLERANCE_M:
            ground[index] = float(np.median(near))
    return ground


def _low_points(points: NDArray[np.floating]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return (C, 2) cells with enough points and (C,) the height of a low point of each."""
    cells = np.floor(points[:, :2] / GROUND_CELL_M).astype(np.int64)
    order = np.lexsort((points[:, 2], cells[:, 1], cells[:, 0]))
    cells = cells[order]
    is_first = np.ones(len(cells), dtype=np.bool_)
    is_first[1:] = (cells[1:] != cells[:-1]).any(axis=1)
    starts = np.flatnonzero(is_first)
    counts = np.diff(np.append(starts, len(cells)))
    enough = counts >= _MIN_CELL_POINTS
    place = (starts + _LOW_SHARE * counts).astype(np.int64)[enough]
    return cells[starts[enough]], points[order[place], 2].astype(np.float64)


def _fit_plane(cells: NDArray[np.int64], low: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (3,) a plane by least squares; cells well above it are left out, again and again."""
    design = np.column_stack([cells, np.ones(len(cells))])
    kept = low <= np.median(low)
    plane: NDArray[np.float64] = np.zeros(3)
    for _ in range(_PLANE_ROUNDS):
        plane = np.asarray(np.linalg.lstsq(design[kept], low[kept])[0], dtype=np.float64)
        above = low - design @ plane
        kept = np.abs(above) < _PLANE_TOLERANCE_M
        if kept.sum() < _MIN_CELLS:
            break
    return plane


def _height_of(plane: NDArray[np.float64], cells: NDArray[np.float64]) -> NDArray[np.float64]:
    height: NDArray[np.float64] = np.column_stack([cells, np.ones(len(cells))]) @ plane
    return height


@njit(cache=True)
def _count_near(
    points: NDArray[np.float64], places: NDArray[np.float64], half: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return (K,) how many (P, 2) points lie in a rectangle at each of (K, 2) places."""
    counts = np.zeros(len(places), dtype=np.int64)
    for place in range(len(places)):
        x, y = places[place]
        for row in range(len(points)):
            inside = abs(points[row, 0] - x) <= half[0] and abs(points[row, 1] - y) <= half[1]
            counts[place] += inside
    return counts


def _text(values: NDArray[np.float64]) -> str:
    return " ".join(f"{value:.2f}" for value in values)
