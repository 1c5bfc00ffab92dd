"""Rules on labels against a detector's settings: MODEL001 to MODEL010."""

import difflib
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from admlops.checks.encoding import survives_coding
from admlops.checks.findings import FindingLog
from admlops.checks.labels import fold_name
from admlops.detection.config import PillarDetectorConfig, PointPillarsConfig
from admlops.detection.voxelization import Voxelizer
from admlops.geometry.boxes import count_points_in_boxes
from admlops.structures.boxes import Boxes

MOST_OUTSIDE_SHARE = 0.5
SOME_OUTSIDE_SHARE = 0.1
MIN_ANCHOR_SHARE = 0.5
MAX_ANCHOR_LIFT_M = 0.5
MIN_MEDIAN_POINTS = 5
MIN_RECALL = 0.9
MIN_POINT_SHARE = 0.05
_KEPT = 20_000
SYNONYMS: tuple[frozenset[str], ...] = (
    frozenset({"car", "vehicle", "sedan", "auto", "regular_vehicle", "vehicle_car"}),
    frozenset({"pedestrian", "person", "human", "walker", "adult"}),
    frozenset({"cyclist", "bicyclist", "bicycle", "bike", "rider"}),
    frozenset({"truck", "lorry", "box_truck"}),
    frozenset({"motorcycle", "motorbike", "motorcyclist"}),
)
AXES = ("x", "y", "z")


@dataclass(slots=True)
class CategoryFacts:
    """What is kept of one category: at most 20,000 rows of size and height, and counts."""

    rows: list[NDArray[np.float64]] = field(default_factory=list)
    num_boxes: int = 0
    outside: Counter[str] = field(default_factory=Counter)
    num_outside: int = 0
    points_in_range: list[int] = field(default_factory=list)

    def table(self) -> NDArray[np.float64]:
        """Return (N, 4) length, width, height, centre z."""
        return np.concatenate(self.rows)[:_KEPT] if self.rows else np.empty((0, 4))


