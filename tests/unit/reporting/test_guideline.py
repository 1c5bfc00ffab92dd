"""The guideline: complete in itself, the same bytes each time, and true to the definition."""

import base64
import io
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from admlops.annotation.definition import DatasetDefinition, load_definition
from admlops.annotation.labelling_rules import LabellingRules
from admlops.lake.store import Dataset
from admlops.reporting.example_pictures import draw_example
from admlops.reporting.guideline import CHAPTERS, Evidence, collect_evidence, render_guideline
from admlops.reporting.schematics import draw_conventions, draw_rules
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import CalibratedSensor, CameraImage, Frame, FrameKey, LidarSweep

EGO_FROM_CAMERA = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, 0, 1.0]])
CATEGORIES = ("car", "pedestrian")
URBAN = load_definition("urban_lidar")
DEFINITION = URBAN.replace(
    categories=[item for item in URBAN.to_json_dict()["categories"] if item["name"] in CATEGORIES],
    attributes=[
        {**item.to_json_dict(), "categories": [n for n in item.categories if n in CATEGORIES]}
        for item in URBAN.attributes
    ],
    rules={},
    requirement={"rows": [{"categories": ["car"]}]},
)


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_data(self, data: str) -> None:
        self.words += data


def make_frame() -> Frame:
    random = np.random.default_rng(0)
    points = random.uniform([5, -5, 0, 0], [25, 5, 2, 1], (2000, 4)).astype(np.float32)
    buffer = io.BytesIO()
    Image.new("RGB", (320, 200), "gray").save(buffer, format="JPEG")
    camera = CalibratedSensor(
        "camera_front",
        "camera",
        EGO_FROM_CAMERA,
        np.array([[200.0, 0, 160], [0, 200.0, 100], [0, 0, 1]]),
    )
    boxes = Boxes.make(
        [[12.0, 0, 0.75], [20.0, 3, 0.9], [-20.0, 3, 0.9]],
        [[4.2, 1.8, 1.5], [0.7, 0.6, 1.8], [4.2, 1.8, 1.5]],
        [0.1, 1.0, 0.0],
        ["car", "pedestrian", "car"],
        num_points=[50, 7, 8],
    )
    return Frame(
        FrameKey("log", "scene", 0),
        "000000",
        np.eye(4),
        lidar=LidarSweep(CalibratedSensor("lidar_top", "lidar", np.eye(4)), points),
        camera=CameraImage(camera, buffer.getvalue(), 320, 200),
        boxes=boxes,
    )


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    lake = Dataset.create(str(tmp_path_factory.mktemp("guideline") / "lake"), licences=["CC0-1.0"])
    lake.append([make_frame()])
    return lake


@pytest.fixture(scope="module")
def text(dataset: Dataset) -> str:
    return render_guideline(DEFINITION, collect_evidence(dataset, DEFINITION))


def test_the_page_is_complete_in_itself(dataset: Dataset, text: str) -> None:
    page = Page(text)
    assert all(address.startswith(("data:image/", "#")) for address in page.addresses)
    assert {item[1:] for item in page.addresses if item.startswith("#")} <= set(page.ids)
    assert not {"script", "link", "iframe"} & page.tags
    assert set(page.ids) >= {anchor for anchor, _ in CHAPTERS}
    assert str(dataset.uri) not in page.words  # a vendor need not know where the lake is


def test_the_page_says_what_the_definition_says(text: str) -> None:
    words = " ".join(Page(text).words.split())
    for item in DEFINITION.categories:
        assert item.description in words
    for item in DEFINITION.attributes:
        assert item.description in words
    assert "at most 10 cm" in words
    assert "12 m away, 50 points, 4.2 x 1.8 x 1.5 m" in words
    assert "lake@" in words
    assert "CC0-1.0" in words


def test_the_same_input_gives_the_same_bytes(dataset: Dataset, text: str) -> None:
    assert render_guideline(DEFINITION, collect_evidence(dataset, DEFINITION)) == text


def test_a_definition_alone_makes_a_guideline_too() -> None:
    small = {"name": "a<b", "version": "1", "categories": [{"name": "car", "description": "<i>"}]}
    text = render_guideline(DatasetDefinition.parse(small), Evidence())
    assert "a&lt;b" in text
    assert "&lt;i&gt;" in text
    assert "No counts are required." in text
    assert "Name a dataset for examples." in text


def test_what_is_drawn_in_images_is_told_where_it_is_asked_for() -> None:
    asked = DEFINITION.acceptance.replace(formats=["coco", "bdd100k"]).model_dump()
    limits = DEFINITION.rules.replace(min_height_px=17).model_dump()
    images = DEFINITION.replace(shapes=["image_box"], acceptance=asked, rules=limits)
    both = images.replace(shapes=["space_box", "image_box"])
    only, all_of_it, space = (
        " ".join(Page(render_guideline(item, Evidence())).words.split())
        for item in (images, both, DEFINITION)
    )
    for words in (only, all_of_it):
        assert "at least 17 px high" in words
        assert "0.7 in images" in words
        assert "COCO or BDD100K" in words
        assert "coco.json" in words
    assert "lidar points of this sweep" not in only
    assert "lidar points of this sweep" in all_of_it
    assert "have the same track id" in all_of_it
    assert "px high" not in space


def test_the_box_in_the_image_is_shown_beside_the_one_in_space() -> None:
    frame = make_frame()
    assert frame.boxes is not None
    named = frame.boxes.replace(track_id=np.array(["7", "8", "9"], dtype=object))
    in_image = Boxes2d.make([[120.0, 80.0, 200.0, 130.0]] * 2, ["car"] * 2, track_id=["7", "5"])
    without = draw_example(replace(frame, boxes=named), 0)
    shown = draw_example(replace(frame, boxes=named, boxes_2d=in_image), 0)
    assert shown != without
    assert draw_example(replace(frame, boxes=named, boxes_2d=in_image), 1) == draw_example(
        replace(frame, boxes=named), 1
    )


def decode(uri: str) -> Image.Image:
    head, _, body = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(body)))


def test_pictures_of_boxes_that_no_image_shows() -> None:
    frame = make_frame()
    seen, behind = decode(draw_example(frame, 0)), decode(draw_example(frame, 2))
    assert seen.size == behind.size
    right = (seen.width // 2, 0, seen.width, seen.height)
    grey = [np.asarray(image.crop(right).convert("L")) for image in (seen, behind)]
    assert (grey[0] < 200).mean() > 0.4  # the camera image
    assert (grey[1] < 200).mean() < 0.05  # only words


def test_schematics_follow_the_rules() -> None:
    usual = draw_rules(LabellingRules())
    assert usual == draw_rules(LabellingRules())
    assert usual != draw_rules(LabellingRules(articulated="one_box"))
    assert usual != draw_rules(LabellingRules(occluded="visible_part"))
    assert usual != draw_rules(LabellingRules(margin_m=0.25))
    assert draw_conventions().startswith("data:image/svg+xml;base64,")
