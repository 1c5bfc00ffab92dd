import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp

from admlops.geometry.pose import invert, make_transform, rotation_about_z, transform_points
from admlops.geometry.trajectory import Trajectory, compensate_motion


def straight_way(speed_mps=10.0):
    """x = 10 t over one second, a pose every 100 ms."""
    times = np.arange(11) * 100_000_000
    translation = np.column_stack([speed_mps * times * 1e-9, np.zeros((11, 2))])
    return Trajectory.make(times, translation, np.tile([1.0, 0, 0, 0], (11, 1)))


def test_a_pose_between_two_is_interpolated():
    pose = straight_way().at(250_000_000)
    np.testing.assert_allclose(pose, make_transform(np.eye(3), [2.5, 0, 0]), atol=1e-12)


def test_a_quarter_turn_is_halved():
    half = np.sqrt(0.5)
    way = Trajectory.make([0, 100], [[0, 0, 0], [2, 4, 6]], [[1, 0, 0, 0], [half, 0, 0, half]])
    expected = make_transform(rotation_about_z(np.pi / 4), [1, 2, 3])
    np.testing.assert_allclose(way.at(50), expected, atol=1e-12)


def test_a_turned_around_quaternion_is_the_same_rotation():
    way = Trajectory.make([0, 100], np.zeros((2, 3)), [[1, 0, 0, 0], [-1, 0, 0, 0]])
    np.testing.assert_allclose(way.at(50), np.eye(4), atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0, 1))
def test_rotations_are_interpolated_as_scipy_does(seed, share):
    quaternion = np.random.default_rng(seed).standard_normal((2, 4))
    way = Trajectory.make([0, 1_000_000], np.zeros((2, 3)), quaternion)
    rotations = Rotation.from_quat(np.roll(quaternion, -1, axis=1))
    time = round(share * 1_000_000)
    expected = Slerp([0, 1_000_000], rotations)(time).as_matrix()
    np.testing.assert_allclose(way.at(time)[:3, :3], expected, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 6))
def test_many_poses_at_once_are_those_at_each_time(seed, count):
    random = np.random.default_rng(seed)
    times = np.sort(random.choice(1000, count, replace=False))
    way = Trajectory.make(times, random.normal(size=(count, 3)), random.normal(size=(count, 4)))
    asked = np.unique(random.integers(-100, 1100, 20))
    sampled = way.sampled(asked)
    assert sampled.times_ns.tolist() == asked.tolist()
    for row, time in enumerate(asked):
        np.testing.assert_allclose(sampled.at(int(time)), way.at(int(time)), atol=1e-7)
        np.testing.assert_allclose(sampled.translation_m[row], way.at(int(time))[:3, 3], atol=1e-12)


def test_an_empty_way_has_no_samples():
    empty = Trajectory.make([], np.empty((0, 3)), np.empty((0, 4)))
    with pytest.raises(ValueError, match="without poses"):
        empty.sampled(np.array([1]))


def test_beyond_the_ends_the_nearer_pose_holds():
    way = straight_way()
    np.testing.assert_allclose(way.at(-5)[:3, 3], [0, 0, 0])
    np.testing.assert_allclose(way.at(10**12)[:3, 3], [10, 0, 0])


def test_poses_are_sorted_and_the_last_of_one_time_counts():
    way = Trajectory.make([20, 10, 20], [[2, 0, 0], [1, 0, 0], [3, 0, 0]], [[1, 0, 0, 0]] * 3)
    assert way.times_ns.tolist() == [10, 20]
    assert way.translation_m[:, 0].tolist() == [1, 3]


def test_only_times_at_poses_or_in_short_gaps_are_covered():
    way = Trajectory.make([0, 10, 100], np.zeros((3, 3)), [[1, 0, 0, 0]] * 3)
    covered = way.covers([-1, 0, 5, 10, 50, 100, 101], max_gap_ns=20)
    assert covered.tolist() == [False, True, True, True, False, True, False]
    assert not straight_way().between(0, 0).covers([5], 10)[0]
    empty = Trajectory.make([], np.empty((0, 3)), np.empty((0, 4)))
    assert not empty.covers([0], 1).any()
    with pytest.raises(ValueError, match="without poses"):
        empty.at(0)


def test_the_needed_part_holds_the_poses_around():
    part = straight_way().between(250_000_000, 300_000_000)
    assert part.times_ns.tolist() == [200_000_000, 300_000_000]
    part = straight_way().between(200_000_000, 310_000_000)
    assert part.times_ns.tolist() == [200_000_000, 300_000_000, 400_000_000]


def test_a_wall_seen_from_a_moving_vehicle_becomes_straight():
    """Driving at 10 m/s towards a wall at x = 20, each point is measured nearer than the first."""
    times = np.array([0, 50_000_000, 100_000_000])
    measured = np.array([[20, 0, 0, 0.5], [19.5, 1, 0, 0.6], [19, 2, 0, 0.7]], np.float32)
    straight = compensate_motion(measured, times, straight_way())
    np.testing.assert_allclose(straight[:, 0], 20.0, atol=1e-5)
    np.testing.assert_allclose(straight[:, 1:], measured[:, 1:], atol=1e-6)


def test_a_turning_vehicle_sees_a_post_where_it_stands():
    """A quarter turn to the left in 100 ms: a post ahead moves to the right of the vehicle."""
    half = np.sqrt(0.5)
    way = Trajectory.make(
        [0, 100_000_000], np.zeros((2, 3)), [[1, 0, 0, 0], [half, 0, 0, half]]
    )  # fmt: skip
    angle = np.pi / 4
    measured = np.array(
        [[5, 0, 1, 0], [5 * np.cos(angle), -5 * np.sin(angle), 1, 0], [0, -5, 1, 0]], np.float32
    )
    post = compensate_motion(measured, np.array([0, 50_000_000, 100_000_000]), way)
    np.testing.assert_allclose(post[:, :3], [[5, 0, 1]] * 3, atol=1e-5)


def test_points_in_any_order_move_by_their_own_time():
    rng = np.random.default_rng(0)
    way = straight_way().seen_from(make_transform(rotation_about_z(0.7), [1, 2, 3]))
    points = rng.uniform(-50, 50, (200, 4)).astype(np.float32)
    times = rng.integers(-10_000_000, 1_010_000_000, 200)
    moved = compensate_motion(points, times, way)
    for point, time, result in zip(points, times, moved, strict=True):
        expected = transform_points(way.at(int(time)), point[None, :3].astype(np.float64))[0]
        np.testing.assert_allclose(result[:3], expected, atol=1e-4)


def test_seen_from_another_frame_every_pose_is_moved():
    target = make_transform(Rotation.from_euler("xyz", [0.1, 0.2, 0.3]).as_matrix(), [5, 6, 7])
    way, moved = straight_way(), straight_way().seen_from(invert(target))
    for time in (0, 123_456_789, 1_000_000_000):
        np.testing.assert_allclose(moved.at(time), invert(target) @ way.at(time), atol=1e-9)
