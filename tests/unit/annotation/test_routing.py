import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admlops.annotation.calibration import (
    Calibration,
    Outcomes,
    calibrate,
    find_right,
    make_monotone,
)
from admlops.annotation.routing import RoutingConfig, ask_for, expect_quality, judge, route_frame
from admlops.annotation.tracking import TrackedBoxes
from admlops.structures.boxes import Boxes
from admlops.structures.frame import FrameKey

KEY = FrameKey("log", "scene", 0)


def cars(x_m, score=None, category="car"):
    count = len(x_m)
    center = np.column_stack([x_m, np.zeros(count), np.full(count, 0.75)])
    size = np.tile([4.0, 2.0, 1.5], (count, 1))
    return Boxes.make(center, size, np.zeros(count), [category] * count, score=score)


def tracked(x_m, score, **changes):
    count = len(x_m)
    columns = {
        "agreement": np.ones(count),
        "contested": np.zeros(count, bool),
        "num_hits": np.full(count, 5),
        "is_interpolated": np.zeros(count, bool),
    }
    return TrackedBoxes(cars(x_m, score), **(columns | changes))


def test_pooling_by_hand():
    # 3 and 1 break the order: their mean is 2; with weight 3 on the first it is 2.5
    assert make_monotone(np.array([0.0, 3, 1, 4]), np.ones(4)).tolist() == [0, 2, 2, 4]
    assert make_monotone(np.array([3.0, 1]), np.array([3.0, 1])).tolist() == [2.5, 2.5]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_pooling_keeps_the_mean_and_never_falls(values):
    pooled = make_monotone(np.array(values), np.ones(len(values)))
    assert (np.diff(pooled) >= -1e-12).all()
    assert pooled.mean() == pytest.approx(np.mean(values))


def test_each_label_makes_one_box_right_and_only_of_its_category():
    boxes = Boxes.concatenate([cars([0, 0.2, 20], [0.5, 0.9, 0.8]), cars([40], [0.9], "van")])
    right = find_right(boxes, cars([0, 20.1, 40]), {"": 0.5})
    assert right.tolist() == [False, True, True, False]
    # two cars of 4 m that are 1.4 m apart share 2.6 of 5.4 m: 0.48
    assert not find_right(cars([1.4], [0.9]), cars([0]), {"": 0.5}).any()
    assert find_right(cars([1.4], [0.9]), cars([0]), {"": 0.48}).all()
    assert find_right(cars([], []), cars([]), {"": 0.5}).shape == (0,)


def test_scores_come_to_stand_for_the_share_that_is_right():
    # twenty boxes near 0.2 of which five are right, forty near 0.8 of which all are
    outcomes = Outcomes(
        category=np.array(["car"] * 60, object),
        score=np.array([0.2] * 20 + [0.8] * 40),
        is_right=np.array([True] * 5 + [False] * 15 + [True] * 40),
    )
    calibration = calibrate(outcomes, min_boxes=60)
    worth = calibration.probability(cars([0, 1, 2, 3], [0.1, 0.2, 0.5, 0.9]))
    # by Laplace 6 of 22 and 41 of 42, half of the way between them, flat outside
    assert worth == pytest.approx([6 / 22, 6 / 22, (6 / 22 + 41 / 42) / 2, 41 / 42])
    assert calibrate(outcomes, min_boxes=61).curves == {}
    assert calibration.probability(cars([0], [0.3], "van")).tolist() == [0.3]


def test_boxes_are_routed_by_probability():
    frame = route_frame(
        KEY, tracked([0, 10, 20, 30], [0.95, 0.6, 0.3, 0.1]), Calibration(), RoutingConfig()
    )
    assert frame.routes.tolist() == [0, 1, 2]  # the weakest is ignored
    assert frame.route == "ask"
    assert frame.prelabels.center_m[:, 0].tolist() == [0, 10]
    assert json.loads(frame.prelabels.attributes[0]) == {"auto": True, "auto_confidence": 0.95}
    assert frame.accepted.center_m[:, 0].tolist() == [0]
    assert np.isnan(frame.accepted.score).all()


@pytest.mark.parametrize(
    ("changes", "route"),
    [
        ({}, "accept"),
        ({"agreement": np.array([0.5])}, "review"),
        ({"num_hits": np.array([2])}, "review"),
        ({"contested": np.array([True])}, "review"),
        ({"is_interpolated": np.array([True])}, "review"),
    ],
)
def test_a_certain_box_needs_agreement_a_track_and_its_place_alone(changes, route):
    frame = route_frame(KEY, tracked([0], [0.95], **changes), Calibration(), RoutingConfig())
    assert frame.route == route


def test_thresholds_go_by_category_and_calibrated_score():
    config = RoutingConfig(accept={"car": 0.99, "": 0.5})
    assert route_frame(KEY, tracked([0], [0.95]), Calibration(), config).route == "review"
    curve = (np.array([0.0, 1.0]), np.array([0.99, 0.995]))
    calibration = Calibration({"car": curve})
    assert route_frame(KEY, tracked([0], [0.95]), calibration, config).route == "accept"


def test_a_frame_in_which_nothing_is_found_is_looked_at():
    frame = route_frame(KEY, tracked([], []), Calibration(), RoutingConfig())
    assert frame.route == "review"
    assert ask_for(frame).reason == "no model shows anything"


def test_a_request_says_what_to_expect():
    frame = route_frame(KEY, tracked([0, 10, 20], [0.95, 0.6, 0.3]), Calibration(), RoutingConfig())
    asked = ask_for(frame)
    # one minus 0.6 that the second is wrong, 0.3 that the third is an object
    assert asked.score == pytest.approx(0.7)
    assert asked.expected_boxes == pytest.approx(1.85)
    assert asked.signals == pytest.approx({"ask": 1 / 3, "review": 1 / 3})
    assert asked.reason == "1 car uncertain; 1 car to correct"


def test_quality_is_told_by_scenes_that_did_not_teach():
    config = RoutingConfig(min_judged=20)
    found, labels = {}, {}
    for scene in ("a", "b", "c", "d"):
        for time in range(20):
            key = FrameKey("log", scene, time)
            found[key] = tracked([0, 20], [0.8, 0.5])
            # strong boxes are right except in one frame of the last scene, weak ones are wrong
            labels[key] = cars([100 if (scene, time) == ("d", 0) else 0])
    quality = expect_quality(found, labels, config)
    assert (quality.num_labels, quality.num_accepted, quality.num_right) == (80, 80, 79)
    assert quality.scores()["expected_precision"] == pytest.approx(79 / 80)
    alone = {key: boxes for key, boxes in labels.items() if key.scene == "a"}
    assert expect_quality(found, alone, config).scores() == {}
    outcomes = judge(list(found.values()), list(labels.values()), config)
    assert outcomes.is_right.sum() == 79
