"""Loading: composition against plain numpy, augmentation, ground-truth sampling, batches."""

import dataclasses
import pickle

import numpy as np
import pytest

from admlops.detection.presets import pointpillars_kitti, small_detector
from admlops.errors import DataError
from admlops.geometry.boxes import count_points_in_boxes, iou_bev
from admlops.loading.augmentation import augment, plain_frame
from admlops.loading.batches import Batcher
from admlops.loading.composition import Change, Objects, compose
from admlops.loading.config import AugmentationConfig, LoadingConfig
from admlops.loading.ground_truth import (
    ObjectSampler,
    collect_ground_truth,
    read_ground_truth,
    write_ground_truth,
)
from admlops.loading.loader import FrameLoader, load_ground_truth
from admlops.loading.raw_frames import NO_VIEW, raw_frame

CATEGORIES = ("car", "pedestrian", "cyclist")
NOTHING = np.empty((0, 4), dtype=np.float32)
IDENTITY = np.eye(4, dtype=np.float32)[:3]


def test_a_change_by_hand():
    change = Change(flip=True, rotation_rad=np.pi / 2, scale=2.0, shift_m=np.array([1.0, 0, 0.5]))
    points = np.array([[3.0, 1.0, 0.5, 0.7]], dtype=np.float32)
    out = compose(points, IDENTITY, NO_VIEW, Objects.none(), NOTHING, change)
    np.testing.assert_allclose(out, [[3.0, 6.0, 1.5, 0.7]], atol=1e-5)
    box = change.apply_to_boxes(np.array([[3.0, 1.0, 0.5, 4.0, 2.0, 1.0, 0.25]]))
    np.testing.assert_allclose(box, [[3.0, 6.0, 1.5, 8.0, 4.0, 2.0, np.pi / 2 - 0.25]])


def test_a_moved_object_takes_its_points_along_and_a_cleared_one_loses_them():
    points = np.array([[1.0, 0, 0, 0], [10, 0, 0, 0], [20, 0, 0, 0]], dtype=np.float32)
    boxes = np.array([[0.0, 0, 0, 4, 2, 2, 0], [10.0, 0, 0, 4, 2, 2, 0]])
    moved = np.array([[0.0, 5, 1, 4, 2, 2, np.pi / 2], [np.nan] * 7])
    out = compose(points, IDENTITY, NO_VIEW, Objects(boxes, moved), NOTHING, Change.none())
    np.testing.assert_allclose(out, [[0, 6, 1, 0], [20, 0, 0, 0]], atol=1e-6)


def test_the_camera_view_is_that_of_the_projection(make_frame):
    from admlops.geometry.camera import project_points
    from admlops.geometry.pose import invert, transform_points

    frame = make_frame(3)
    raw = raw_frame(frame, CATEGORIES, 1, with_view=True)
    kept = plain_frame(raw).points
    in_ego = frame.points_in_ego()
    sensor = frame.camera.sensor
    in_camera = transform_points(invert(sensor.ego_from_sensor), in_ego[:, :3].astype(np.float64))
    pixels, _ = project_points(in_camera, sensor.camera_matrix)
    with np.errstate(invalid="ignore"):
        seen = ((pixels >= 0) & (pixels < [1242, 375])).all(axis=1)
    assert 0 < len(kept) < len(in_ego)
    assert abs(len(kept) - seen.sum()) <= 2  # float32 against float64 at the border
    assert len(plain_frame(raw_frame(frame, CATEGORIES, 1, with_view=False)).points) == len(in_ego)


def test_points_that_are_not_finite_are_dropped():
    points = np.array([[1, 0, 0, 0], [np.nan, 0, 0, 0], [0, np.inf, 0, 0]], dtype=np.float32)
    out = compose(points, IDENTITY, NO_VIEW, Objects.none(), NOTHING, Change.none())
    assert len(out) == 1


@pytest.mark.parametrize("seed", range(20))
def test_boxes_keep_their_points_whatever_changes(make_frame, seed):
    frame = raw_frame(make_frame(seed, num_ground=0), CATEGORIES, 1, with_view=False)
    before = count_points_in_boxes(plain_frame(frame).points, frame.boxes_7)
    settings = AugmentationConfig(objects_per_frame={})
    changed = augment(frame, settings, None, np.random.default_rng(seed))
    assert not np.allclose(changed.boxes_7, frame.boxes_7)
    np.testing.assert_array_equal(count_points_in_boxes(changed.points, changed.boxes_7), before)
    assert before.tolist() == [60, 60, 60, 60]


def test_no_augmentation_changes_nothing(make_frame):
    frame = raw_frame(make_frame(1), CATEGORIES, 1, with_view=False)
    same = augment(frame, AugmentationConfig.none(), None, np.random.default_rng(0))
    np.testing.assert_array_equal(same.points, plain_frame(frame).points)
    np.testing.assert_array_equal(same.boxes_7, frame.boxes_7)


def _ground_truth(make_frame):
    frames = [raw_frame(make_frame(i), CATEGORIES, 1, with_view=False) for i in range(5)]
    return collect_ground_truth(frames, min_points=5)


def test_ground_truth_holds_each_objects_points(make_frame):
    found = _ground_truth(make_frame)
    assert len(found) == 20
    assert (np.diff(found.start) >= 60).all()
    for index in range(len(found)):
        points = found.points_of(np.array([index]))
        inside = count_points_in_boxes(points, found.boxes_7[index : index + 1])
        assert inside[0] >= len(points) - 1  # float32 at the border


def test_ground_truth_survives_its_file_and_damage_is_seen(make_frame, tmp_path):
    found = _ground_truth(make_frame)
    path = tmp_path / "cache" / "objects.npz"
    assert read_ground_truth(path) is None
    write_ground_truth(path, found)
    again = read_ground_truth(path)
    np.testing.assert_array_equal(again.points, found.points)
    np.testing.assert_array_equal(again.boxes_7, found.boxes_7)
    path.write_bytes(path.read_bytes()[:100])
    assert read_ground_truth(path) is None


