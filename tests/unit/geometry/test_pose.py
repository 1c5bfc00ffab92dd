"""Rigid transforms, angles and quaternions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from admlops.geometry.pose import (
    invert,
    make_transform,
    quaternion_from_rotation,
    rotation_about_z,
    rotation_from_quaternion,
    transform_points,
    wrap_angle,
)

unit_quaternion = (
    st.tuples(*[st.floats(-1, 1)] * 4)
    .map(np.array)
    .filter(lambda q: np.linalg.norm(q) > 0.1)
    .map(lambda q: q / np.linalg.norm(q))
)
angle = st.floats(-50, 50)


def test_a_point_in_a_turned_and_moved_frame() -> None:
    global_from_ego = make_transform(rotation_about_z(math.pi / 2), [10.0, 20.0, 0.0])
    moved = transform_points(global_from_ego, np.array([[1.0, 0.0, 2.0]]))
    np.testing.assert_allclose(moved, [[10.0, 21.0, 2.0]], atol=1e-12)


def test_a_3_4_5_rotation() -> None:
    rotation = rotation_about_z(math.atan2(3, 4))
    np.testing.assert_allclose(rotation @ [5.0, 0.0, 0.0], [4.0, 3.0, 0.0], atol=1e-12)


def test_points_keep_their_dtype() -> None:
    points = np.ones((4, 3), dtype=np.float32)
    assert transform_points(np.eye(4), points).dtype == np.float32
    assert transform_points(np.eye(4), np.empty((0, 3))).shape == (0, 3)


def test_angles_are_wrapped_to_minus_pi_included() -> None:
    wrapped = wrap_angle([0.0, math.pi, -math.pi, 3 * math.pi / 2, 7.0])
    expected = [0.0, -math.pi, -math.pi, -math.pi / 2, 7.0 - 2 * math.pi]
    np.testing.assert_allclose(wrapped, expected, atol=1e-12)


@given(angle)
def test_wrapping_keeps_the_direction(angle_rad: float) -> None:
    wrapped = float(wrap_angle(angle_rad))
    assert -math.pi <= wrapped < math.pi
    assert math.cos(wrapped) == pytest.approx(math.cos(angle_rad), abs=1e-9)
    assert math.sin(wrapped) == pytest.approx(math.sin(angle_rad), abs=1e-9)


@given(unit_quaternion, st.tuples(*[st.floats(-100, 100)] * 3))
def test_an_inverse_undoes(quaternion: np.ndarray, translation_m: tuple[float, ...]) -> None:
    transform = make_transform(rotation_from_quaternion(quaternion), translation_m)
    np.testing.assert_allclose(invert(transform) @ transform, np.eye(4), atol=1e-9)
    np.testing.assert_allclose(invert(invert(transform)), transform, atol=1e-9)


@given(unit_quaternion)
def test_quaternions_and_rotations_are_the_same(quaternion: np.ndarray) -> None:
    rotation = rotation_from_quaternion(quaternion)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    back = quaternion_from_rotation(rotation)
    assert back[0] >= 0
    assert abs(back @ quaternion) == pytest.approx(1.0, abs=1e-9)


def test_half_turns_have_quaternions_without_w() -> None:
    for axis in range(3):
        rotation = -np.eye(3)
        rotation[axis, axis] = 1.0
        found = quaternion_from_rotation(rotation)
        expected = np.zeros(4)
        expected[1 + axis] = 1.0
        np.testing.assert_allclose(np.abs(found), expected, atol=1e-12)


def test_a_quaternion_of_any_length_gives_a_rotation() -> None:
    yaw_rad = 0.7
    quaternion = 3.0 * np.array([math.cos(yaw_rad / 2), 0, 0, math.sin(yaw_rad / 2)])
    rotation = rotation_from_quaternion(quaternion)
    np.testing.assert_allclose(rotation, rotation_about_z(yaw_rad), atol=1e-12)
