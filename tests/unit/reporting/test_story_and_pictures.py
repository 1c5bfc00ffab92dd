"""Words and pictures of the report, by hand-worked cases."""

import numpy as np
import pytest

from admlops.reporting.curves import describe_slice
from admlops.reporting.pictures import draw_from_above, draw_in_image, pair_boxes
from admlops.reporting.sources import RungView, VerificationView
from admlops.reporting.tables import count_of, make_latency_table, make_parity_table
from admlops.structures.boxes import Boxes
from admlops.structures.frame import CalibratedSensor, Frame, FrameKey, LidarSweep


def _boxes(places, names, score=None) -> Boxes:
    center = np.array([[x, y, 0.8] for x, y in places]).reshape(-1, 3)
    size = np.tile([4.0, 2.0, 1.6], (len(names), 1))
    return Boxes.make(center, size, np.zeros(len(names)), names, score=score)


def test_pairs_need_category_overlap_and_score() -> None:
    labels = _boxes([(10, 0), (20, 0), (30, 0), (40, 0)], ["car", "car", "car", "truck"])
    places = [(10.5, 0), (20, 0), (30, 0), (35, 5)]
    found = _boxes(places, ["car", "cyclist", "car", "car"], score=[0.9, 0.9, 0.1, 0.8])
    pairing = pair_boxes(labels, found, ["car"], min_score=0.3)
    assert pairing.found.tolist() == [True, False, False]
    assert pairing.right.tolist() == [True, False, False]
    assert pairing.summary == "1 of 3 labels found, 2 wrong detections"


def test_half_an_overlap_is_the_border() -> None:
    labels = _boxes([(10, 0)], ["car"])
    for shift_m, is_found in ((1.3, True), (1.4, False)):  # (4 - s) / (4 + s) >= 1/2: s <= 4/3
        found = _boxes([(10 + shift_m, 0)], ["car"], score=[1.0])
        assert pair_boxes(labels, found, ["car"], 0.3).found.tolist() == [is_found]


def test_empty_frames_are_drawn() -> None:
    empty = pair_boxes(Boxes.empty(), Boxes.empty(), [], 0.3)
    assert empty.summary == "0 of 0 labels found, 0 wrong detections"
    bare = Frame(FrameKey("l", "s", 0), "0", np.eye(4))
    assert draw_from_above(bare, [("", empty)]).startswith("data:image/png;base64,")
    assert draw_in_image(bare, empty) is None
    sweep = LidarSweep(CalibratedSensor("l", "lidar", np.eye(4)), np.zeros((0, 4), np.float32))
    hollow = Frame(FrameKey("l", "s", 0), "0", np.eye(4), lidar=sweep)
    assert draw_from_above(hollow, [("", empty), ("", empty)]).startswith("data:image/png")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("all", "everything"),
        ("range_0_20m", "0 to 20 m away"),
        ("points_1_10", "1 to 9 points"),
        ("points_200_up", "200 points or more"),
        ("occlusion_1", "partly occluded"),
        ("occlusion_7", "occlusion 7"),
        ("tag_night", "condition: night"),
        ("something_else", "something else"),
    ],
)
def test_slices_are_named_in_words(name: str, words: str) -> None:
    assert describe_slice(name) == words


def test_counts_have_a_plural() -> None:
    assert count_of(1, "frame") == "1 frame"
    assert count_of(2000, "frame") == "2,000 frames"


def test_parity_and_latency_tables() -> None:
    stage = {"p50_ms": 1.25, "p99_ms": 3.0}
    rungs = (
        RungView.parse({"name": "torch", "num_boxes": 3}),
        RungView.parse(
            {
                "name": "openvino",
                "outputs": {"a": {"max_abs": 1e-6}, "b": {"max_abs": 2e-5}},
                "match_rate": 0.5,
                "num_boxes": 4,
                "latency": {"network": stage},
            }
        ),
    )
    verification = VerificationView(rungs=rungs, served="openvino")
    parity = make_parity_table(verification)
    assert parity is not None
    assert parity.rows[0] == ("torch", "-", "-", "3", "-")
    assert parity.rows[1] == ("openvino (served)", "2.0e-05", "50.00 %", "4", "-")
    latency = make_latency_table(verification)
    assert latency is not None
    assert latency.rows == (("openvino", "1.2 / 3.0"),)
    assert make_parity_table(VerificationView()) is None
