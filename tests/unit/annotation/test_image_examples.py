"""Examples from boxes in images: each kind finds the box that was made for it."""

from pathlib import Path

import numpy as np
import pytest

from admlops.annotation.definition import DatasetDefinition
from admlops.annotation.image_examples import (
    MAX_OVERLAPS,
    choose_image_edge_cases,
    choose_image_examples,
    choose_image_overview,
)
from admlops.formats.source import read_all
from admlops.lake.store import Dataset
from admlops.steps.sources import open_source
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.finding import Finding
from admlops.structures.frame import CalibratedSensor, CameraImage, Frame, FrameKey

CATEGORIES = [
    {"name": "car", "description": "a car"},
    {"name": "pedestrian", "description": "a person", "min_height_px": 0},
]
DEFINITION = DatasetDefinition.parse(
    {
        "name": "small",
        "version": "1",
        "categories": CATEGORIES,
        "shapes": ["image_box"],
        "rules": {"min_height_px": 20},
    }
)
CAMERA = CalibratedSensor("camera_front", "camera", np.eye(4))


def make_frame(
    timestamp_ns: int,
    *rows: tuple,
    tags: tuple[str, ...] = (),
    in_space: Boxes | None = None,
    attributes: str = "",
) -> Frame:
    """Rows are category, left, top, width, height and, or not, occlusion, truncation, camera."""
    full = [(*row, *(-1, np.nan, "")[len(row) - 5 :]) for row in rows]
    boxes = Boxes2d.make(
        [[left, top, left + width, top + height] for _, left, top, width, height, *_ in full],
        [row[0] for row in full],
        occlusion=[row[5] for row in full],
        truncation=[row[6] for row in full],
        camera=np.array([row[7] for row in full], dtype=object),
        attributes=np.array([attributes] * len(full), dtype=object),
    )
    return Frame(
        FrameKey("log", "scene", timestamp_ns),
        str(timestamp_ns),
        np.eye(4),
        camera=CameraImage(CAMERA, b"", 640, 480),
        boxes=in_space,
        boxes_2d=boxes,
        tags=tags,
    )


def lake_of(folder: Path, *frames: Frame) -> Dataset:
    lake = Dataset.create(str(folder / "lake"))
    lake.append(frames)
    return lake


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return lake_of(
        tmp_path,
        make_frame(0, ("car", 100, 100, 200, 120), ("car", 400, 300, 60, 22)),
        make_frame(1, ("car", 50, 50, 90, 60, 2), ("car", 500, 200, 140, 90)),
        make_frame(2, ("car", 300, 200, 30, 19), ("car", 300, 250, 20, 8)),
        make_frame(3, ("car", 100, 100, 300, 200), tags=("night",)),
        make_frame(4, ("pedestrian", 100, 100, 10, 30), ("pedestrian", 200, 100, 3, 6)),
    )


def test_each_kind_shows_the_box_that_was_made_for_it(dataset: Dataset) -> None:
    found = {item.title: item for item in choose_image_examples(dataset, DEFINITION)["car"]}
    assert {title: (item.row, item.box2d_px) for title, item in found.items()} == {
        "Clearly visible": (0, (100.0, 100.0, 300.0, 220.0)),  # the largest one is at night
        "Hidden in part": (1, (50.0, 50.0, 140.0, 110.0)),
        "Cut by the border of the image": (1, (500.0, 200.0, 640.0, 290.0)),
        "Just high enough": (0, (400.0, 300.0, 460.0, 322.0)),
        "Not high enough": (2, (300.0, 200.0, 330.0, 219.0)),
    }
    assert [item.title for item in found.values() if not item.is_labelled] == ["Not high enough"]
    assert "20 px" in found["Not high enough"].lesson


def test_without_a_least_height_the_smallest_is_shown(dataset: Dataset) -> None:
    found = {item.title: item for item in choose_image_examples(dataset, DEFINITION)["pedestrian"]}
    assert {title: item.box2d_px[0] for title, item in found.items()} == {
        "Clearly visible": 100.0,
        "Small": 200.0,
    }


@pytest.mark.parametrize(
    ("row", "attributes", "is_cut"),
    [
        (("car", 100, 100, 90, 90, 0, 0.3), "", True),  # the share outside is told
        (("car", 100, 100, 90, 90, 0, np.nan), '{"truncated": true}', True),  # that it is cut
        (("car", 0, 100, 90, 90, 0, np.nan), "", True),  # nothing, but the box ends at the border
        (("car", 100, 388, 90, 90, 0, np.nan), "", True),
        (("car", 0, 100, 90, 90, 0, 0.0), "", False),  # it ends there, and is told to be whole
        (("car", 100, 100, 90, 90, 0, np.nan), '{"truncated": false}', False),
    ],
)
def test_what_is_cut_is_told_by_the_data_or_the_border(
    tmp_path: Path, row: tuple, attributes: str, is_cut: bool
) -> None:
    lake = lake_of(tmp_path, make_frame(0, row, attributes=attributes))
    titles = [item.title for item in choose_image_examples(lake, DEFINITION)["car"]]
    assert ("Cut by the border of the image" in titles) == is_cut


