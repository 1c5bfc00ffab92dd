"""Overlaps, suppression and points in boxes, with numbers worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from admlops.geometry.boxes import (
    corners_3d,
    corners_bev,
    count_points_in_boxes,
    iou_3d,
    iou_bev,
    nms_bev,
    points_in_boxes,
)

UNIT = [0.0, 0.0, 0.0, 2.0, 2.0, 2.0, 0.0]
EMPTY = np.empty((0, 7))


def rows(*boxes: list[float]) -> NDArray[np.float64]:
    return np.array(boxes, dtype=np.float64).reshape(-1, 7)


finite_box = st.tuples(
    st.floats(-20, 20),
    st.floats(-20, 20),
    st.floats(-3, 3),
    st.floats(0.2, 12),
    st.floats(0.2, 5),
    st.floats(0.2, 4),
    st.floats(-4, 4),
).map(list)


class TestCorners:
    def test_a_box_along_x(self) -> None:
        corners = corners_bev(rows([10.0, 5.0, 1.0, 4.0, 2.0, 1.5, 0.0]))
        assert corners[0].tolist() == [[12, 6], [12, 4], [8, 4], [8, 6]]

    def test_a_quarter_turn_swaps_length_and_width(self) -> None:
        corners = corners_bev(rows([0.0, 0.0, 0.0, 4.0, 2.0, 1.0, math.pi / 2]))
        np.testing.assert_allclose(corners[0], [[-1, 2], [1, 2], [1, -2], [-1, -2]], atol=1e-12)

    def test_a_3_4_5_turn(self) -> None:
        yaw = math.atan2(3, 4)
        corners = corners_bev(rows([0.0, 0.0, 0.0, 10.0, 0.0, 1.0, yaw]))
        np.testing.assert_allclose(corners[0, 0], [4, 3], atol=1e-12)

    def test_bottom_comes_before_top(self) -> None:
        corners = corners_3d(rows([0.0, 0.0, 1.0, 2.0, 2.0, 3.0, 0.3]))
        assert corners.shape == (1, 8, 3)
        assert corners[0, :, 2].tolist() == [-0.5] * 4 + [2.5] * 4

    def test_no_boxes(self) -> None:
        assert corners_bev(EMPTY).shape == (0, 4, 2)
        assert corners_3d(EMPTY).shape == (0, 8, 3)


class TestOverlap:
    def test_a_shift_by_half_shares_a_third(self) -> None:
        moved = rows([1.0, 0.0, 0.0, 2.0, 2.0, 2.0, 0.0])
        assert iou_bev(rows(UNIT), moved)[0, 0] == pytest.approx(1 / 3)
        assert iou_3d(rows(UNIT), moved)[0, 0] == pytest.approx(1 / 3)

    def test_half_the_height_counts_in_space_only(self) -> None:
        raised = rows([0.0, 0.0, 1.0, 2.0, 2.0, 2.0, 0.0])
        assert iou_bev(rows(UNIT), raised)[0, 0] == pytest.approx(1.0)
        assert iou_3d(rows(UNIT), raised)[0, 0] == pytest.approx(1 / 3)

    def test_an_octagon(self) -> None:
        """Two unit squares turned by 45 degrees share a regular octagon: area 2 (sqrt 2 - 1)."""
        square = [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0]
        turned = [*square[:6], math.pi / 4]
        shared = 2 * (math.sqrt(2) - 1)
        expected = shared / (2 - shared)
        assert iou_bev(rows(square), rows(turned))[0, 0] == pytest.approx(expected)

    def test_a_cross_of_two_bars(self) -> None:
        bar = [3.0, -2.0, 0.0, 4.0, 1.0, 1.0, 0.2]
        turned = [*bar[:6], 0.2 + math.pi / 2]
        assert iou_bev(rows(bar), rows(turned))[0, 0] == pytest.approx(1 / 7)

    def test_touching_and_distant_boxes_share_nothing(self) -> None:
        touching = [2.0, 0.0, 0.0, 2.0, 2.0, 2.0, 0.0]
        above = [0.0, 0.0, 2.5, 2.0, 2.0, 2.0, 0.0]
        found = iou_3d(rows(UNIT), rows(touching, above, [50.0, *UNIT[1:]]))
        assert found.tolist() == [[0.0, 0.0, 0.0]]

    def test_a_box_without_area_shares_nothing(self) -> None:
        flat = [0.0, 0.0, 0.0, 2.0, 0.0, 2.0, 0.0]
        assert iou_bev(rows(flat), rows(flat))[0, 0] == 0.0

    def test_no_boxes(self) -> None:
        assert iou_bev(EMPTY, rows(UNIT)).shape == (0, 1)
        assert iou_3d(rows(UNIT), EMPTY).shape == (1, 0)

    def test_other_dtypes_are_taken(self) -> None:
        assert iou_bev(rows(UNIT).astype(np.float32), rows(UNIT).astype(np.int64))[0, 0] == 1.0

    @settings(max_examples=60, deadline=None)
    @given(finite_box, finite_box)
    def test_symmetric_bounded_and_one_with_itself(
        self, first: list[float], second: list[float]
    ) -> None:
        for overlap in (iou_bev, iou_3d):
            there = overlap(rows(first), rows(second))[0, 0]
            back = overlap(rows(second), rows(first))[0, 0]
            assert there == pytest.approx(back, abs=1e-9)
            assert -1e-12 <= there <= 1 + 1e-9
            assert overlap(rows(first), rows(first))[0, 0] == pytest.approx(1.0, abs=1e-9)

    @settings(max_examples=60, deadline=None)
    @given(finite_box, finite_box, st.floats(-30, 30), st.floats(-30, 30), st.floats(-7, 7))
    def test_moving_both_boxes_changes_nothing(
        self, first: list[float], second: list[float], dx: float, dy: float, turn: float
    ) -> None:
        def moved(box: list[float]) -> list[float]:
            x = box[0] * math.cos(turn) - box[1] * math.sin(turn) + dx
            y = box[0] * math.sin(turn) + box[1] * math.cos(turn) + dy
            return [x, y, *box[2:6], box[6] + turn]

        before = iou_3d(rows(first), rows(second))[0, 0]
        after = iou_3d(rows(moved(first)), rows(moved(second)))[0, 0]
        assert after == pytest.approx(before, abs=1e-7)

    def test_agrees_with_counting_points(self) -> None:
        """A Monte Carlo estimate of the union and the shared area, 400,000 points."""
        rng = np.random.default_rng(1)
        points = np.zeros((400_000, 3), dtype=np.float32)
        points[:, :2] = rng.uniform(-6, 6, (400_000, 2))
        boxes = rows([0.5, 0.2, 0.0, 4.5, 1.9, 1.0, 0.4], [-0.4, 0.9, 0.0, 5.0, 2.1, 1.0, 1.1])
        inside = points_in_boxes(points, boxes)
        estimate = (inside[0] & inside[1]).sum() / (inside[0] | inside[1]).sum()
        assert iou_bev(boxes[:1], boxes[1:])[0, 0] == pytest.approx(estimate, abs=0.01)


class TestSuppression:
    def test_the_best_of_each_heap_stays(self) -> None:
        boxes = rows(
            [0.0, 0.0, 0.0, 4.0, 2.0, 1.5, 0.0],
            [0.2, 0.0, 0.0, 4.0, 2.0, 1.5, 0.0],
            [20.0, 0.0, 0.0, 4.0, 2.0, 1.5, 0.0],
            [20.1, 0.0, 0.0, 4.0, 2.0, 1.5, 0.0],
        )
        kept = nms_bev(boxes, np.array([0.5, 0.9, 0.3, 0.2]), 0.5, 10)
        assert kept.tolist() == [1, 2]

    def test_the_number_is_limited(self) -> None:
        boxes = rows(*[[10.0 * i, 0.0, 0.0, 4.0, 2.0, 1.5, 0.0] for i in range(5)])
        assert nms_bev(boxes, np.arange(5.0), 0.5, 2).tolist() == [4, 3]
        assert nms_bev(boxes, np.arange(5.0), 0.5, 0).tolist() == []

    def test_ties_keep_the_order_of_the_input(self) -> None:
        boxes = rows(UNIT, [0.1, *UNIT[1:]], [30.0, *UNIT[1:]])
        assert nms_bev(boxes, np.ones(3), 0.5, 10).tolist() == [0, 2]

    def test_a_suppressed_box_suppresses_nothing(self) -> None:
        boxes = rows(UNIT, [1.0, *UNIT[1:]], [2.0, *UNIT[1:]])
        assert nms_bev(boxes, np.array([0.9, 0.8, 0.7]), 0.3, 10).tolist() == [0, 2]

    def test_no_boxes(self) -> None:
        assert nms_bev(EMPTY, np.empty(0), 0.5, 10).tolist() == []

    @settings(max_examples=40, deadline=None)
    @given(st.lists(finite_box, max_size=12), st.floats(0.05, 0.9))
    def test_kept_boxes_do_not_overlap_and_the_others_do(
        self, boxes: list[list[float]], threshold: float
    ) -> None:
        array = rows(*boxes) if boxes else EMPTY
        scores = np.linspace(1.0, 0.1, len(array))
        kept = nms_bev(array, scores, threshold, 100)
        overlaps = iou_bev(array[kept], array)
        assert (overlaps[:, kept] <= threshold + 1e-9)[~np.eye(len(kept), dtype=bool)].all()
        dropped = np.setdiff1d(np.arange(len(array)), kept)
        assert (overlaps[:, dropped] > threshold - 1e-9).any(axis=0).all()


class TestPointsInBoxes:
    def test_borders_count(self) -> None:
        points = np.array([[1, 0, 0], [1.001, 0, 0], [0, -1, 1], [0, 0, 1.01]], dtype=np.float64)
        found = points_in_boxes(points, rows(UNIT))
        assert found.tolist() == [[True, False, True, False]]
        assert count_points_in_boxes(points, rows(UNIT)).tolist() == [2]

    def test_a_turned_box(self) -> None:
        yaw = math.atan2(3, 4)
        box = rows([0.0, 0.0, 0.0, 10.0, 1.0, 2.0, yaw])
        points = np.array([[3.99, 2.99, 0], [4.1, 3.1, 0], [-0.29, 0.39, 0], [-0.33, 0.44, 0]])
        assert points_in_boxes(points, box).tolist() == [[True, False, True, False]]

    def test_columns_after_z_are_not_read(self) -> None:
        points = np.array([[0, 0, 0, 99.0]], dtype=np.float32)
        assert count_points_in_boxes(points, rows(UNIT, [9.0, *UNIT[1:]])).tolist() == [1, 0]

    def test_nothing_in_nothing(self) -> None:
        assert points_in_boxes(np.empty((0, 3)), rows(UNIT)).shape == (1, 0)
        assert count_points_in_boxes(np.empty((0, 4)), EMPTY).shape == (0,)
        assert count_points_in_boxes(np.zeros((3, 4)), EMPTY).shape == (0,)

    @settings(max_examples=40, deadline=None)
    @given(finite_box, st.integers(0, 2**31))
    def test_the_count_is_the_sum_of_the_mask(self, box: list[float], seed: int) -> None:
        points = np.random.default_rng(seed).uniform(-10, 10, (200, 3)) + np.array(box[:3])
        mask = points_in_boxes(points, rows(box))
        assert count_points_in_boxes(points, rows(box)).tolist() == mask.sum(axis=1).tolist()
