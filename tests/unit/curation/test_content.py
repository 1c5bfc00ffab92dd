import numpy as np
import pytest

from admlops.curation.content import Judged, expect_content, regress, sum_scores
from admlops.curation.needs import Need, expect_supply
from admlops.structures.boxes import Boxes


def boxes_of(*groups, x_m=0.0):
    """Boxes from (category, scores) pairs."""
    names = [name for name, scores in groups for _ in scores]
    scores = [score for _, scores in groups for score in scores]
    center = np.zeros((len(names), 3))
    center[:, 0] = x_m
    return Boxes.make(center, np.ones_like(center), np.zeros(len(names)), names, score=scores)


def test_sums_of_scores_and_of_their_squares():
    boxes = boxes_of(("car", [0.5, 0.5, 0.05]), ("cyclist", [0.2]))
    found = sum_scores([boxes, Boxes.empty()], ["car", "cyclist"], min_score=0.1)
    assert found == pytest.approx(np.array([[1.0, 0.2, 0.5, 0.04], [0.0] * 4]))


def test_regression_finds_a_line_and_shrinks_it_towards_the_mean():
    known = np.arange(100.0)[:, None]
    target = 3.0 * known + 1.0
    found = regress(known, target, np.array([[10.0], [200.0]]))
    slope = 100.0 / 101.0  # of 100 frames with unit variance, beside a penalty of 1
    assert found[:, 0] == pytest.approx(149.5 + 3.0 * slope * np.array([-39.5, 150.5]))


def test_features_that_never_vary_say_nothing():
    found = regress(np.ones((5, 2)), np.arange(5.0)[:, None], np.full((1, 2), 7.0))
    assert found.tolist() == [[2.0]]


def test_a_detector_that_takes_cyclists_for_pedestrians_is_corrected():
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 6, 60)
    predicted = [boxes_of(("pedestrian", [0.3] * n), ("car", [0.9])) for n in counts]
    labels = [boxes_of(("cyclist", [np.nan] * n), ("car", [np.nan])) for n in counts]
    content = expect_content(
        predicted[:2], ["car", "cyclist", "pedestrian"], Judged(predicted, labels), (0.1, 0.3)
    )
    assert content.boxes[:, 1] == pytest.approx(counts[:2], abs=0.2)
    assert content.boxes[:, 2] == pytest.approx([0.0, 0.0])
    assert content.cost == pytest.approx(counts[:2] + 1.0, abs=0.2)


def test_without_judged_frames_scores_are_taken_as_they_are():
    content = expect_content(
        [boxes_of(("car", [0.9, 0.2, 0.05]))], ["car"], Judged([], []), (0.1, 0.3)
    )
    assert content.boxes.tolist() == [[pytest.approx(1.1)]]
    assert content.cost.tolist() == [1.0]


def test_supply_follows_distance_condition_and_category():
    near, far = boxes_of(("car", [0.5]), x_m=5.0), boxes_of(("car", [0.5]), x_m=30.0)
    content = expect_content([near, far, near], ["car"], Judged([], []), (0.1, 0.3))
    needs = [
        Need("car", (0.0, 20.0), frozenset({"rain"}), 10.0),
        Need("tram", (0.0, 20.0), frozenset(), 10.0),
    ]
    frames = [(("log", "a"), ["rain"]), (("log", "b"), ["rain"]), (("log", "a"), ["night"])]
    supply = expect_supply(needs, content, [near, far, near], frames)
    assert supply[0, 0] > 0.4 > 0.05 > supply[1, 0] > 0
    assert supply[2, 0] == 0.0
    assert supply[:, 1].tolist() == [0.0, 0.0, 0.0]


def test_missing_scenes_are_supplied_by_new_ones_only():
    crowd = [boxes_of(("car", [0.9, 0.9, 0.9]), x_m=5.0)] * 2
    content = expect_content(crowd, ["car"], Judged([], []), (0.1, 0.3))
    need = Need("car", (0.0, 20.0), frozenset(), 2.0, frozenset({("log", "a")}))
    supply = expect_supply([need], content, crowd, [(("log", "a"), []), (("log", "b"), [])])
    assert supply.tolist() == [[0.0], [1.0]]
