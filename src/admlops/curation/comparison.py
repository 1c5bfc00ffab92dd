"""Two dataset versions side by side: frames, boxes, and how the mix has shifted."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from admlops.config import Config
from admlops.curation.consistency import pair_nearest
from admlops.lake.store import Dataset
from admlops.structures.boxes import Boxes
from admlops.structures.frame import FrameKey

SAME_OBJECT_M = 1.0
"""Labels whose centres are nearer than this are of one object."""
NUM_EXAMPLES = 5
_CHUNK_FRAMES = 512

_COUNTS = {
    "category": (
        "SELECT name, count(*) AS n FROM (SELECT category AS name FROM boxes UNION ALL "
        "SELECT category FROM boxes_2d) GROUP BY 1"
    ),
    "condition": "SELECT unnest(tags) AS name, count(*) AS n FROM frames GROUP BY 1",
    "split": "SELECT split AS name, count(*) AS n FROM frames GROUP BY 1",
    "log": "SELECT log AS name, count(*) AS n FROM frames GROUP BY 1",
    "range": (
        "SELECT concat(20 * ring, ' to ', 20 * (ring + 1), ' m') AS name, count(*) AS n FROM ("
        "SELECT cast(floor(sqrt(x_m * x_m + y_m * y_m) / 20) AS INTEGER) AS ring FROM boxes) "
        "GROUP BY ring"
    ),
}


class Change(Config):
    """How often one thing occurs in two versions."""

    name: str
    """The thing: a category, a condition, a split, a log or a range."""
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
    """Which boxes in space differ; a box is followed by its place."""

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
    """Boxes that differ."""
    shifts: tuple[Shift, ...]
    """How each distribution has changed."""


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
        boxes=_compare_all_boxes(earlier, later, kinds),
        shifts=tuple(_shift(name, earlier, later) for name in _COUNTS),
    )


def match_boxes(before: Boxes, after: Boxes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (M,) rows of `before` and of `after` that are of the same objects.

    Nearest centres first, each box once, of the same category where two are equally near.
    """
    distance = np.linalg.norm(before.center_m[:, None] - after.center_m[None], axis=-1)
    other = before.category[:, None] != after.category[None]
    return pair_nearest(distance + 1e-9 * other, SAME_OBJECT_M)


def compare_boxes(before: Boxes, after: Boxes) -> BoxChanges:
    """Return how the labels of one frame differ."""
    first, second = match_boxes(before, after)
    old, new = before.select(first), after.select(second)
    renamed = old.category != new.category
    names = Counter(
        f"{one} -> {other}"
        for one, other in zip(old.category[renamed], new.category[renamed], strict=True)
    )
    adjusted = np.zeros(len(first), np.bool_)
    for name in Boxes.columns:
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
    earlier: Dataset, later: Dataset, kinds: dict[str, list[FrameKey]]
) -> BoxChanges:
    parts = [
        BoxChanges(added=_count_boxes(later, kinds["added"])),
        BoxChanges(removed=_count_boxes(earlier, kinds["removed"])),
    ]
    keys = kinds["relabelled"]
    rows = [_rows_of(dataset, keys) for dataset in (earlier, later)]
    for start in range(0, len(keys), _CHUNK_FRAMES):
        part = slice(start, start + _CHUNK_FRAMES)
        before = earlier.take(rows[0][part], lidar=False)
        after = later.take(rows[1][part], lidar=False)
        parts += [
            compare_boxes(one.boxes or Boxes.empty(), other.boxes or Boxes.empty())
            for one, other in zip(before, after, strict=True)
        ]
    return _add(parts)


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


def _count_boxes(dataset: Dataset, keys: Sequence[FrameKey]) -> int:
    if not keys:
        return 0
    table = dataset.query("SELECT coalesce(num_boxes, 0) AS n FROM frames ORDER BY row")
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
    frames, boxes = comparison.frames, comparison.boxes
    lines = [
        f"`{comparison.earlier}` to `{comparison.later}`",
        "",
        f"| | added | removed | relabelled | changed |\n|---|{'---:|' * 4}",
        f"| frames | {frames.added} | {frames.removed} | {frames.relabelled} | {frames.changed} |",
        f"| boxes | {boxes.added} | {boxes.removed} | {boxes.recategorized} | {boxes.adjusted} |",
        "",
    ]
    lines += [f"* {name}: {count}" for name, count in boxes.categories.items()]
    for shift in comparison.shifts:
        lines += ["", f"**{shift.of}**, {shift.distance:.1%} moved", ""]
        lines += ["| | before | after | |", "|---|---:|---:|---:|"]
        lines += [
            f"| {item.name} | {item.before} | {item.after} | {item.after - item.before:+d} |"
            for item in shift.changes
        ]
    return "\n".join(lines) + "\n"
