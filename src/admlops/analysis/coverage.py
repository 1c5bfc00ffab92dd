"""Coverage of a requirement, its gaps, and what to record to close them."""

import math
from collections.abc import Iterable
from itertools import groupby

from admlops.analysis.requirement import ANY_CONDITION, Requirement, RequirementCell
from admlops.config import Config
from admlops.lake.query import quoted
from admlops.lake.store import Dataset


class CoverageCell(Config):
    """One cell of a requirement and what the dataset has of it."""

    cell: RequirementCell
    """What is required."""
    num_boxes: int
    """Boxes that the dataset holds."""
    num_scenes: int
    """Scenes that they come from."""
    num_frames: int
    """Labelled frames of the condition."""

    @property
    def num_missing_boxes(self) -> int:
        """How many boxes are missing."""
        return max(self.cell.min_boxes - self.num_boxes, 0)

    @property
    def num_missing_scenes(self) -> int:
        """How many scenes are missing."""
        return max(self.cell.min_scenes - self.num_scenes, 0)

    @property
    def is_met(self) -> bool:
        """Whether the cell's minimum is reached."""
        return self.num_missing_boxes == 0 and self.num_missing_scenes == 0


class Coverage(Config):
    """A requirement held against a dataset version."""

    requirement: Requirement
    """What is required."""
    cells: tuple[CoverageCell, ...]
    """Every cell, in the requirement's order."""

    @property
    def share_met(self) -> float:
        """Share of the cells whose minimum is reached; 1 without cells."""
        met = sum(cell.is_met for cell in self.cells)
        return met / len(self.cells) if self.cells else 1.0

    @property
    def gaps(self) -> tuple[CoverageCell, ...]:
        """The cells whose minimum is missed."""
        return tuple(cell for cell in self.cells if not cell.is_met)


class RequestItem(Config):
    """One gap, as a task for the people who record."""

    category: str
    """What must be in the frames."""
    range_m: tuple[float, float]
    """How far away it must be."""
    condition: str
    """Under which condition."""
    num_boxes: int
    """Boxes that are missing."""
    num_scenes: int
    """Scenes that are missing."""
    num_frames: int
    """Frames that are likely needed."""
    text: str
    """The task in words."""


class Drive(Config):
    """All gaps of one condition: frames that close one gap help the others too."""

    condition: str
    """Under which condition."""
    num_frames: int
    """Frames that are likely needed."""
    num_scenes: int
    """Least number of different scenes."""
    text: str
    """The task in words."""


class CollectionRequest(Config):
    """What to record so that a requirement is met."""

    dataset: str
    """Reference of the dataset version that falls short."""
    requirement: str
    """Name of the requirement."""
    is_met: bool
    """Whether nothing is missing."""
    drives: tuple[Drive, ...]
    """What to drive, one entry per condition."""
    items: tuple[RequestItem, ...]
    """Every gap."""


def measure_coverage(dataset: Dataset, requirement: Requirement) -> Coverage:
    """Count the boxes and scenes of every cell."""
    cells = list(requirement.cells())
    found: list[CoverageCell] = []
    for condition, group in groupby(cells, key=lambda cell: cell.condition):
        found += _measure(dataset, condition, list(group), requirement.splits)
    return Coverage(requirement=requirement, cells=tuple(found))


def _measure(
    dataset: Dataset, condition: str, cells: list[RequirementCell], splits: tuple[str, ...]
) -> list[CoverageCell]:
    where = _where(condition, splits)
    frames = f"SELECT count(*) AS n FROM frames WHERE is_keyframe AND {where}"
    num_frames = dataset.query(frames)["n"][0].as_py()
    columns = ", ".join(
        f"count(*) FILTER (WHERE {_in_cell(cell)}) AS n{index}, "
        f"count(DISTINCT (log, scene)) FILTER (WHERE {_in_cell(cell)}) AS s{index}"
        for index, cell in enumerate(cells)
    )
    counts = dataset.query(f"SELECT {columns} FROM boxes WHERE {where}").to_pylist()[0]
    return [
        CoverageCell(
            cell=cell,
            num_boxes=counts[f"n{index}"],
            num_scenes=counts[f"s{index}"],
            num_frames=num_frames,
        )
        for index, cell in enumerate(cells)
    ]


