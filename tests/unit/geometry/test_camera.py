"""Projection into a pinhole camera."""

import numpy as np
import pytest
from numpy.typing import NDArray

from admlops.geometry.camera import project_boxes, project_edges, project_points
from admlops.geometry.pose import make_transform

CAMERA_MATRIX = np.array([[100.0, 0.0, 50.0], [0.0, 100.0, 40.0], [0.0, 0.0, 1.0]])
EGO_FROM_CAMERA = make_transform([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], [0.0, 0.0, 0.0])
SIZE_PX = (101, 81)


def project(*boxes: list[float]) -> NDArray[np.float64]:
    array = np.array(boxes, dtype=np.float64).reshape(-1, 7)
    return project_boxes(array, EGO_FROM_CAMERA, CAMERA_MATRIX, SIZE_PX)


class TestProjectPoints:
    def test_by_hand(self) -> None:
        pixels, depth_m = project_points(np.array([[1.0, -2.0, 10.0]]), CAMERA_MATRIX)
        assert pixels.tolist() == [[60.0, 20.0]]
        assert depth_m.tolist() == [10.0]

    def test_points_behind_have_no_pixel(self) -> None:
        pixels, depth_m = project_points(np.array([[1.0, 2.0, -5.0], [0, 0, 0.05]]), CAMERA_MATRIX)
        assert np.isnan(pixels).all()
        assert depth_m.tolist() == [-5.0, 0.05]

    def test_no_points(self) -> None:
        pixels, depth_m = project_points(np.empty((0, 3)), CAMERA_MATRIX)
        assert pixels.shape == (0, 2)
        assert depth_m.shape == (0,)


class TestProjectBoxes:
    def test_the_near_face_gives_the_box(self) -> None:
        """The near face is at 8 m: 2 m wide and high, so 25 px each."""
        found = project([10.0, 0.0, 0.0, 4.0, 2.0, 2.0, 0.0])
        np.testing.assert_allclose(found[0], [37.5, 27.5, 62.5, 52.5])

    def test_left_is_left(self) -> None:
        left, right = project(
            [10.0, 2.0, 0.0, 1.0, 1.0, 1.0, 0.0], [10.0, -2.0, 0.0, 1.0, 1.0, 1.0, 0.0]
        )
        assert left[2] < 50 < right[0]

    def test_clipped_to_the_image(self) -> None:
        found = project([10.0, 5.0, 0.0, 1.0, 4.0, 1.0, 0.0])[0]
        assert found[0] == 0.0
        assert found[2] == pytest.approx(50 - 100 * 3 / 10.5)

    def test_a_box_across_the_image_plane_is_cut_there(self) -> None:
        found = project([0.0, 0.0, -1.0, 10.0, 1.0, 1.0, 0.0])[0]
        np.testing.assert_allclose(found, [0.0, 50.0, 100.0, 80.0])

    def test_unseen_boxes_are_absent(self) -> None:
        found = project(
            [-10.0, 0.0, 0.0, 4.0, 2.0, 2.0, 0.0],
            [10.0, 30.0, 0.0, 1.0, 1.0, 1.0, 0.0],
            [10.0, 0.0, 30.0, 1.0, 1.0, 1.0, 0.0],
        )
        assert np.isnan(found).all()

    def test_no_boxes(self) -> None:
        assert project().shape == (0, 4)

    def test_every_seen_corner_is_inside(self) -> None:
        rng = np.random.default_rng(3)
        boxes = np.column_stack(
            [rng.uniform(5, 40, 50), rng.uniform(-3, 3, (50, 2)), rng.uniform(0.5, 4, (50, 3))]
        )
        boxes = np.column_stack([boxes, rng.uniform(-3, 3, 50)])
        found = project_boxes(boxes, EGO_FROM_CAMERA, CAMERA_MATRIX, (10_001, 10_001))
        one_by_one = [
            project_boxes(box[None], EGO_FROM_CAMERA, CAMERA_MATRIX, (10_001, 10_001))[0]
            for box in boxes
        ]
        np.testing.assert_array_equal(found, one_by_one)
        assert (found[:, 2:] > found[:, :2]).all()


def test_edges_of_a_box_before_the_camera() -> None:
    # A cube of 2 m, 4 m ahead; the camera looks along x: depth 3 at its near face, 5 at its far.
    matrix = np.diag([300.0, 300.0, 1.0])
    edges = project_edges(np.array([[4.0, 0, 0, 2, 2, 2, 0]]), EGO_FROM_CAMERA, matrix)
    assert edges.shape == (1, 12, 2, 2)
    np.testing.assert_allclose(edges[0, 0], [[-60, 60], [60, 60]])  # lower edge of the front
    np.testing.assert_allclose(edges[0, 2], [[100, 100], [-100, 100]])  # and of the rear


def test_edges_are_cut_before_the_image_plane() -> None:
    matrix = np.diag([1.0, 1.0, 1.0])
    edges = project_edges(np.array([[0.0, 0, 0, 2, 2, 2, 0]]), EGO_FROM_CAMERA, matrix)[0]
    np.testing.assert_allclose(edges[0], [[-1, 1], [1, 1]])  # at depth 1
    np.testing.assert_allclose(edges[1], [[1, 1], [5, 5]])  # from depth 1 to the cut at 0.2
    assert np.isnan(edges[2]).all()  # wholly behind
