"""The guideline of a dataset with boxes in images alone: drawn in the image, told in pixels."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from admlops.annotation.definition import DatasetDefinition
from admlops.annotation.image_examples import ImageExample
from admlops.lake.store import Dataset
from admlops.reporting.guideline import Evidence, collect_evidence, render_guideline
from admlops.reporting.image_example_pictures import camera_of, draw_image_example
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import CalibratedSensor, CameraImage, Frame, FrameKey

DEFINITION = DatasetDefinition.parse(
    {
        "name": "images",
        "version": "1",
        "categories": [{"name": "car", "description": "a car"}],
        "shapes": ["image_box"],
    }
)
GREEN = np.array([11, 122, 83])
ORANGE = np.array([224, 123, 0])


def make_image(name: str, size_px: tuple[int, int] = (640, 360)) -> CameraImage:
    buffer = io.BytesIO()
    Image.new("RGB", size_px, (120, 120, 160)).save(buffer, format="PNG")
    return CameraImage(CalibratedSensor(name, "camera", np.eye(4)), buffer.getvalue(), *size_px)


def make_frame(size_px: tuple[int, int] = (640, 360)) -> Frame:
    boxes = Boxes2d.make(
        [[100, 100, 200, 180], [150, 110, 260, 190], [300, 40, 330, 60], [10, 10, 90, 60]],
        ["car", "car", "car", "car"],
        camera=np.array(["", "", "", "camera_left"], dtype=object),
        occlusion=[0, 2, 0, 0],
        truncation=[np.nan, np.nan, 0.4, np.nan],
    )
    return Frame(
        FrameKey("log", "scene", 0),
        "000000",
        np.eye(4),
        camera=make_image("camera_front", size_px),
        other_cameras=(make_image("camera_left"),),
        boxes_2d=boxes,
    )


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    lake = Dataset.create(str(tmp_path_factory.mktemp("images") / "lake"), licences=["CC0-1.0"])
    lake.append([make_frame()])
    return lake


def pixels_of(uri: str) -> np.ndarray:
    head, _, body = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(body))), dtype=int)


def columns_of(pixels: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Return where from left to right, as a share, a colour is."""
    is_there = (np.abs(pixels - colour) < 40).all(axis=-1).any(axis=0)
    return np.flatnonzero(is_there) / pixels.shape[1]


def test_the_page_tells_boxes_in_pixels(dataset: Dataset) -> None:
    evidence = collect_evidence(dataset, DEFINITION)
    titles = [item.example.title for item in evidence.examples_of("car")]
    assert titles == [
        "Clearly visible",
        "Hidden in part",
        "Cut by the border of the image",
    ]
    facts = [item.facts for item in evidence.examples_of("car")]
    assert facts == [
        "100 x 80 px, 2 other boxes in the image",
        "110 x 80 px, largely occluded, 2 other boxes in the image",
        "30 x 20 px, 40% outside the image, 2 other boxes in the image",
    ]
    assert evidence.image_sizes["car"].num_boxes == 4
    assert evidence.image_sizes["car"].height_px[1] == pytest.approx(65.0)  # of 20, 50, 80, 80
    text = render_guideline(DEFINITION, evidence)
    for words in ("100 x 80 px", "A labelled image", "4 labelled", "Boxes overlap: car and car"):
        assert words in text
    for words in ("typical, m", "from points", "From above", "5 or more, up to", "out of range"):
        assert words not in text
    assert render_guideline(DEFINITION, collect_evidence(dataset, DEFINITION)) == text


def test_a_guideline_for_boxes_in_space_says_why_there_are_none(dataset: Dataset) -> None:
    in_space = DEFINITION.replace(shapes=["space_box"])
    evidence = collect_evidence(dataset, in_space)
    assert (evidence.unasked, evidence.examples_of("car")) == (1, [])
    text = render_guideline(in_space, evidence)
    assert "1 frame of the dataset has boxes in images alone" in text
    assert "boxes in images alone" not in render_guideline(in_space, Evidence())


def test_both_panels_show_the_box_where_it_is() -> None:
    frame = make_frame()
    assert frame.camera is not None
    box = (100.0, 100.0, 200.0, 180.0)
    example = ImageExample("title", "lesson", 0, box, "", "car")
    columns = columns_of(pixels_of(draw_image_example(frame, frame.camera, example)), GREEN)
    whole, close = columns[columns < 0.5], columns[columns > 0.5]
    # In the whole image it lies at 100 to 200 of 640 px of a panel that is half as wide.
    assert 100 / 640 / 2 - 0.02 < whole.min() < 100 / 640 / 2 + 0.02
    assert 200 / 640 / 2 - 0.02 < whole.max() < 200 / 640 / 2 + 0.02
    assert close.max() - close.min() > 2 * (whole.max() - whole.min())


def test_the_other_box_of_an_overlap_is_orange() -> None:
    frame = make_frame()
    assert frame.camera is not None
    box, partner = (100.0, 100.0, 200.0, 180.0), (150.0, 110.0, 260.0, 190.0)
    alone = ImageExample("title", "lesson", 0, box, "", "car")
    both = ImageExample("title", "lesson", 0, box, "", "car", partner_px=partner)
    without, with_partner = (
        columns_of(pixels_of(draw_image_example(frame, frame.camera, item)), ORANGE)
        for item in (alone, both)
    )
    assert len(without) == 0
    assert len(with_partner) > 0


def test_a_tall_box_of_an_upright_image_is_whole_in_the_close_up() -> None:
    frame = make_frame((240, 400))
    assert frame.camera is not None
    example = ImageExample("title", "lesson", 0, (40.0, 20.0, 150.0, 380.0), "", "car")
    pixels = pixels_of(draw_image_example(frame, frame.camera, example))
    right = pixels[:, pixels.shape[1] // 2 :]
    rows = np.flatnonzero((np.abs(right - GREEN) < 40).all(axis=-1).sum(axis=1) > 20)
    assert rows.max() - rows.min() > 0.6 * len(pixels)


def test_a_box_is_drawn_in_the_image_of_its_camera() -> None:
    frame = make_frame()
    front, left = camera_of(frame, ""), camera_of(frame, "camera_left")
    assert front is frame.camera
    assert camera_of(frame, "camera_front") is frame.camera
    assert left is frame.other_cameras[0]
    assert camera_of(frame, "camera_back") is None


def test_examples_whose_image_is_absent_are_left_out(tmp_path: Path) -> None:
    frame = make_frame()
    assert frame.camera is not None
    bare = CameraImage(frame.camera.sensor, b"", 640, 360)
    lake = Dataset.create(str(tmp_path / "lake"))
    boxes = frame.boxes_2d
    assert boxes is not None
    front = boxes.select(boxes.camera == "")
    lake.append([Frame(frame.key, "0", np.eye(4), camera=bare, boxes_2d=front)])
    evidence = collect_evidence(lake, DEFINITION)
    assert evidence.examples_of("car") == []
    assert evidence.overview == ("", "")
    assert "The dataset holds no example." in render_guideline(DEFINITION, evidence)
