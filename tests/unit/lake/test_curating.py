import numpy as np
import pytest

from admlops.errors import DataError
from admlops.lake import embedding
from admlops.lake.rows import spread_evenly
from admlops.lake.store import Dataset
from admlops.structures.boxes import Boxes
from admlops.structures.frame import CalibratedSensor, Frame, FrameKey, LidarSweep

SENSOR = CalibratedSensor("lidar_top", "lidar", np.eye(4))


def make_frame(index):
    pose = np.eye(4)
    pose[0, 3] = index
    return Frame(
        key=FrameKey("log", "scene", index),
        frame_id=f"{index:06d}",
        global_from_ego=pose,
        lidar=LidarSweep(SENSOR, np.full((2, 4), index, np.float32)),
        boxes=Boxes.make(np.zeros((1, 3)), np.ones((1, 3)), np.zeros(1), ["car"]),
        split="train",
    )


@pytest.fixture
def dataset(tmp_path):
    dataset = Dataset.create(str(tmp_path / "lake"))
    dataset.append(make_frame(index) for index in range(6))
    return dataset


def test_moving_changes_the_split_and_its_digest_alone(dataset):
    before = dataset.frame_digests()
    version = dataset.version
    moved = dataset.move({FrameKey("log", "scene", 2): "val", FrameKey("log", "scene", 3): "train"})
    assert moved == 1
    assert dataset.version == version + 1
    frames = dataset.take(range(6))
    assert [frame.split for frame in frames] == ["train", "train", "val", "train", "train", "train"]
    assert all(len(frame.boxes) == 1 and len(frame.lidar.points) == 2 for frame in frames)
    changed = {k for k, digest in dataset.frame_digests().items() if digest != before[k]}
    assert changed == {FrameKey("log", "scene", 2)}
    dataset.move({FrameKey("log", "scene", 2): "train"})
    assert dataset.frame_digests() == before


def test_moving_what_is_not_there_is_refused_and_nothing_is_a_new_version(dataset):
    with pytest.raises(DataError, match="1 of 1 frames to move are not in the dataset"):
        dataset.move({FrameKey("log", "scene", 9): "val"})
    version = dataset.version
    assert dataset.move({FrameKey("log", "scene", 1): "train"}) == 0
    assert dataset.version == version


def test_a_whole_append_is_one_version_or_none(tmp_path, monkeypatch):
    monkeypatch.setattr("admlops.lake.appending.COMMIT_FRAMES", 2)
    dataset = Dataset.create(str(tmp_path / "whole"))

    def broken():
        yield from map(make_frame, range(5))
        raise OSError("the source is gone")

    with pytest.raises(OSError, match="gone"):
        dataset.append(broken(), whole=True)
    assert Dataset.open(dataset.uri).num_frames == 0
    report = dataset.append(map(make_frame, range(5)), whole=True)
    assert (report.num_added, report.version) == (5, 2)
    assert [frame.key.timestamp_ns for frame in dataset.take(range(5))] == list(range(5))
    assert dataset.append(map(make_frame, range(5)), whole=True).num_added == 0


def test_poses_are_read_in_row_order(dataset):
    assert dataset.poses()[:, 0, 3].tolist() == list(range(6))


@pytest.mark.parametrize("indexed", [False, True])
def test_the_nearest_frames_are_found(dataset, monkeypatch, indexed):
    monkeypatch.setattr(embedding, "MIN_INDEXED", 4)
    keys = dataset.keys()
    vectors = {key: np.float32([key.timestamp_ns, 0.0]) for key in keys}
    dataset.add_embedding("detector", {key: vectors[key] for key in keys[:5]})
    if indexed:
        dataset.index_embedding("detector")
    dataset.add_embedding("detector", {keys[5]: vectors[keys[5]]})
    found = dataset.nearest("detector", np.array([4.6, 0.0]), 2)
    assert [key.timestamp_ns for key, _ in found] == [5, 4]
    assert [distance for _, distance in found] == pytest.approx([0.4, 0.6], abs=1e-5)
    found = dataset.nearest("detector", np.array([4.6, 0.0]), 2, "timestamp_ns < 3")
    assert [key.timestamp_ns for key, _ in found] == [2, 1]


def test_wrong_searches_are_told(dataset):
    dataset.add_embedding("detector", {dataset.keys()[0]: np.zeros(2, np.float32)})
    with pytest.raises(DataError, match="no embedding is called 'other'; there are: detector"):
        dataset.nearest("other", np.zeros(2), 1)
    with pytest.raises(DataError, match=r"has 2 values, .* has shape \(3,\)"):
        dataset.nearest("detector", np.zeros(3), 1)
    with pytest.raises(DataError, match="where no_such = 1 failed"):
        dataset.nearest("detector", np.zeros(2), 1, "no_such = 1")
    with pytest.raises(DataError, match="from 10000 on an index pays"):
        dataset.index_embedding("detector")


def test_rows_are_spread_from_first_to_last():
    assert spread_evenly(np.arange(11), 3).tolist() == [0, 5, 10]
    assert spread_evenly(np.arange(2), 3).tolist() == [0, 1]
    assert spread_evenly(np.arange(5), 0).tolist() == []
