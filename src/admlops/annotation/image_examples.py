"""Boxes in images that show what a labelling rule means, from frames without boxes in space.

Where a frame has both, the box in space is the example and its picture shows the one in the image.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from admlops.annotation.definition import DatasetDefinition
from admlops.annotation.example_search import BY_DAY, Search, Shelf, search_boxes, texts
from admlops.annotation.examples import MAX_FRAMES_FOR_OVERLAPS, spellings_of
from admlops.annotation.labelling_rules import CategoryDefinition
from admlops.geometry.image_boxes import iou_in_image
from admlops.lake.rows import spread_evenly
from admlops.lake.store import Dataset
from admlops.structures.boxes_2d import Boxes2d

MIN_OVERLAP_IOU = 0.2
"""In an image objects hide each other; boxes that share less are everyday."""
MAX_OVERLAPS = 6
SMALL_PX = 32.0
"""Boxes are small up to this height, where the definition has no least one (COCO's limit)."""
ONLY_IN_IMAGES: Final = "coalesce(num_boxes, 0) = 0 AND coalesce(num_boxes_2d, 0) > 0"
"""Says of a row of the view `frames` that it has boxes in images and none in space."""

_IN_IMAGES = Shelf(
    "SELECT boxes_2d.*, camera_width_px, camera_height_px FROM boxes_2d "
    f"JOIN frames USING (log, scene, timestamp_ns) WHERE {ONLY_IN_IMAGES}",
    ("left_px", "top_px", "right_px", "bottom_px", "camera"),
)
_HEIGHT = "(bottom_px - top_px)"
_AREA = "(right_px - left_px) * (bottom_px - top_px)"
_AT_BORDER = (
    "(left_px <= 1.5 OR top_px <= 1.5 OR coalesce(camera = '' AND "
    "(right_px >= camera_width_px - 2.5 OR bottom_px >= camera_height_px - 2.5), false))"
)
_SAID_CUT = "coalesce(regexp_matches(attributes, '\"truncated\": ?true'), false)"
"""BDD100K and COCO say that an object is cut, and not how much."""
_CUT = f"(coalesce(truncation >= 0.15, {_AT_BORDER}) OR {_SAID_CUT})"


@dataclass(frozen=True, slots=True)
class ImageExample:
    """One box in an image worth showing.

    Attributes:
        title: what it shows, in a few words.
        lesson: what an annotator learns from it.
        row: row of its frame in the dataset.
        box2d_px: left, top, right, bottom.
        camera: the camera in whose image it is; "" is the front one.
        category: its category.
        is_labelled: whether such an object is to be labelled.
        partner_px: another box that the example is about, too; empty without one.
    """

    title: str
    lesson: str
    row: int
    box2d_px: tuple[float, ...]
    camera: str
    category: str
    is_labelled: bool = True
    partner_px: tuple[float, ...] = ()


def choose_image_examples(
    dataset: Dataset, definition: DatasetDefinition
) -> dict[str, list[ImageExample]]:
    """Return examples of every category: clear, occluded, truncated, and at the least height.

    A box is shown once; of a kind that the data does not hold or does not tell there is none.
    """
    return {
        item.name: list(_choose(dataset, spellings_of(item), _searches(definition, item)))
        for item in definition.categories
    }


def choose_image_overview(
    dataset: Dataset, definition: DatasetDefinition
) -> tuple[int, str] | None:
    """Return row and camera of the image that shows most categories, by day where possible."""
    names = texts(definition.names_by_source())
    sql = (
        "SELECT row, camera FROM (SELECT log, scene, timestamp_ns, camera, "
        "count(DISTINCT category) AS kinds, count(*) AS n FROM boxes_2d "
        f"WHERE category IN ({names}) GROUP BY ALL) JOIN frames USING (log, scene, timestamp_ns) "
        f"WHERE {ONLY_IN_IMAGES} ORDER BY {BY_DAY}, kinds DESC, n DESC, row, camera LIMIT 1"
    )
    found = dataset.query(sql).to_pylist()
    return (found[0]["row"], found[0]["camera"]) if found else None


def choose_image_edge_cases(dataset: Dataset, definition: DatasetDefinition) -> list[ImageExample]:
    """Return what annotators ask about: boxes that overlap, and unknown categories."""
    return [*_overlaps(dataset, definition), *_unknown(dataset, definition)]


def _searches(definition: DatasetDefinition, item: CategoryDefinition) -> list[Search]:
    rules, needed_px = definition.rules, definition.min_height_of(item.name)
    partly, largely = rules.occlusion_shares
    whole = "full extent" if rules.occluded == "full_size" else "visible part"
    seen = (
        f"right_px > left_px AND {_HEIGHT} > 0 AND {_HEIGHT} >= {needed_px} "
        "AND coalesce(occlusion, 0) < 3"
    )
    visible = f"{seen} AND coalesce(occlusion, 0) <= 0 AND NOT {_CUT} AND NOT {_AT_BORDER}"
    searches = [
        Search(
            "Clearly visible",
            f"Every edge touches the object, with a gap of at most {rules.image_margin_px:g} px.",
            visible,
            f"{_AREA} DESC",
        ),
        Search(
            "Hidden in part",
            f"From {partly:.0%} of the object hidden it is partly, from {largely:.0%} largely "
            f"occluded. The box has the object's {whole}.",
            f"{seen} AND occlusion > 0",
            f"occlusion DESC, {_AREA} DESC",
        ),
        Search(
            "Cut by the border of the image",
            "The box ends at the border of the image, also where its object goes on.",
            f"{seen} AND {_CUT}",
            f"coalesce(truncation, 0) DESC, {_AREA} DESC",
        ),
    ]
    return [*searches, *_searches_by_height(seen, needed_px)]


def _searches_by_height(seen: str, needed_px: float) -> list[Search]:
    if not needed_px:
        lesson = "However small it is in the image, an object is labelled while it can be told."
        return [Search("Small", lesson, f"{seen} AND {_HEIGHT} <= {SMALL_PX}", _HEIGHT)]
    return [
        Search(
            "Just high enough",
            f"From a height of {needed_px:g} px on the object is labelled.",
            f"{seen} AND {_HEIGHT} < {1.5 * needed_px + 4}",
            _HEIGHT,
        ),
        Search(
            "Not high enough",
            f"Less than {needed_px:g} px high the object is not labelled.",
            f"right_px > left_px AND {_HEIGHT} > 0 AND {_HEIGHT} < {needed_px}",
            f"{_HEIGHT} DESC",
            is_labelled=False,
        ),
    ]


def _choose(
    dataset: Dataset, spellings: tuple[str, ...], searches: list[Search]
) -> Iterator[ImageExample]:
    for search, found in search_boxes(dataset, _IN_IMAGES, spellings, searches):
        yield ImageExample(
            search.title,
            search.lesson,
            found["row"],
            (found["left_px"], found["top_px"], found["right_px"], found["bottom_px"]),
            found["camera"],
            found["category"],
            search.is_labelled,
        )


def _unknown(dataset: Dataset, definition: DatasetDefinition) -> Iterator[ImageExample]:
    """Yield a box of each category that the definition does not have."""
    sql = (
        "SELECT DISTINCT category FROM boxes_2d JOIN frames USING (log, scene, timestamp_ns) "
        f"WHERE {ONLY_IN_IMAGES} ORDER BY category"
    )
    names = dataset.query(sql)["category"].to_pylist()
    for name in sorted(set(names) - set(definition.names_by_source())):
        lesson = f"The dataset has boxes called {name!r}. By this guideline they are not labelled."
        search = Search("Not in this guideline", lesson, "true", f"{_AREA} DESC", False)
        yield from _choose(dataset, (name,), [search])


def _overlaps(dataset: Dataset, definition: DatasetDefinition) -> list[ImageExample]:
    """Return boxes that overlap most, one of each pair of categories, the worst first."""
    every = dataset.rows_where(f"{ONLY_IN_IMAGES} AND num_boxes_2d > 1")
    rows = spread_evenly(every, MAX_FRAMES_FOR_OVERLAPS)
    ours = list(definition.names_by_source())
    worst: dict[tuple[str, str], tuple[float, ImageExample]] = {}
    for row, frame in zip(rows.tolist(), dataset.iterate(rows, lidar=False), strict=True):
        if frame.boxes_2d is None:
            continue
        boxes = frame.boxes_2d.select(np.isin(frame.boxes_2d.category.astype(str), ours))
        for pair, iou, first, second in _pairs(boxes):
            if pair not in worst or iou > worst[pair][0]:
                worst[pair] = (iou, _overlap_example((pair, iou), row, boxes, (first, second)))
    ordered = sorted(worst.values(), key=lambda item: (-item[0], item[1].title))
    return [example for _, example in ordered[:MAX_OVERLAPS]]


def _pairs(boxes: Boxes2d) -> Iterator[tuple[tuple[str, str], float, int, int]]:
    """Yield categories, overlap and numbers of every pair that overlaps in one image."""
    overlap = np.triu(iou_in_image(boxes.box2d_px, boxes.box2d_px), k=1)
    overlap = overlap * (boxes.camera[:, None] == boxes.camera[None])
    for first, second in np.argwhere(overlap >= MIN_OVERLAP_IOU).tolist():
        names = sorted((str(boxes.category[first]), str(boxes.category[second])))
        yield (names[0], names[1]), float(overlap[first, second]), first, second


def _overlap_example(
    what: tuple[tuple[str, str], float], row: int, boxes: Boxes2d, pair: tuple[int, int]
) -> ImageExample:
    (one, other), iou = what
    first, second = pair
    return ImageExample(
        f"Boxes overlap: {one} and {other}",
        f"They overlap with IoU {iou:.2f}. Each object has a box of its own, also where one hides "
        "the other; two boxes of one object are a mistake.",
        row,
        tuple(boxes.box2d_px[first].tolist()),
        str(boxes.camera[first]),
        str(boxes.category[first]),
        partner_px=tuple(boxes.box2d_px[second].tolist()),
    )
