"""Two dataset versions side by side: frames, boxes, and how the mix has shifted."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from admlops.config import Config
from admlops.geometry.image_boxes import iou_in_image
from admlops.geometry.pairing import pair_nearest
from admlops.lake.store import Dataset
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import Frame, FrameKey

SAME_OBJECT_M = 1.0
"""Labels whose centres are nearer than this are of one object."""
SAME_OBJECT_IOU = 0.5
"""Labels of one image that overlap more are of one object."""
NUM_EXAMPLES = 5
NUM_LARGEST = 10
"""Changes of a distribution that a page shows."""
_CHUNK_FRAMES = 512

_COUNTS = {
    "category": (
        "SELECT name, count(*) AS n FROM (SELECT category AS name FROM boxes UNION ALL "
        "SELECT category FROM boxes_2d) GROUP BY 1"
    ),
    "condition": "SELECT unnest(tags) AS name, count(*) AS n FROM frames GROUP BY 1",
    "split": "SELECT split AS name, count(*) AS n FROM frames GROUP BY 1",
    "source": "SELECT source AS name, count(*) AS n FROM frames GROUP BY 1",
    "log": "SELECT log AS name, count(*) AS n FROM frames GROUP BY 1",
    "range": (
        "SELECT concat(20 * ring, ' to ', 20 * (ring + 1), ' m') AS name, count(*) AS n FROM ("
        "SELECT cast(floor(sqrt(x_m * x_m + y_m * y_m) / 20) AS INTEGER) AS ring FROM boxes) "
        "GROUP BY ring"
    ),
}


AnyBoxes = TypeVar("AnyBoxes", Boxes, Boxes2d)


class Change(Config):
    """How often one thing occurs in two versions."""

    name: str
    """The thing: a category, a condition, a split, a source, a log or a range."""
    before: int
    """How often in the earlier version."""
    after: int
    """How often in the later one."""


class Shift(Config):
    """How a distribution has changed."""

    of: str
    """What is distributed: boxes over categories (those in images too) or ranges, frames over the
    others."""
    distance: float
    """Total variation: the share that would have to move; 0 is the same mix, 1 nothing shared."""
    changes: tuple[Change, ...]
    """Every value, in order."""

    @property
    def largest_changes(self) -> tuple[Change, ...]:
        """Those that changed most; none where nothing changed."""
        changed = [item for item in self.changes if item.before != item.after]
        ordered = sorted(changed, key=lambda item: (-abs(item.after - item.before), item.name))
        return tuple(ordered[:NUM_LARGEST])

    @property
    def num_others(self) -> int:
        """How many changed less."""
        changed = sum(item.before != item.after for item in self.changes)
        return changed - len(self.largest_changes)


class FrameChanges(Config):
    """Which frames differ."""

    added: int = 0
    """Frames that only the later version holds."""
    removed: int = 0
    """Frames that only the earlier version holds."""
    relabelled: int = 0
    """Frames of both with other labels or another split."""
    changed: int = 0
    """Frames of both with other sensor data, calibration, pose or tags."""
    examples: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """The first frames of each kind."""


class BoxChanges(Config):
    """Which boxes differ; a box is followed by its place."""

    added: int = 0
    """Boxes that only the later version holds."""
    removed: int = 0
    """Boxes that only the earlier version holds."""
    recategorized: int = 0
    """Boxes of both with another category."""
    adjusted: int = 0
    """Boxes of both, of the same category, with another place, size or attribute."""
    categories: dict[str, int] = Field(default_factory=dict)
    """How often "one category -> another" occurs among those with another category."""


class Comparison(Config):
    """What it takes to get from one version to another."""

    earlier: str
    """Reference of the earlier version."""
    later: str
    """Reference of the later version."""
    frames: FrameChanges
    """Frames that differ."""
    boxes: BoxChanges
    """Boxes in space that differ."""
    boxes_2d: BoxChanges
    """Boxes in images that differ."""
    shifts: tuple[Shift, ...]
    """How each distribution has changed."""

    @property
    def scores(self) -> dict[str, float]:
        """The counts of changes, by what and how."""
        parts = (("frames", self.frames), ("boxes", self.boxes), ("boxes_2d", self.boxes_2d))
        return {
            f"{what}_{name}": float(count)
            for what, part in parts
            for name, count in part
            if isinstance(count, int)
        }


def compare_versions(earlier: Dataset, later: Dataset) -> Comparison:
    """Return the difference of two versions, of one dataset or of two."""
    difference = earlier.diff(later)
    kinds = {name: getattr(difference, name) for name in difference.__dataclass_fields__}
    return Comparison(
        earlier=earlier.reference,
        later=later.reference,
        frames=FrameChanges(
            **{name: len(keys) for name, keys in kinds.items()},
            examples={
                name: tuple(map(str, keys[:NUM_EXAMPLES])) for name, keys in kinds.items() if keys
            },
        ),
        boxes=_compare_all_boxes(earlier, later, kinds, Boxes),
        boxes_2d=_compare_all_boxes(earlier, later, kinds, Boxes2d),
        shifts=tuple(_shift(name, earlier, later) for name in _COUNTS),
    )


def match_boxes(before: AnyBoxes, after: AnyBoxes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (M,) rows of `before` and of `after` that are of the same objects.

    Nearest centres first, or largest overlaps in an image; each box once, of the same category
    where two are equally near.
    """
    other = 1e-9 * (before.category[:, None] != after.category[None])
    if isinstance(before, Boxes) and isinstance(after, Boxes):
        distance = np.linalg.norm(before.center_m[:, None] - after.center_m[None], axis=-1)
        return pair_nearest(distance + other, SAME_OBJECT_M)
    if isinstance(before, Boxes2d) and isinstance(after, Boxes2d):
        apart = 1.0 - iou_in_image(before.box2d_px, after.box2d_px)
        apart[before.camera[:, None] != after.camera[None]] = np.inf
        return pair_nearest(apart + other, 1.0 - SAME_OBJECT_IOU)
    raise TypeError("boxes in space cannot be matched with boxes in images")