def test_frames_with_boxes_in_space_are_left_to_those(tmp_path: Path) -> None:
    in_space = Boxes.make([[10, 0, 1]], [[4, 2, 1.5]], [0.0], ["car"])
    rows = (("car", 100, 100, 200, 120), ("car", 110, 100, 200, 120), ("tank", 0, 0, 50, 50))
    lake = lake_of(tmp_path, make_frame(0, *rows, in_space=in_space))
    assert choose_image_examples(lake, DEFINITION) == {"car": [], "pedestrian": []}
    assert choose_image_edge_cases(lake, DEFINITION) == []
    assert choose_image_overview(lake, DEFINITION) is None


def test_boxes_that_overlap_are_edge_cases_one_of_each_pair(tmp_path: Path) -> None:
    """Of 100 x 100 px, shifted by 20: 8000 / 12000; by 50: 5000 / 15000."""
    lake = lake_of(
        tmp_path,
        make_frame(0, ("car", 100, 100, 100, 100), ("car", 120, 100, 100, 100)),
        make_frame(1, ("car", 100, 100, 100, 100), ("car", 150, 100, 100, 100)),
        make_frame(2, ("car", 100, 100, 100, 100), ("pedestrian", 150, 100, 100, 100)),
        make_frame(3, ("car", 100, 100, 100, 100), ("car", 190, 100, 100, 100)),
        make_frame(4, ("car", 9, 9, 50, 50), ("car", 9, 9, 50, 50, -1, np.nan, "camera_left")),
    )
    first, second = choose_image_edge_cases(lake, DEFINITION)
    assert (first.title, first.row) == ("Boxes overlap: car and car", 0)
    assert "IoU 0.67" in first.lesson
    assert first.partner_px == (120.0, 100.0, 220.0, 200.0)
    assert (second.title, second.row) == ("Boxes overlap: car and pedestrian", 2)


def test_there_are_not_too_many_overlaps(tmp_path: Path) -> None:
    names = [f"kind_{number}" for number in range(6)]
    definition = DEFINITION.replace(categories=[{"name": n, "description": n} for n in names])
    lake = lake_of(tmp_path, make_frame(0, *((name, 100, 100, 90, 90) for name in names)))
    assert len(choose_image_edge_cases(lake, definition)) == MAX_OVERLAPS


def test_unknown_categories_are_edge_cases(tmp_path: Path) -> None:
    rows = (("tank", 10, 10, 20, 20), ("tank", 100, 10, 90, 90))
    (found,) = choose_image_edge_cases(lake_of(tmp_path, make_frame(0, *rows)), DEFINITION)
    assert (found.title, found.is_labelled) == ("Not in this guideline", False)
    assert found.box2d_px[0] == 100.0


def test_the_overview_is_the_image_with_most_categories_by_day(dataset: Dataset) -> None:
    assert choose_image_overview(dataset, DEFINITION) == (0, "")
    both = (("car", 9, 9, 50, 50, -1, np.nan, "camera_left"),)
    both += (("pedestrian", 99, 9, 50, 50, -1, np.nan, "camera_left"),)
    dataset.append([make_frame(8, *both, tags=("night",)), make_frame(9, *both)])
    assert choose_image_overview(dataset, DEFINITION) == (6, "camera_left")


def test_examples_of_a_real_image(real_data: Path, tmp_path: Path) -> None:
    """Image 0000f77c-6257be58 has two cars and, cut by its corner, one sign labelled twice."""
    source = real_data / "bdd100k"
    if not source.is_dir():
        pytest.skip(f"no {source}")
    frames = [item for item in read_all(open_source(source)) if not isinstance(item, Finding)]
    lake = lake_of(tmp_path, *frames)
    definition = DEFINITION.replace(
        categories=[
            {"name": "car", "description": "a car"},
            {"name": "sign", "description": "a sign", "aliases": ["traffic sign"]},
        ]
    )
    examples = choose_image_examples(lake, definition)
    assert [item.title for item in examples["car"]] == ["Clearly visible"]
    assert [item.title for item in examples["sign"]] == [
        "Clearly visible",
        "Cut by the border of the image",
    ]
    overlap, unknown = choose_image_edge_cases(lake, definition)
    assert overlap.title == "Boxes overlap: traffic sign and traffic sign"
    assert "IoU 0.90" in overlap.lesson
    assert (unknown.category, unknown.is_labelled) == ("traffic light", False)
