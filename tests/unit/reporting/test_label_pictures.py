"""Pictures of labels, and what a notebook shows of values."""

import base64
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from admlops.analysis.drawing import colours_of
from admlops.reporting.labels import draw_labels_from_above, draw_labels_in_image
from admlops.reporting.notebook import MAX_ROWS, Gallery, Page, Picture, Rows
from admlops.reporting.pictures import outlines_from_above, project_edges
from admlops.structures.boxes import Boxes
from admlops.structures.frame import CalibratedSensor, CameraImage, Frame, FrameKey

EGO_FROM_CAMERA = np.array(
    [[0, 0, 1.0, 0], [-1.0, 0, 0, 0], [0, -1.0, 0, 1.0], [0, 0, 0, 1.0]], dtype=np.float64
)
CAMERA_MATRIX = np.array([[100.0, 0, 50], [0, 100.0, 50], [0, 0, 1]])


def one_box(category: str = "car") -> Boxes:
    return Boxes.make([[10.0, 2.0, 1.0]], [[4.0, 2.0, 2.0]], [0.0], [category])


def frame_with(boxes: Boxes | None, encoded: bytes) -> Frame:
    sensor = CalibratedSensor("camera_front", "camera", EGO_FROM_CAMERA, CAMERA_MATRIX)
    image = CameraImage(sensor, encoded, 100, 100)
    return Frame(FrameKey("l", "s", 0), "7", np.eye(4), camera=image, boxes=boxes)


def black_png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (100, 100)).save(file, "PNG")
    return file.getvalue()


def decode(uri: str) -> np.ndarray:
    return np.asarray(
        Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB")
    )


def test_an_outline_has_forward_up_and_left_to_the_left() -> None:
    outline, nose = outlines_from_above(one_box())
    assert sorted({tuple(point) for point in outline.tolist()}) == [
        (-3, 8),
        (-3, 12),
        (-1, 8),
        (-1, 12),
    ]
    assert nose.tolist() == [[-2, 10], [-2, 12]]


def test_edges_are_projected_by_hand_worked_numbers() -> None:
    edges = project_edges(one_box(), frame_with(None, b""))
    assert len(edges) == 12
    corners = np.unique(np.round(np.concatenate(edges), 6), axis=0)
    # the near face is 8 m away: u = 50 - 100 y / 8 for y = 1 and 3, v = 50 + 100 (1 - z) / 8
    for expected in ([37.5, 62.5], [37.5, 37.5], [12.5, 62.5], [12.5, 37.5]):
        assert np.abs(corners - expected).sum(axis=1).min() < 1e-6


def test_labels_are_drawn_in_the_colour_of_their_category() -> None:
    empty = decode(draw_labels_in_image(frame_with(Boxes.empty(), black_png())) or "")
    assert empty.max() < 20
    shown = decode(draw_labels_in_image(frame_with(one_box("car"), black_png())) or "")
    wanted = np.array([int(colours_of(["car"])["car"][i : i + 2], 16) for i in (1, 3, 5)])
    distance = np.abs(shown.astype(int) - wanted).sum(axis=2)
    rows, columns = np.nonzero(distance < 60)
    scale = shown.shape[1] / 100
    assert len(rows) > 50
    assert columns.min() / scale == pytest.approx(12.5, abs=1.5)
    assert columns.max() / scale == pytest.approx(41.7, abs=1.5)  # 50 - 100 / 12, the far face


def test_frames_without_labels_or_images_are_drawn_as_far_as_they_go() -> None:
    assert draw_labels_in_image(frame_with(one_box(), b"")) is None
    bare = Frame(FrameKey("l", "s", 0), "0", np.eye(4))
    assert draw_labels_in_image(bare) is None
    assert draw_labels_from_above(bare).startswith("data:image/png;base64,")
    assert decode(draw_labels_from_above(frame_with(one_box("crane"), b""))).shape[2] == 3


def test_pictures_and_galleries_become_images() -> None:
    assert Picture("data:x", "5px")._repr_html_() == (
        '<img src="data:x" style="width: 5px; max-width: 100%">'
    )
    assert Picture(None)._repr_html_() == "<p>nothing to draw</p>"
    html = Gallery([("<one>", "data:1"), ("two", "data:2")])._repr_html_()
    assert html.count("<img") == 2
    assert 'alt="&lt;one&gt;"' in html


def test_rows_escape_shorten_and_stop() -> None:
    table = pa.table({"name": ["<b>", None], "value": [0.123456, 2.0]})
    html = Rows.of(table)._repr_html_()
    assert "&lt;b&gt;" in html
    assert "<b>" not in html
    assert "0.1235" in html
    assert Rows.of([]).rows == ()
    many = Rows.of([{"n": i} for i in range(MAX_ROWS + 3)])
    assert "and 3 more" in many._repr_html_()
    assert many._repr_html_().count("<tr>") == MAX_ROWS + 1


def test_a_page_is_framed_without_scripts(tmp_path: Path) -> None:
    (tmp_path / "p.html").write_text('<script>alert("x")</script>')
    html = Page(tmp_path / "p.html")._repr_html_()
    assert html.startswith('<iframe sandbox="" srcdoc="&lt;script&gt;')
