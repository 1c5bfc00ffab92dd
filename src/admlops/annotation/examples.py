"""Boxes of a dataset that show what a labelling rule means: chosen by the data, not by hand."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from admlops.annotation.definition import DatasetDefinition
from admlops.annotation.example_search import BY_DAY, Search, Shelf, search_boxes, texts
from admlops.annotation.labelling_rules import CategoryDefinition
from admlops.geometry.boxes import iou_bev
from admlops.lake.rows import spread_evenly
from admlops.lake.store import Dataset
from admlops.structures.boxes import Boxes

MAX_FRAMES_FOR_OVERLAPS = 2000
"""Labelled frames, spread evenly, that are searched for boxes that overlap."""
MIN_OVERLAP_IOU = 0.01
MAX_CLOSE_M = 2.0
"""Centres of vulnerable road users that are nearer are close together."""
_IN_SPACE = Shelf("SELECT * FROM boxes WHERE true", ("x_m", "y_m", "z_m"))
_RANGE = "sqrt(x_m * x_m + y_m * y_m)"


@dataclass(frozen=True, slots=True)
class Example:
    """One box worth showing.

    Attributes:
        title: what it shows, in a few words.
        lesson: what an annotator learns from it.
        row: row of its frame in the dataset.
        center_m: its centre, x y z in the ego frame; with the category it names the box.
        category: its category.
        is_labelled: whether such an object is to be labelled.
    """

    title: str
    lesson: str
    row: int
    center_m: tuple[float, float, float]
    category: str
    is_labelled: bool = True


def choose_examples(dataset: Dataset, definition: DatasetDefinition) -> dict[str, list[Example]]:
    """Return examples of every category: clear, far, occluded, truncated, and at the limits.

    A box is shown once; of a kind that the data does not hold there is no example.
    """
    return {
        item.name: list(_choose(dataset, spellings_of(item), _searches(definition, item)))
        for item in definition.categories
    }


def choose_overview(dataset: Dataset, definition: DatasetDefinition) -> int | None:
    """Return the row of the frame that shows most categories, by day where possible; or None."""
    names = texts(definition.names_by_source())
    sql = (
        "SELECT row FROM (SELECT log, scene, timestamp_ns, count(DISTINCT category) AS kinds, "
        f"count(*) AS n FROM boxes WHERE category IN ({names}) GROUP BY 1, 2, 3) "
        "JOIN frames USING (log, scene, timestamp_ns) "
        f"ORDER BY {BY_DAY}, kinds DESC, n DESC, row LIMIT 1"
    )
    found = dataset.query(sql)["row"].to_pylist()
    return found[0] if found else None


def choose_edge_cases(dataset: Dataset, definition: DatasetDefinition) -> list[Example]:
    """Return what annotators ask about: neighbours, odd sizes, far boxes, unknown categories."""
    found = list(_neighbours(dataset, definition))
    for item in definition.categories:
        found += _choose(dataset, spellings_of(item), _odd_searches(definition, item))
    return found + list(_unknown(dataset, definition))


def _searches(definition: DatasetDefinition, item: CategoryDefinition) -> list[Search]:
    needed, reach_m = definition.min_points_of(item.name), definition.max_range_of(item.name)
    partly, largely = definition.rules.occlusion_shares
    whole = "full extent" if definition.rules.occluded == "full_size" else "visible part"
    cut = "full extent" if definition.rules.truncated == "full_size" else "visible part"
    seen = f"num_points >= {needed} AND {_RANGE} <= {reach_m} AND coalesce(occlusion, 0) < 3"
    visible = f"{seen} AND coalesce(occlusion, 0) <= 0 AND coalesce(truncation, 0) < 0.05"
    return [
        Search(
            "Clearly visible",
            "Every face of the box touches the object; the arrow points to its front.",
            f"{visible} AND {_RANGE} > 6",
            "num_points DESC",
        ),
        Search(
            "Hidden in part",
            f"From {partly:.0%} of the object hidden it is partly, from {largely:.0%} largely "
            f"occluded. The box has the object's {whole}.",
            f"{seen} AND occlusion > 0",
            "occlusion DESC, num_points DESC",
        ),
        Search(
            "Cut by the border of the view",
            f"The box has the object's {cut}, as far as it can be told.",
            f"{seen} AND truncation >= 0.15",
            "truncation DESC",
        ),
        Search(
            "Far away",
            f"Labelled up to {reach_m:g} m. The image helps to find the heading.",
            f"{visible} AND {_RANGE} > 20",
            f"{_RANGE} DESC",
        ),
        Search(
            "Just enough points",
            f"With {needed} points or more the object is labelled; its size follows the category "
            "or its track.",
            f"{seen} AND num_points < {3 * needed + 3}",
            "num_points",
        ),
        Search(
            "Too few points",
            f"With fewer than {needed} points the object is not labelled.",
            f"num_points < {needed} AND num_points >= 0",
            "num_points DESC",
            is_labelled=False,
        ),
    ]


def _odd_searches(definition: DatasetDefinition, item: CategoryDefinition) -> list[Search]:
    needed, reach_m = definition.min_points_of(item.name), definition.max_range_of(item.name)
    labelled = f"num_points >= {needed} AND {_RANGE} <= {reach_m}"
    searches = [
        Search(
            "Out of range",
            f"Farther than {reach_m:g} m a {item.name} is not labelled.",
            f"{_RANGE} > {reach_m}",
            _RANGE,
            is_labelled=False,
        )
    ]
    if item.size is None:
        return searches
    for axis, (low, high) in zip(("length", "width", "height"), item.size.spans_m, strict=True):
        searches += [
            Search(
                f"Unusual {axis}",
                f"The {axis} of a {item.name} is {low:g} to {high:g} m. Look again: the category "
                "or the size may be wrong; if the object is like this, the box stays.",
                f"({axis}_m < {low} OR {axis}_m > {high}) AND {labelled}",
                f"abs({axis}_m - {(low + high) / 2}) DESC",
            )
        ]
    return searches


def _choose(
    dataset: Dataset, spellings: Iterable[str], searches: list[Search]
) -> Iterator[Example]:
    for search, found in search_boxes(dataset, _IN_SPACE, spellings, searches):
        yield Example(
            search.title,
            search.lesson,
            found["row"],
            (found["x_m"], found["y_m"], found["z_m"]),
            found["category"],
            search.is_labelled,
        )


def spellings_of(item: CategoryDefinition) -> tuple[str, ...]:
    """Return the names under which boxes of a category are found."""
    return (item.name, *item.aliases)


def _unknown(dataset: Dataset, definition: DatasetDefinition) -> Iterator[Example]:
    """Yield a box of each category that the definition does not have."""
    table = dataset.query("SELECT DISTINCT category FROM boxes ORDER BY category")
    for name in sorted(set(table["category"].to_pylist()) - set(definition.names_by_source())):
        lesson = f"The dataset has boxes called {name!r}. By this guideline they are not labelled."
        search = Search("Not in this guideline", lesson, "true", "num_points DESC", False)
        yield from _choose(dataset, [name], [search])


def _neighbours(dataset: Dataset, definition: DatasetDefinition) -> Iterator[Example]:
    """Yield boxes that overlap most, one of each pair of categories, and those closest together."""
    every = dataset.rows_where("num_boxes > 1")
    rows = spread_evenly(every, MAX_FRAMES_FOR_OVERLAPS)
    ours = definition.names_by_source()
    vulnerable = {name for name, own in ours.items() if own in definition.vulnerable_names}
    overlapping: dict[tuple[str, str], tuple[float, Example]] = {}
    close: dict[str, tuple[float, Example]] = {}
    for row, frame in zip(rows.tolist(), dataset.iterate(rows, lidar=False), strict=True):
        if frame.boxes is None:
            continue
        boxes = frame.boxes.select(np.isin(frame.boxes.category.astype(str), list(ours)))
        for pair, iou, index in _overlapping(boxes):
            if pair not in overlapping or iou > overlapping[pair][0]:
                overlapping[pair] = (iou, _overlap_example(pair, iou, row, boxes, index))
        for name, apart_m, index in _closest(boxes):
            if name in vulnerable and apart_m < close.get(name, (MAX_CLOSE_M,))[0]:
                close[name] = (apart_m, _close_example(name, apart_m, row, boxes, index))
    for _, example in sorted(overlapping.values(), key=lambda item: (-item[0], item[1].title)):
        yield example
    for _, example in sorted(close.values(), key=lambda item: (item[0], item[1].title)):
        yield example


def _overlapping(boxes: Boxes) -> Iterator[tuple[tuple[str, str], float, int]]:
    """Yield categories, overlap and the first box of every pair that overlaps on the ground."""
    overlap = np.triu(iou_bev(boxes.as_7(), boxes.as_7()), k=1)
    for first, second in np.argwhere(overlap >= MIN_OVERLAP_IOU).tolist():
        names = sorted((str(boxes.category[first]), str(boxes.category[second])))
        yield (names[0], names[1]), float(overlap[first, second]), first


def _closest(boxes: Boxes) -> Iterator[tuple[str, float, int]]:
    """Yield category, distance and first box of close pairs of one category that do not overlap."""
    rows = boxes.as_7()
    apart_m = np.linalg.norm(rows[:, None, :2] - rows[None, :, :2], axis=-1)
    alike = boxes.category[:, None] == boxes.category[None, :]
    near = np.triu(alike & (apart_m < MAX_CLOSE_M), k=1)
    for first, second in np.argwhere(near).tolist():
        if iou_bev(rows[first : first + 1], rows[second : second + 1])[0, 0] < MIN_OVERLAP_IOU:
            yield str(boxes.category[first]), float(apart_m[first, second]), first


def _overlap_example(
    pair: tuple[str, str], iou: float, row: int, boxes: Boxes, index: int
) -> Example:
    lesson = (
        f"Their ground areas overlap (IoU {iou:.2f}). Two solid objects cannot: make both boxes "
        "tight. Only people close together and loads may overlap."
    )
    return _example_of(f"Boxes overlap: {pair[0]} and {pair[1]}", lesson, row, boxes, index)


def _close_example(name: str, apart_m: float, row: int, boxes: Boxes, index: int) -> Example:
    lesson = (
        f"Their centres are {apart_m:.1f} m apart. Each {name} has a box and a track of its own, "
        "and a point belongs to one box."
    )
    return _example_of(f"Close together: two of {name}", lesson, row, boxes, index)


def _example_of(title: str, lesson: str, row: int, boxes: Boxes, index: int) -> Example:
    x_m, y_m, z_m = boxes.center_m[index].tolist()
    return Example(title, lesson, row, (x_m, y_m, z_m), str(boxes.category[index]))
