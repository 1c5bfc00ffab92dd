import numpy as np
import pytest

from admlops.errors import DataError, GateError
from admlops.serving.golden import (
    Golden,
    largest_difference,
    read_goldens,
    require_equal,
    write_golden,
)
from admlops.structures.boxes import Boxes


def boxes(yaw_rad=0.5, score=0.75, category="car", x_m=10.0):
    return Boxes.make([[x_m, 2.0, 0.8]], [[4.0, 1.75, 1.5]], [yaw_rad], [category], score=[score])


def test_round_trip(tmp_path):
    points = np.arange(12, dtype=np.float32).reshape(3, 4)
    write_golden(tmp_path, Golden("frame", points, boxes()))
    write_golden(tmp_path, Golden("empty", points[:0], Boxes.empty()))
    empty, frame = read_goldens(tmp_path)
    assert (empty.name, len(empty.boxes), empty.points.shape) == ("empty", 0, (0, 4))
    np.testing.assert_array_equal(frame.points, points)
    assert largest_difference(frame.boxes, boxes()) == 0.0


def test_difference_is_the_largest_of_any_number():
    assert largest_difference(boxes(), boxes(x_m=10.25)) == 0.25
    assert largest_difference(boxes(), boxes(score=0.5)) == 0.25


def test_yaws_are_compared_on_the_circle():
    difference = largest_difference(boxes(yaw_rad=-np.pi), boxes(yaw_rad=np.pi - 0.001))
    assert difference == pytest.approx(0.001)


def test_other_counts_and_categories_are_infinitely_far():
    assert largest_difference(boxes(), Boxes.empty()) == np.inf
    assert largest_difference(boxes(), boxes(category="van")) == np.inf
    assert largest_difference(Boxes.empty(), Boxes.empty()) == 0.0


def test_boxes_of_nearly_equal_scores_may_change_places():
    two = Boxes.concatenate([boxes(x_m=10.0, score=0.5), boxes(x_m=30.0, score=0.5001)])
    assert largest_difference(two, two.select([1, 0])) == 0.0
    twice = Boxes.concatenate([boxes(x_m=10.0), boxes(x_m=10.0)])
    one_moved = Boxes.concatenate([boxes(x_m=10.0), boxes(x_m=30.0)])
    assert largest_difference(twice, one_moved) == 20.0, "a partner is taken once"


def test_a_difference_beyond_the_tolerance_fails_the_gate():
    golden = Golden("frame", np.zeros((0, 4), np.float32), boxes())
    assert require_equal(golden, boxes(score=0.7505), 1e-3) == pytest.approx(0.0005)
    with pytest.raises(GateError, match="'frame': the answer differs by 0.25"):
        require_equal(golden, boxes(score=0.5), 1e-3)


def test_a_release_without_goldens_is_refused(tmp_path):
    with pytest.raises(DataError, match="at least one golden request"):
        read_goldens(tmp_path)
