"""Examples are chosen by the data: each kind finds the box that was made for it."""

from pathlib import Path

import numpy as np
import pytest

from admlops.annotation.definition import DatasetDefinition
from admlops.annotation.examples import (
    Example,
    choose_edge_cases,
    choose_examples,
    choose_overview,
)
from admlops.lake.store import Dataset
from admlops.structures.boxes import Boxes
from admlops.structures.frame import Frame, FrameKey

DEFINITION = DatasetDefinition.parse(
    {
        "name": "small",
        "version": "1",
        "categories": [
            {
                "name": "car",
                "description": "a car",
                "size": {"length_m": [3, 6], "width_m": [1.4, 2.2], "height_m": [1.2, 2.2]},
            },
            {"name": "pedestrian", "description": "a person", "is_vulnerable": True},
        ],
    }
)
CAR = (4.0, 1.8, 1.5)


def make_frame(timestamp_ns: int, *rows: tuple, tags: tuple[str, ...] = ()) -> Frame:
    """Rows are category, x, y, number of points, occlusion, truncation and, or not, size."""
    boxes = Boxes.make(
        [[row[1], row[2], 0.8] for row in rows],
        [row[6] if len(row) > 6 else CAR for row in rows],
        np.zeros(len(rows)),
        [row[0] for row in rows],
        num_points=[row[3] for row in rows],
        occlusion=[row[4] for row in rows],
        truncation=[row[5] for row in rows],
    )
    key = FrameKey("log", "scene", timestamp_ns)
    return Frame(key, str(timestamp_ns), np.eye(4), boxes=boxes, tags=tags)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    lake = Dataset.create(str(tmp_path / "lake"))
    lake.append(
        [
            make_frame(0, ("car", 10, 0, 500, 0, 0.0), ("car", 70, 0, 9, 0, 0.0)),
            make_frame(1, ("car", 20, 5, 80, 2, 0.0), ("car", 5, -5, 90, 0, 0.6)),
            make_frame(2, ("car", 50, 5, 6, 1, 0.0), ("car", 60, 5, 3, 0, 0.0)),
            make_frame(3, ("car", 12, 0, 900, 0, 0.0), tags=("night",)),
        ]
    )
    return lake


def test_each_kind_shows_the_box_that_was_made_for_it(dataset: Dataset) -> None:
    found = {item.title: item for item in choose_examples(dataset, DEFINITION)["car"]}
    assert {title: (item.row, item.center_m[0]) for title, item in found.items()} == {
        "Clearly visible": (0, 10.0),  # the one with most points is at night
        "Hidden in part": (1, 20.0),
        "Cut by the border of the view": (1, 5.0),
        "Far away": (0, 70.0),
        "Just enough points": (2, 50.0),
        "Too few points": (2, 60.0),
    }
    assert [title for title, item in found.items() if not item.is_labelled] == ["Too few points"]


def test_categories_without_boxes_have_no_examples(dataset: Dataset) -> None:
    assert choose_examples(dataset, DEFINITION)["pedestrian"] == []


def test_ordinary_boxes_are_no_edge_cases(dataset: Dataset) -> None:
    assert choose_edge_cases(dataset, DEFINITION) == []


@pytest.mark.parametrize(
    ("rows", "title", "x_m"),
    [
        ([("car", 10, 0, 9, 0, 0.0), ("car", 13, 0, 9, 0, 0.0)], "overlap: car and car", 10.0),
        ([("car", 90, 0, 9, 0, 0.0)], "Out of range", 90.0),
        ([("car", 9, 0, 9, 0, 0.0, (7.0, 1.8, 1.5))], "Unusual length", 9.0),
        ([("car", 9, 0, 9, 0, 0.0, (4.0, 1.8, 1.1))], "Unusual height", 9.0),
        ([("tank", 9, 0, 9, 0, 0.0)], "Not in this guideline", 9.0),
        (
            [("pedestrian", 9, y, 9, 0, 0.0, (0.5, 0.5, 1.7)) for y in (0, 0.8, 3)],
            "Close together: two of pedestrian",
            9.0,
        ),
    ],
)
def test_each_edge_case_is_found(
    dataset: Dataset, rows: list[tuple], title: str, x_m: float
) -> None:
    dataset.append([make_frame(9, *rows)])
    (found,) = choose_edge_cases(dataset, DEFINITION)
    assert isinstance(found, Example)
    assert title in found.title
    assert (found.row, found.center_m[0]) == (4, x_m)


def test_a_dataset_without_labels_gives_none(tmp_path: Path) -> None:
    lake = Dataset.create(str(tmp_path / "lake"))
    lake.append([Frame(FrameKey("log", "scene", 0), "0", np.eye(4))])
    assert choose_examples(lake, DEFINITION) == {"car": [], "pedestrian": []}
    assert choose_edge_cases(lake, DEFINITION) == []
    assert choose_overview(lake, DEFINITION) is None


def test_the_overview_shows_most_categories_by_day(dataset: Dataset) -> None:
    assert choose_overview(dataset, DEFINITION) == 0
    both = (("car", 10, 0, 9, 0, 0.0), ("pedestrian", 20, 0, 9, 0, 0.0))
    dataset.append([make_frame(8, *both, tags=("night",)), make_frame(9, *both)])
    assert choose_overview(dataset, DEFINITION) == 5
