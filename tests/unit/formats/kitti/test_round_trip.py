import numpy as np
import pytest

from admlops.formats.kitti.reader import iou_2d
from admlops.formats.kitti.writer import write_frames
from admlops.formats.source import read_all
from admlops.geometry.camera import project_boxes
from admlops.geometry.pose import wrap_angle
from admlops.simulation.config import LidarConfig, SceneGroup, WorldConfig
from admlops.simulation.world import simulate
from admlops.steps.sources import open_source
from admlops.structures.finding import Finding

GROUP = SceneGroup(num_scenes=1, frames_per_scene=3)
WORLD = WorldConfig(
    train=GROUP, val=GROUP, pool=GROUP, lidar=LidarConfig(num_beams=16, azimuth_step_deg=0.4)
)


def assert_equal_frames(first, second):
    assert first.key == second.key
    assert (first.split, first.tags) == (second.split, second.tags)
    assert first.sensor_digest() == second.sensor_digest()
    for name in ("lidar", "camera"):
        sensors = getattr(first, name).sensor, getattr(second, name).sensor
        assert np.allclose(sensors[0].ego_from_sensor, sensors[1].ego_from_sensor, atol=1e-9)
    assert np.allclose(first.camera.sensor.camera_matrix, second.camera.sensor.camera_matrix)
    assert np.allclose(first.global_from_ego, second.global_from_ego, atol=1e-12)
    assert (first.boxes is None) == (second.boxes is None)
    if first.boxes is None:
        return
    assert np.abs(first.boxes.as_7()[:, :6] - second.boxes.as_7()[:, :6]).max(initial=0) < 1e-4
    turn = wrap_angle(first.boxes.yaw_rad - second.boxes.yaw_rad)
    assert np.abs(turn).max(initial=0) < 1e-4
    for name in ("category", "occlusion", "track_id"):
        assert (getattr(first.boxes, name) == getattr(second.boxes, name)).all()
    assert np.allclose(first.boxes.box2d_px, second.boxes.box2d_px, atol=1e-4, equal_nan=True)
    assert np.allclose(first.boxes.truncation, second.boxes.truncation, equal_nan=True)
    assert np.allclose(first.boxes.velocity_mps, second.boxes.velocity_mps, equal_nan=True)
    regions = first.camera.ignore_regions_px, second.camera.ignore_regions_px
    assert np.allclose(*regions, atol=0.01)


def test_simulated_frames_come_back(tmp_path):
    frames = list(simulate(WORLD))
    assert write_frames(tmp_path, frames) == 9
    back = list(read_all(open_source(tmp_path)))
    assert len(back) == 9
    for first, second in zip(frames, back, strict=True):
        assert_equal_frames(first, second)


def test_real_frames_come_back(real_data, tmp_path):
    frames = list(read_all(open_source(real_data / "kitti_object")))
    write_frames(tmp_path, frames)
    back = list(read_all(open_source(tmp_path)))
    assert len(back) == 6
    for first, second in zip(frames, back, strict=True):
        assert_equal_frames(first, second)
        assert (first.boxes.num_points == second.boxes.num_points).all()


def test_real_frames_are_read_whole(real_data):
    frames = {frame.frame_id: frame for frame in read_all(open_source(real_data / "kitti_object"))}
    assert not any(isinstance(frame, Finding) for frame in frames.values())
    assert {name for name, frame in frames.items() if frame.split == "val"} == {"000001", "000002"}
    frame = frames["000001"]
    assert list(frame.boxes.category) == ["truck", "car", "cyclist"]
    # Truck row: bottom middle 0.47 1.49 69.44, height 2.85, rotation_y -1.56.
    expected = [69.44, -0.47, 1.65 - 1.49 + 2.85 / 2, 12.34, 2.63, 2.85, 1.56 - np.pi / 2]
    assert np.allclose(frame.boxes.as_7()[0], expected)
    assert len(frame.camera.ignore_regions_px) == 4
    assert list(frame.boxes.occlusion) == [0, 0, 3]
    assert (frame.camera.width_px, frame.camera.height_px) == (1242, 375)
    assert len(frame.lidar.points) == 1924288 // 16


def test_the_ground_of_real_frames_is_at_zero(real_data):
    for frame in read_all(open_source(real_data / "kitti_object")):
        points = frame.points_in_ego()
        near = (np.abs(points[:, 0] - 8) < 3) & (np.abs(points[:, 1]) < 3)
        assert abs(np.percentile(points[near, 2], 20)) < 0.15


@pytest.mark.parametrize("split", ["train", "val"])
def test_projected_corners_agree_with_labelled_2d_boxes(real_data, split):
    overlaps = []
    source = open_source(real_data / "kitti_object")
    for frame in (frame for frame in read_all(source) if frame.split == split):
        boxes = frame.boxes
        clear = (boxes.category == "car") & (boxes.occlusion == 0) & (boxes.truncation == 0)
        camera = frame.camera
        projected = project_boxes(
            boxes.as_7()[clear],
            camera.sensor.ego_from_sensor,
            camera.sensor.camera_matrix,
            (camera.width_px, camera.height_px),
        )
        overlaps += list(iou_2d(projected, boxes.box2d_px[clear]))
    assert overlaps
    assert min(overlaps) >= 0.7