def scenes_of_cell(
    dataset: Dataset, cell: RequirementCell, splits: tuple[str, ...]
) -> frozenset[tuple[str, str]]:
    """Return log and scene of those that hold boxes of a cell."""
    where = f"{_where(cell.condition, splits)} AND {_in_cell(cell)}"
    found = dataset.query(f"SELECT DISTINCT log, scene FROM boxes WHERE {where}").to_pylist()
    return frozenset((row["log"], row["scene"]) for row in found)


def _in_cell(cell: RequirementCell) -> str:
    low, high = cell.range_m
    square = "x_m * x_m + y_m * y_m"
    inside = f"{square} >= {low * low} AND {square} < {high * high}"
    return f"category = {quoted(cell.category)} AND {inside}"


def _where(condition: str, splits: tuple[str, ...]) -> str:
    parts = ["true"]
    if condition != ANY_CONDITION:
        parts += [f"list_contains(tags, {quoted(tag)})" for tag in condition.split("+")]
    if splits:
        parts.append(f"split IN ({', '.join(map(quoted, splits))})")
    return " AND ".join(parts)


def request_collection(coverage: Coverage, reference: str) -> CollectionRequest:
    """Return what to record to close every gap, in words and numbers.

    The number of frames is estimated from how many such boxes a labelled frame of that condition
    holds now; where there is none, from the other conditions, and at worst one box a frame.
    """
    items = [_item(gap, coverage) for gap in coverage.gaps]
    by_condition: dict[str, list[RequestItem]] = {}
    for item in items:
        by_condition.setdefault(item.condition, []).append(item)
    drives = tuple(_drive(condition, mine) for condition, mine in by_condition.items())
    return CollectionRequest(
        dataset=reference,
        requirement=coverage.requirement.name,
        is_met=not items,
        drives=drives,
        items=tuple(items),
    )


def _item(gap: CoverageCell, coverage: Coverage) -> RequestItem:
    cell = gap.cell
    missing = gap.num_missing_boxes
    rate = _boxes_per_frame([gap])
    if rate == 0.0:
        alike = [
            other
            for other in coverage.cells
            if other.cell.category == cell.category and other.cell.range_m == cell.range_m
        ]
        rate = _boxes_per_frame(alike) or 1.0
    num_frames = max(math.ceil(missing / rate), gap.num_missing_scenes)
    parts = []
    if missing:
        parts.append(f"{missing} more {cell.category} boxes")
    if gap.num_missing_scenes:
        parts.append(f"{gap.num_missing_scenes} more scenes")
    low, high = cell.range_m
    text = (
        f"{' from '.join(parts)} {low:g} to {high:g} m away {describe_condition(cell.condition)}: "
        f"there are {gap.num_boxes} of {cell.min_boxes} in {gap.num_scenes} scenes; "
        f"about {num_frames} frames"
    )
    return RequestItem(
        category=cell.category,
        range_m=cell.range_m,
        condition=cell.condition,
        num_boxes=missing,
        num_scenes=gap.num_missing_scenes,
        num_frames=num_frames,
        text=text,
    )


def _boxes_per_frame(cells: Iterable[CoverageCell]) -> float:
    counted = [(cell.num_boxes, cell.num_frames) for cell in cells if cell.num_frames]
    frames = sum(frames for _, frames in counted)
    return sum(boxes for boxes, _ in counted) / frames if frames else 0.0


def _drive(condition: str, items: list[RequestItem]) -> Drive:
    num_frames = max(item.num_frames for item in items)
    num_scenes = max(1, *(item.num_scenes for item in items))
    wanted = ", ".join(dict.fromkeys(item.category for item in items))
    text = (
        f"Record about {num_frames} frames in at least {num_scenes} new "
        f"scene{'s' if num_scenes > 1 else ''} {describe_condition(condition)}, where there are: "
        f"{wanted}"
    )
    return Drive(condition=condition, num_frames=num_frames, num_scenes=num_scenes, text=text)


def describe_condition(condition: str) -> str:
    """Return a condition as a phrase: "under any condition", "at night and in rain"."""
    if condition == ANY_CONDITION:
        return "under any condition"
    known = {"night": "at night", "rain": "in rain", "clear": "in clear daylight"}
    return " and ".join(known.get(tag, f"tagged {tag!r}") for tag in condition.split("+"))
