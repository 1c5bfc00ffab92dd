import numpy as np
import pytest

from admlops.structures.frame import CalibratedSensor, CameraImage, Frame, FrameKey, LidarSweep


def frame(points: np.ndarray | None) -> Frame:
    turned = np.array([[0, -1, 0, 10.0], [1, 0, 0, 0], [0, 0, 1, 1.73], [0, 0, 0, 1]])
    sensor = CalibratedSensor("lidar_top", "lidar", turned)
    sweep = None if points is None else LidarSweep(sensor, points)
    return Frame(FrameKey("log", "scene", 5), "000005", np.eye(4), lidar=sweep)


def test_points_move_to_the_ego_frame() -> None:
    points = np.array([[1, 2, 0, 0.5]], dtype=np.float32)
    moved = frame(points).points_in_ego()
    np.testing.assert_allclose(moved, [[8, 1, 1.73, 0.5]], rtol=1e-6)
    assert moved.dtype == np.float32


def test_frame_without_lidar_says_so() -> None:
    with pytest.raises(ValueError, match="log/scene/5 has no lidar"):
        frame(None).points_in_ego()


def test_digest_follows_the_payload() -> None:
    first = frame(np.zeros((1, 4), np.float32))
    second = frame(np.ones((1, 4), np.float32))
    assert first.sensor_digest() == frame(np.zeros((1, 4), np.float32)).sensor_digest()
    assert first.sensor_digest() != second.sensor_digest()
    assert not first.is_keyframe


def test_a_box_is_placed_in_the_image_of_a_known_lens() -> None:
    # The box's near face is 10 m ahead, 2 m wide and high: 2 * 100 / 10 = 20 px around the middle.
    axes = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    lens = np.array([[100.0, 0, 50], [0, 100, 30], [0, 0, 1]])
    rows = np.array([[11.0, 0, 0, 2, 2, 2, 0], [-11, 0, 0, 2, 2, 2, 0]])
    seen = CameraImage(CalibratedSensor("front", "camera", axes, lens), b"", 100, 60)
    np.testing.assert_allclose(seen.places_of(rows)[0], [40, 20, 60, 40])
    assert np.isnan(seen.places_of(rows)[1]).all()
    bare = CameraImage(CalibratedSensor("front", "camera", axes), b"", 100, 60)
    assert np.isnan(bare.places_of(rows)).all()