@pytest.mark.parametrize("seed", range(10))
def test_pasted_objects_collide_with_nothing_and_fill_up_to_the_number(make_frame, seed):
    sampler = ObjectSampler(_ground_truth(make_frame), [6, 0, 3])
    frame = raw_frame(make_frame(seed), CATEGORIES, 1, with_view=False)
    pasted = sampler.choose(frame.category, frame.obstacles_7, np.random.default_rng(seed))
    everything = np.concatenate([frame.obstacles_7, pasted.boxes_7])
    overlap = iou_bev(everything, everything)
    np.fill_diagonal(overlap, 0)
    assert overlap.max() == 0
    total = np.bincount(np.concatenate([frame.category, pasted.category]), minlength=3)
    assert total[0] <= 6
    assert total[2] <= 3
    assert (pasted.category != 1).all()


def test_pasted_objects_bring_their_points_and_clear_the_scenes(make_frame):
    truth = _ground_truth(make_frame)
    sampler = ObjectSampler(truth, [8, 8, 8])
    frame = raw_frame(make_frame(9), CATEGORIES, 1, with_view=False)
    settings = AugmentationConfig.none()
    mixed = augment(frame, settings, sampler, np.random.default_rng(0))
    assert len(mixed.boxes_7) > len(frame.boxes_7)
    counts = count_points_in_boxes(mixed.points, mixed.boxes_7)
    lengths = np.diff(truth.start)
    for box, count in zip(mixed.boxes_7[4:], counts[4:], strict=True):
        source = int(np.flatnonzero((truth.boxes_7 == box).all(axis=1))[0])
        assert abs(count - lengths[source]) <= 1


def test_what_is_drawn_depends_on_seed_epoch_and_frame_only(toy_dataset, tmp_path):
    detector, config = small_detector(), LoadingConfig()
    truth = load_ground_truth(toy_dataset, detector, config, tmp_path)
    first = FrameLoader(toy_dataset, detector, config, truth, seed=1)
    second = pickle.loads(pickle.dumps(first))  # noqa: S301 - our own bytes
    one = first.frames([0, 1, 2], epoch=4)
    two = second.frames([2, 1], epoch=4)
    np.testing.assert_array_equal(one[2].points, two[0].points)
    np.testing.assert_array_equal(one[1].boxes_7, two[1].boxes_7)
    other = first.frames([0], epoch=5)[0]
    assert len(other.points) != len(one[0].points) or not np.allclose(other.points, one[0].points)


def test_the_cache_is_bounded_and_changes_nothing(toy_dataset):
    detector = small_detector()
    kept = FrameLoader(toy_dataset, detector, LoadingConfig())
    fresh = FrameLoader(toy_dataset, detector, LoadingConfig(cache_mib=0))
    for _ in range(2):
        for one, two in zip(kept.frames([0, 3], 1), fresh.frames([0, 3], 1), strict=True):
            np.testing.assert_array_equal(one.points, two.points)


def test_objects_are_collected_once(toy_dataset, tmp_path):
    arguments = (toy_dataset, small_detector(), LoadingConfig(), tmp_path)
    load_ground_truth(*arguments)
    (file,) = tmp_path.iterdir()
    stamp = file.stat().st_mtime_ns
    load_ground_truth(*arguments)
    assert file.stat().st_mtime_ns == stamp
    none = LoadingConfig(augmentation=AugmentationConfig.none())
    assert load_ground_truth(toy_dataset, small_detector(), none, tmp_path) is None


def test_a_split_without_labelled_frames_is_refused(toy_dataset):
    with pytest.raises(DataError, match="no labelled frame.*train: 6"):
        FrameLoader(toy_dataset, small_detector(), LoadingConfig(split="test"))


@pytest.mark.parametrize("config", [small_detector(), pointpillars_kitti()], ids=lambda c: c.kind)
def test_batches_count_on_from_frame_to_frame(make_frame, config):
    batcher = Batcher(config)
    frames = [
        plain_frame(raw_frame(make_frame(i, num_boxes=i), config.categories, 1, with_view=False))
        for i in (3, 0, 2)
    ]
    whole = batcher(frames)
    parts = [batcher([frame]) for frame in frames]
    cells = config.grid_shape[0] * config.grid_shape[1]
    assert len(whole) == 3
    assert len(whole.inputs) == sum(len(part.inputs) for part in parts)
    last = whole.inputs.pillar_cell[-len(parts[2].inputs) :] - 2 * cells
    np.testing.assert_array_equal(last, parts[2].inputs.pillar_cell)
    assert (np.diff(whole.inputs.point_pillar) >= 0).all()
    assert whole.inputs.point_pillar[-1] == len(whole.inputs) - 1
    assert not (whole.frame == 1).any()  # the frame without boxes
    np.testing.assert_array_equal(whole.targets.place[whole.frame == 2], parts[2].targets.place)


def test_labels_that_are_not_trained_on_stay_obstacles(make_frame):
    frame = make_frame(2)
    raw = raw_frame(frame, ("car",), 1, with_view=False)
    assert (raw.category == 0).all()
    assert len(raw.boxes_7) == 2
    assert len(raw.obstacles_7) == 4
    sparse = frame.boxes.replace(num_points=[0, 60, 60, -1])
    raw = raw_frame(dataclasses.replace(frame, boxes=sparse), ("car",), 1, with_view=False)
    assert len(raw.boxes_7) == 1
    assert raw_frame(dataclasses.replace(frame, boxes=None), ("car",), 1, with_view=False) is None
