import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from admlops.curation.signals import (
    box_uncertainty,
    failure_density,
    frame_uncertainty,
    rank,
    squared_distances,
)
from admlops.structures.boxes import Boxes


def predictions(scores, categories=None):
    count = len(scores)
    return Boxes.make(
        np.zeros((count, 3)),
        np.ones((count, 3)),
        np.zeros(count),
        categories or ["car"] * count,
        score=scores,
    )


def test_entropy_of_a_coin():
    found = box_uncertainty(np.array([0.5, 0.25, 0.0, 1.0]), "entropy", 0.5)
    assert found == pytest.approx([1.0, 0.811278, 0.0, 0.0], abs=1e-6)


def test_margin_peaks_at_the_threshold():
    found = box_uncertainty(np.array([0.2, 0.1, 0.6, 0.0, 1.0]), "margin", 0.2)
    assert found == pytest.approx([1.0, 0.5, 0.5, 0.0, 0.0])


@given(st.lists(st.floats(0, 1), max_size=20), st.sampled_from(["entropy", "margin"]))
def test_uncertainty_is_a_share(scores, measure):
    found = box_uncertainty(np.array(scores), measure, 0.3)
    assert ((found >= 0) & (found <= 1)).all()


@pytest.mark.parametrize(
    ("aggregate", "expected"), [("sum", 1.811278), ("mean", 0.905639), ("max", 1.0)]
)
def test_a_frames_doubt_is_made_of_its_boxes(aggregate, expected):
    boxes = predictions([0.5, 0.25, 0.01])
    assert frame_uncertainty(boxes, aggregate=aggregate) == pytest.approx(expected, abs=1e-6)


def test_a_frame_without_predictions_raises_no_doubt():
    assert frame_uncertainty(Boxes.empty(), aggregate="max") == 0.0


def test_squared_distances_of_a_right_triangle():
    first, second = np.array([[0.0, 0.0]]), np.array([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(squared_distances(first, second), [[25.0, 0.0]])


def test_density_is_highest_at_the_failures_and_follows_their_weight():
    candidates = np.array([[0.0], [1.0], [10.0]])
    found = failure_density(candidates, np.array([[0.0]]), np.array([2.0]))
    assert found[0] == 1.0
    assert found[1] == pytest.approx(np.exp(-0.5))
    assert found[2] < 1e-20
    weighted = failure_density(candidates, np.array([[0.0], [10.0]]), np.array([3.0, 1.0]))
    assert weighted[0] > weighted[2]


def test_density_without_failures_or_candidates():
    assert failure_density(np.zeros((2, 3)), np.empty((0, 3)), np.empty(0)).tolist() == [0.0, 0.0]
    assert failure_density(np.empty((0, 3)), np.zeros((1, 3)), np.ones(1)).size == 0


def test_ranks_share_ties_and_ignore_scale():
    assert rank([10.0, 30.0, 20.0]).tolist() == [0.0, 1.0, 0.5]
    assert rank([5.0, 1.0, 1.0]).tolist() == [1.0, 0.25, 0.25]
    assert rank([2.0, 2.0]).tolist() == [0.0, 0.0]
    assert rank([]).size == 0