@dataclass(slots=True)
class DetectorCheck:
    """Holds labels and clouds against one detector's settings."""

    config: PillarDetectorConfig
    log: FindingLog
    facts: dict[str, CategoryFacts] = field(default_factory=lambda: defaultdict(CategoryFacts))
    num_coded: Counter[str] = field(default_factory=Counter)
    num_lost: Counter[str] = field(default_factory=Counter)
    shares_inside: list[float] = field(default_factory=list)
    num_pillars: list[int] = field(default_factory=list)

    def look_at_labels(self, boxes: Boxes) -> None:
        """Record the labels of some frames; sizes are positive, values finite."""
        low, high = self.config.range_low_m, self.config.range_high_m
        outside = (boxes.center_m < low) | (boxes.center_m >= high)
        for name in set(boxes.category.tolist()):
            mine = boxes.category == name
            facts = self.facts[name]
            facts.num_boxes += int(mine.sum())
            facts.num_outside += int(outside[mine].any(axis=1).sum())
            for axis, word in enumerate(AXES):
                facts.outside[word] += int(outside[mine, axis].sum())
            inside = mine & ~outside.any(axis=1)
            if facts.num_boxes <= _KEPT:
                facts.rows.append(np.column_stack([boxes.size_m, boxes.center_m[:, 2]])[inside])

    def look_at_cloud(self, boxes: Boxes, points: NDArray[np.float32]) -> None:
        """Record one frame's labels against its (P, 4) points in the ego frame."""
        inside = self._inside(points)
        if len(points):
            self.shares_inside.append(float(inside.mean()))
            self.num_pillars.append(self._count_pillars(points[inside]))
        kept = boxes.select(np.isin(boxes.category.astype(str), self.config.categories))
        kept = kept.select(self._inside(kept.center_m))
        counts = count_points_in_boxes(points[inside], kept.as_7())
        for name, count in zip(kept.category, counts.tolist(), strict=True):
            self.facts[name].points_in_range.append(count)
        survived = survives_coding(kept, self.config)
        if survived is not None:
            self.num_coded.update(kept.category.tolist())
            self.num_lost.update(kept.category[~survived].tolist())

    def finish(self) -> None:
        """Add the findings."""
        self._match_names()
        for name in self.config.categories:
            if name in self.facts:
                self._check_range(name, self.facts[name])
                self._check_points(name, self.facts[name])
        self._check_anchors()
        self._check_coding()
        self._check_clouds()

    def _inside(self, xyz: NDArray[np.floating]) -> NDArray[np.bool_]:
        low, high = self.config.range_low_m, self.config.range_high_m
        return np.asarray(((xyz[:, :3] >= low) & (xyz[:, :3] < high)).all(axis=1))

    def _count_pillars(self, points: NDArray[np.float32]) -> int:
        rows, columns = self.config.grid_shape
        everything = self.config.replace(max_pillars=rows * columns)
        return len(Voxelizer(everything)(points)) if len(points) else 0

    def _match_names(self) -> None:
        labelled = {name: facts.num_boxes for name, facts in self.facts.items()}
        missing = [name for name in self.config.categories if name not in labelled]
        unused = [name for name in labelled if name not in self.config.categories]
        for name in missing:
            near = suggest_name(name, unused)
            what = f"the model predicts {name!r}, no label is called so"
            if near:
                what += f"; did you mean {near!r} ({labelled[near]} boxes)?"
            elif labelled:
                what += f"; labels are called {', '.join(sorted(labelled))}"
            self.log.add("MODEL001", "detector.categories", what)
        suggested = {suggest_name(name, unused) for name in missing}
        for name in sorted(set(unused) - suggested):
            what = f"{labelled[name]} labels are named {name!r}, which the model does not predict"
            self.log.add("MODEL002", "detector.categories", what)

    def _check_range(self, name: str, facts: CategoryFacts) -> None:
        share = facts.num_outside / max(facts.num_boxes, 1)
        if share <= SOME_OUTSIDE_SHARE:
            return
        low, high = self.config.range_low_m, self.config.range_high_m
        parts = [
            f"{axis} outside [{low[i]:g}, {high[i]:g}] m: {facts.outside[axis]}"
            for i, axis in enumerate(AXES)
            if facts.outside[axis]
        ]
        counts = f"{facts.num_outside} of {facts.num_boxes} boxes ({share:.0%})"
        what = f"{counts} of {name} lie outside ({'; '.join(parts)})"
        rule = "MODEL003" if share > MOST_OUTSIDE_SHARE else "MODEL010"
        self.log.add(rule, "detector.point_cloud_range_m", what, facts.num_outside)

    def _check_points(self, name: str, facts: CategoryFacts) -> None:
        if not facts.points_in_range:
            return
        voxel = np.array(self.config.voxel_size_m)
        count = float(np.median(facts.points_in_range))
        size = np.median(facts.table()[:, :2], axis=0) if len(facts.table()) else np.zeros(2)
        cells = float(np.prod(size) / np.prod(voxel))
        if count < MIN_MEDIAN_POINTS or cells < 1.0:
            what = (
                f"half of the {name} boxes hold {count:.0f} points or fewer, and one covers "
                f"{cells:.1f} pillars of {voxel[0]:g} x {voxel[1]:g} m"
            )
            self.log.add("MODEL006", "detector.voxel_size_m", what)

    def _check_anchors(self) -> None:
        if not isinstance(self.config, PointPillarsConfig):
            return
        for anchor in self.config.head.anchors:
            facts = self.facts.get(anchor.category)
            if facts is None or len(facts.table()) == 0:
                continue
            table = facts.table()
            where = f"detector.head.anchors ({anchor.category})"
            shared = np.minimum(table[:, :2], anchor.size_m[:2]).prod(axis=1)
            union = table[:, :2].prod(axis=1) + np.prod(anchor.size_m[:2]) - shared
            share = float((shared / union >= anchor.positive_iou).mean())
            quantiles = np.quantile(table[:, :3], [0.1, 0.5, 0.9], axis=0)
            if share < MIN_ANCHOR_SHARE:
                what = (
                    f"the anchor is {_size(anchor.size_m)} m, only {share:.0%} of the boxes reach "
                    f"IoU {anchor.positive_iou:g} with it; the median is {_size(quantiles[1])} m, "
                    f"10 % to 90 % are {_size(quantiles[0])} to {_size(quantiles[2])} m"
                )
                self.log.add("MODEL004", where, what)
            lift = anchor.center_z_m - float(np.median(table[:, 3]))
            if abs(lift) > MAX_ANCHOR_LIFT_M:
                median = float(np.median(table[:, 3]))
                what = f"center_z_m is {anchor.center_z_m:g}, the median of the data {median:.2f} m"
                self.log.add("MODEL005", where, what)

    def _check_coding(self) -> None:
        for name, total in self.num_coded.items():
            recall = 1.0 - self.num_lost[name] / total
            if recall < MIN_RECALL:
                what = (
                    f"{self.num_lost[name]} of {total} {name} labels are lost ({recall:.1%} kept)"
                )
                self.log.add("MODEL007", "detector", what, self.num_lost[name])

    def _check_clouds(self) -> None:
        if not self.shares_inside:
            return
        share = float(np.median(self.shares_inside))
        if share < MIN_POINT_SHARE:
            where = "detector.point_cloud_range_m"
            self.log.add("MODEL008", where, f"{share:.1%} of a frame's points lie inside")
        most = max(self.num_pillars)
        if most > self.config.max_pillars:
            over = sum(count > self.config.max_pillars for count in self.num_pillars)
            what = (
                f"{over} of {len(self.num_pillars)} frames fill more than {self.config.max_pillars}"
                f" pillars, the fullest {most}"
            )
            self.log.add("MODEL009", "detector.max_pillars", what)


def suggest_name(name: str, choices: list[str]) -> str:
    """Return the choice that `name` most likely means, or an empty string."""
    folded = {fold_name(choice): choice for choice in choices}
    wanted = fold_name(name)
    if wanted in folded:
        return folded[wanted]
    for group in SYNONYMS:
        shared = sorted(group & set(folded)) if wanted in group else []
        if shared:
            return folded[shared[0]]
    near = difflib.get_close_matches(wanted, list(folded), n=1, cutoff=0.6)
    if near:
        return folded[near[0]]
    parts = [choice for choice in folded if wanted in choice.split("_") or choice in wanted]
    return folded[parts[0]] if parts else ""


def _size(values: NDArray[np.float64] | tuple[float, float, float]) -> str:
    return " x ".join(f"{value:.2f}" for value in values)