def compare_boxes(before: AnyBoxes, after: AnyBoxes) -> BoxChanges:
    """Return how the labels of one frame differ."""
    first, second = match_boxes(before, after)
    old, new = before.select(first), after.select(second)
    renamed = old.category != new.category
    names = Counter(
        f"{one} -> {other}"
        for one, other in zip(old.category[renamed], new.category[renamed], strict=True)
    )
    adjusted = np.zeros(len(first), np.bool_)
    for name in before.columns:
        if name != "category":
            adjusted |= _differ(getattr(old, name), getattr(new, name))
    return BoxChanges(
        added=len(after) - len(second),
        removed=len(before) - len(first),
        recategorized=int(renamed.sum()),
        adjusted=int((adjusted & ~renamed).sum()),
        categories=dict(names),
    )


def _differ(one: NDArray[np.generic], other: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Return (N,) whether rows differ; NaN equals NaN."""
    unequal = one != other
    if one.dtype.kind == "f":
        unequal &= ~(np.isnan(one) & np.isnan(other))
    return unequal.any(axis=tuple(range(1, one.ndim)))


def _compare_all_boxes(
    earlier: Dataset, later: Dataset, kinds: dict[str, list[FrameKey]], kind: type[AnyBoxes]
) -> BoxChanges:
    column = "num_boxes" if kind is Boxes else "num_boxes_2d"
    parts = [
        BoxChanges(added=_count_boxes(later, kinds["added"], column)),
        BoxChanges(removed=_count_boxes(earlier, kinds["removed"], column)),
    ]
    keys = kinds["relabelled"]
    rows = [_rows_of(dataset, keys) for dataset in (earlier, later)]
    for start in range(0, len(keys), _CHUNK_FRAMES):
        part = slice(start, start + _CHUNK_FRAMES)
        before = earlier.take(rows[0][part], lidar=False)
        after = later.take(rows[1][part], lidar=False)
        parts += [
            compare_boxes(_labels(one, kind), _labels(other, kind))
            for one, other in zip(before, after, strict=True)
        ]
    return _add(parts)


def _labels(frame: Frame, kind: type[AnyBoxes]) -> AnyBoxes:
    boxes = frame.boxes if kind is Boxes else frame.boxes_2d
    return boxes if isinstance(boxes, kind) else kind.empty()


def _add(parts: Iterable[BoxChanges]) -> BoxChanges:
    totals: Counter[str] = Counter()
    categories: Counter[str] = Counter()
    for part in parts:
        totals.update(
            {name: getattr(part, name) for name in BoxChanges.model_fields if name != "categories"}
        )
        categories.update(part.categories)
    return BoxChanges(**totals, categories=dict(sorted(categories.items())))


def _rows_of(dataset: Dataset, keys: Sequence[FrameKey]) -> NDArray[np.int64]:
    where = {key: row for row, key in enumerate(dataset.keys())} if keys else {}
    return np.array([where[key] for key in keys], np.int64)


def _count_boxes(dataset: Dataset, keys: Sequence[FrameKey], column: str) -> int:
    if not keys:
        return 0
    table = dataset.query(f"SELECT coalesce({column}, 0) AS n FROM frames ORDER BY row")
    return int(table["n"].to_numpy()[_rows_of(dataset, keys)].sum())


def _shift(name: str, earlier: Dataset, later: Dataset) -> Shift:
    counts = []
    for dataset in (earlier, later):
        table = dataset.query(_COUNTS[name])
        counts.append(dict(zip(table["name"].to_pylist(), table["n"].to_pylist(), strict=True)))
    names = sorted({*counts[0], *counts[1]})
    before, after = (np.array([part.get(n, 0) for n in names], np.float64) for part in counts)
    return Shift(
        of=name,
        distance=round(total_variation(before, after), 6),
        changes=tuple(
            Change(name=n or "(none)", before=int(b), after=int(a))
            for n, b, a in zip(names, before, after, strict=True)
        ),
    )


def total_variation(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    """Return half the sum of differences of two distributions' shares; 1 where one is empty."""
    if not before.sum() or not after.sum():
        return float(bool(before.sum()) != bool(after.sum()))
    return float(np.abs(before / before.sum() - after / after.sum()).sum() / 2.0)


def describe_comparison(comparison: Comparison) -> str:
    """Return a comparison as Markdown."""
    frames, parts = comparison.frames, (comparison.boxes, comparison.boxes_2d)
    lines = [
        f"`{comparison.earlier}` to `{comparison.later}`",
        "",
        f"| | added | removed | relabelled | changed |\n|---|{'---:|' * 4}",
        f"| frames | {frames.added} | {frames.removed} | {frames.relabelled} | {frames.changed} |",
        *(
            f"| {name} | {part.added} | {part.removed} | {part.recategorized} | {part.adjusted} |"
            for name, part in zip(("boxes", "boxes in images"), parts, strict=True)
        ),
        "",
    ]
    lines += [f"* {name}: {count}" for part in parts for name, count in part.categories.items()]
    for shift in comparison.shifts:
        lines += ["", f"**{shift.of}**, {shift.distance:.1%} moved", ""]
        lines += ["| | before | after | |", "|---|---:|---:|---:|"]
        lines += [
            f"| {item.name} | {item.before} | {item.after} | {item.after - item.before:+d} |"
            for item in shift.changes
        ]
    return "\n".join(lines) + "\n"
