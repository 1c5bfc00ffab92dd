import numpy as np
import pytest

from admlops.curation.consistency import Neighbourhood, disagreement, flicker
from admlops.curation.moments import Moments
from admlops.geometry.pose import make_transform, rotation_about_z
from admlops.structures.boxes import Boxes
from admlops.structures.frame import FrameKey

NEAR = Neighbourhood(gap_ns=600_000_000, speed_mps=10.0)


def boxes_at(*rows):
    """Boxes from (x, y, category, score)."""
    center = np.array([[x, y, 0.0] for x, y, _, _ in rows]).reshape(-1, 3)
    names, scores = [row[2] for row in rows], [row[3] for row in rows]
    return Boxes.make(center, np.ones_like(center), np.zeros(len(rows)), names, score=scores)


def moments_at(scenes, times, poses):
    keys = [FrameKey("log", scene, time) for scene, time in zip(scenes, times, strict=True)]
    return Moments.of(keys, poses)


def test_models_that_agree_do_not_differ():
    boxes = boxes_at((1.0, 2.0, "car", 0.9))
    assert disagreement(boxes, [boxes, boxes], 0.1) == 0.0
    assert disagreement(boxes, [], 0.1) == 0.0


def test_differences_are_counted_in_objects():
    one = boxes_at((0.0, 0.0, "car", 0.9), (20.0, 0.0, "cyclist", 0.4))
    other = boxes_at((0.5, 0.0, "car", 0.6), (40.0, 0.0, "car", 0.05))
    assert disagreement(one, [other], 0.1) == pytest.approx(0.3 + 0.4)
    assert disagreement(one, [other, one], 0.1) == pytest.approx(0.35)


def test_another_category_at_the_same_place_is_another_object():
    one, other = boxes_at((0.0, 0.0, "car", 0.5)), boxes_at((0.0, 0.0, "van", 0.5))
    assert disagreement(one, [other], 0.1) == 1.0


def test_a_box_that_vanishes_flickers_and_the_vehicles_own_motion_does_not():
    turned = make_transform(rotation_about_z(np.pi / 2), [5.0, 0.0, 0.0])
    poses = np.stack([np.eye(4), turned, np.eye(4)])
    seen = [
        boxes_at((5.0, 10.0, "car", 0.9), (5.0, 4.0, "car", 0.6)),
        boxes_at((10.0, 0.0, "car", 0.9)),
        boxes_at((5.0, 10.0, "car", 0.9)),
    ]
    times = [0, 100_000_000, 5_000_000_000]
    found = flicker(moments_at("aaa", times, poses), seen, NEAR)
    assert found.tolist() == [0.6, 0.6, 0.0]
    found = flicker(moments_at("abb", times, poses), seen, NEAR)
    assert found.tolist() == [0.0, 0.0, 0.0]


def test_objects_may_move_between_frames():
    seen = [boxes_at((10.0, 0.0, "car", 0.5)), boxes_at((14.0, 0.0, "car", 0.5))]
    poses = np.stack([np.eye(4)] * 2)
    slow = flicker(moments_at("aa", [0, 100_000_000], poses), seen, NEAR)
    fast = flicker(moments_at("aa", [0, 500_000_000], poses), seen, NEAR)
    assert slow.tolist() == [1.0, 1.0]
    assert fast.tolist() == [0.0, 0.0]
