"""Staging by several writers and one merge end as one writer's append does."""

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import lance
import numpy as np
import pytest
from frame_factory import make_frame

from admlops.errors import DataError
from admlops.lake.appending import commit_fragments
from admlops.lake.staging import Merge, Staged, remove_orphans, stage_frames
from admlops.lake.store import Dataset
from admlops.structures.frame import Frame, LidarSweep

DAY_S = 86_400


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return Dataset.create(str(tmp_path / "lake")).uri


def frames(low: int, high: int) -> list[Frame]:
    return [make_frame(index) for index in range(low, high)]


def other_data(index: int) -> Frame:
    """Return another frame under the key of a frame."""
    frame = make_frame(index)
    assert frame.lidar is not None
    lidar = LidarSweep(frame.lidar.sensor, frame.lidar.points + np.float32(1))
    return Frame(frame.key, frame.frame_id, frame.global_from_ego, lidar=lidar)


def merge(uri: str, shards: list[list[Frame]]) -> tuple[Dataset, object]:
    staged = [stage_frames(uri, shard) for shard in shards]
    merging = Merge.begin(uri)
    for shard, found in zip(shards, staged, strict=True):
        again = Staged.parse(json.loads(json.dumps(found.to_json_dict())))
        assert again == found
        if not merging.take(again):
            merging.add(shard)
    report = merging.commit()
    return Dataset.open(uri), report


SHARDS = {
    "even": [frames(0, 4), frames(4, 8)],
    "uneven with an empty one": [frames(0, 1), [], frames(1, 8)],
    "a frame that comes again": [frames(0, 5), frames(3, 8)],
    "a shard that comes again": [frames(0, 8), frames(2, 4), frames(0, 8)],
    "other data under a key": [frames(0, 4), [other_data(2)], [*frames(4, 8), other_data(5)]],
    "other data among new": [frames(0, 4), [make_frame(4), other_data(2), *frames(5, 8)]],
    "nothing": [[], []],
}


@pytest.mark.parametrize("shards", SHARDS.values(), ids=SHARDS)
@pytest.mark.parametrize("before", [0, 3])
def test_shards_give_what_one_writer_gives(tmp_path, uri, shards, before) -> None:
    one = Dataset.create(str(tmp_path / "one"))
    for dataset in (one, Dataset.open(uri)):
        dataset.append(frames(0, before))
    expected = one.append([frame for shard in shards for frame in shard])
    merged, report = merge(uri, shards)
    assert merged.keys() == one.keys()
    assert merged.digest == one.digest
    assert report.num_added == expected.num_added
    assert report.num_present == expected.num_present
    assert report.conflicts == expected.conflicts
    assert report.version == merged.version
    for first, second in zip(one.iterate(camera=True), merged.iterate(camera=True), strict=True):
        assert first.sensor_digest() == second.sensor_digest()


def test_all_shards_become_visible_at_once(uri) -> None:
    before = Dataset.open(uri).version
    staged = [stage_frames(uri, frames(low, low + 3)) for low in (0, 3, 6)]
    assert Dataset.open(uri).version == before
    merging = Merge.begin(uri)
    assert all(merging.take(one) for one in staged)
    assert Dataset.open(uri).num_frames == 0
    assert merging.commit().version == before + 1
    assert Dataset.open(uri).num_frames == 9


def test_a_merge_that_is_repeated_adds_nothing(uri) -> None:
    staged = [stage_frames(uri, frames(low, low + 3)) for low in (0, 3)]
    reports = []
    for _ in range(2):
        merging = Merge.begin(uri)
        assert all(merging.take(one) for one in staged)
        reports.append(merging.commit())
    assert [(report.num_added, report.num_present) for report in reports] == [(6, 0), (0, 6)]
    assert reports[0].version == reports[1].version
    assert Dataset.open(uri).keys() == [frame.key for frame in frames(0, 6)]


def test_a_merge_beside_another_writer_leaves_each_frame_once(uri) -> None:
    staged = stage_frames(uri, frames(0, 4))
    merging = Merge.begin(uri)
    assert merging.take(staged)
    Dataset.open(uri).append(frames(2, 6))
    report = merging.commit()
    assert (report.num_added, report.num_present) == (2, 2)
    dataset = Dataset.open(uri)
    assert [key.timestamp_ns for key in Dataset.keys(dataset)] == [2, 3, 4, 5, 0, 1]
    assert dataset.version == report.version


def test_shards_whose_frames_came_in_between_are_read_again(uri) -> None:
    staged = stage_frames(uri, frames(0, 6))
    Dataset.open(uri).append(frames(0, 2))
    merging = Merge.begin(uri)
    assert not merging.take(staged)
    merging.add(frames(0, 6))
    report = merging.commit()
    assert (report.num_added, report.num_present) == (4, 2)


def data_files(uri: str) -> set[Path]:
    return set((Path(uri) / "data").glob("*.lance"))


def stage_and_die(uri: str) -> None:
    stage_frames(uri, frames(0, 5))
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_shard_leaves_is_deleted_after_a_week(uri) -> None:
    process = multiprocessing.get_context("spawn").Process(target=stage_and_die, args=(uri,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    (orphan,) = data_files(uri)
    assert Dataset.open(uri).num_frames == 0
    dataset, _ = merge(uri, [frames(0, 3), frames(3, 5)])
    versions = dataset.versions()
    assert remove_orphans(uri) == 0
    os.utime(orphan, (time.time() - 8 * DAY_S,) * 2)
    assert remove_orphans(uri) == 1
    assert orphan not in data_files(uri)
    assert Dataset.open(uri).versions() == versions
    assert [frame.frame_id for frame in Dataset.open(uri).iterate()] == dataset.frame_ids()


def test_a_staged_shard_whose_files_are_gone_is_not_taken(uri) -> None:
    staged = stage_frames(uri, frames(0, 5))
    for path in data_files(uri):
        path.unlink()
    assert not Merge.begin(uri).take(staged)


def test_writers_at_the_same_time_do_not_disturb_each_other(tmp_path) -> None:
    uri = str(tmp_path / "made_by_the_first")
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        staged = pool.starmap(stage_frames, [(uri, frames(0, 6)), (uri, frames(6, 12))])
    merging = Merge.begin(uri)
    assert all(merging.take(one) for one in staged)
    assert merging.commit().num_added == 12
    one = Dataset.create(str(tmp_path / "one"))
    one.append(frames(0, 12))
    assert Dataset.open(uri).keys() == one.keys()
    assert Dataset.open(uri).digest == one.digest


def test_staging_makes_an_empty_dataset_and_a_merge_needs_one(tmp_path) -> None:
    uri = str(tmp_path / "new")
    with pytest.raises(DataError, match="no dataset"):
        Merge.begin(uri)
    stage_frames(uri, frames(0, 1), ("CC0-1.0",))
    dataset = Dataset.open(uri)
    assert (dataset.version, dataset.num_frames, dataset.licences) == (1, 0, ("CC0-1.0",))


def test_a_commit_alone_removes_nothing(uri) -> None:
    staged = stage_frames(uri, frames(0, 3))
    fragments = [lance.FragmentMetadata.from_json(text) for text in staged.fragments]
    table, num_doubled = commit_fragments(lance.dataset(uri), fragments, {})
    assert (table.count_rows(), num_doubled) == (3, 0)
