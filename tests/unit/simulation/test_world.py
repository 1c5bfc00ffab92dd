from itertools import islice

import numpy as np
import pytest

from admlops.errors import DataError
from admlops.geometry.boxes import count_points_in_boxes, iou_bev
from admlops.simulation.config import LidarConfig, SceneGroup, WorldConfig
from admlops.simulation.world import frame_keys, oracle_labels, simulate
from admlops.structures.frame import FrameKey

GROUP = SceneGroup(num_scenes=2, frames_per_scene=2, rain_share=0.5, night_share=0.5)
WORLD = WorldConfig(
    seed=5,
    train=GROUP,
    val=GROUP,
    pool=GROUP,
    lidar=LidarConfig(num_beams=16, azimuth_step_deg=0.4),
)


@pytest.fixture(scope="module")
def frames():
    return list(simulate(WORLD))


def test_equal_configs_give_equal_worlds(frames):
    for first, second in zip(frames, simulate(WORLD), strict=True):
        assert first.sensor_digest() == second.sensor_digest()
        assert first.key == second.key
        assert np.array_equal(first.global_from_ego, second.global_from_ego)


def test_another_seed_gives_another_world(frames):
    other = next(simulate(WORLD.replace(seed=6)))
    assert other.sensor_digest() != frames[0].sensor_digest()


def test_keys_are_known_without_simulating(frames):
    assert [frame.key for frame in frames] == frame_keys(WORLD)
    assert len(set(frame_keys(WORLD))) == WORLD.num_frames == 12


def test_splits_and_labels(frames):
    assert [frame.split for frame in frames] == ["train"] * 4 + ["val"] * 4 + ["pool"] * 4
    assert [frame.is_keyframe for frame in frames] == [True] * 8 + [False] * 4
    assert [frame.frame_id for frame in islice(frames, 2)] == ["000000", "000001"]


def test_conditions_meet_their_shares(frames):
    for split in ("train", "val", "pool"):
        tags = [frame.tags for frame in frames if frame.split == split]
        assert sum("rain" in tag for tag in tags) == 2
        assert sum("night" in tag for tag in tags) == 2


def test_rain_takes_returns_away():
    world = WORLD.replace(train=GROUP.replace(rain_share=0.0), images=False)
    rainy = WORLD.replace(train=GROUP.replace(rain_share=1.0), images=False)
    dry_points = next(simulate(world)).points_in_ego()
    wet_points = next(simulate(rainy)).points_in_ego()
    assert len(wet_points) < 0.9 * len(dry_points)
    assert np.hypot(*wet_points[:, :2].T).mean() < np.hypot(*dry_points[:, :2].T).mean()


def test_the_oracle_labels_any_frame_as_the_world_does(frames):
    chosen = [frames[9], frames[1], frames[6]]
    labels = oracle_labels(WORLD, [frame.key for frame in chosen])
    assert list(labels) == [frame.key for frame in chosen]
    for frame in chosen[1:]:
        assert np.array_equal(labels[frame.key].as_7(), frame.boxes.as_7())
        assert list(labels[frame.key].category) == list(frame.boxes.category)
    assert len(labels[frames[9].key]) > 0


def test_the_oracle_knows_only_its_own_frames(frames):
    key = frames[0].key
    for stranger in (key._replace(log="x"), key._replace(timestamp_ns=key.timestamp_ns + 1)):
        with pytest.raises(DataError, match="seed 5"):
            oracle_labels(WORLD, [stranger])
    with pytest.raises(DataError, match="seed 5"):
        oracle_labels(WORLD, [FrameKey("synthetic-5", "nowhere", 0)])


def test_labels_hold_their_points_and_do_not_overlap(frames):
    for frame in frames[:8]:
        boxes = frame.boxes
        counted = count_points_in_boxes(frame.points_in_ego(), boxes.as_7())
        assert np.abs(counted - boxes.num_points).max(initial=0) <= 2
        assert (boxes.num_points >= 3).all()
        overlap = iou_bev(boxes.as_7(), boxes.as_7()) - np.eye(len(boxes))
        assert overlap.max(initial=0) < 0.05


def test_points_are_in_the_field_of_view_and_in_range(frames):
    for frame in frames:
        points = frame.lidar.points
        assert points.dtype == np.float32
        assert np.isfinite(points).all()
        assert 0 <= points[:, 3].min() <= points[:, 3].max() <= 1
        assert np.abs(np.degrees(np.arctan2(points[:, 1], points[:, 0]))).max() <= 45.1
        assert np.linalg.norm(points[:, :3], axis=1).max() <= 56


def test_a_full_rotation_sees_behind():
    world = WORLD.replace(lidar=LidarConfig(azimuth_view_deg=360, num_beams=8), images=False)
    points = next(simulate(world)).points_in_ego()
    assert (points[:, 0] < -5).mean() > 0.1
    assert next(simulate(world)).camera.encoded == b""


def test_ego_moves_along_its_heading(frames):
    moved = frames[1].global_from_ego[:3, 3] - frames[0].global_from_ego[:3, 3]
    if np.linalg.norm(moved) > 1:
        heading = frames[0].global_from_ego[:3, 0]
        assert moved @ heading / np.linalg.norm(moved) > 0.95
