"""Appending under adverse conditions: kills, two writers, many frames."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import lance
import numpy as np
import pytest
from frame_factory import make_frame

from admlops.lake import appending
from admlops.lake.store import Dataset

FOLDER = Path(__file__).parent

SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
from frame_factory import make_frame
from admlops.lake import appending
from admlops.lake.store import Dataset

appending.COMMIT_FRAMES = 4
def source():
    for index in range(30):
        print(index, flush=True)
        yield make_frame(index)
    sys.stdin.read()
Dataset.create(sys.argv[1]).append(source())
"""


def start(uri: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen:
    """Append 30 frames in another process, which ends when its input does."""
    code = textwrap.dedent(SCRIPT.format(folder=str(FOLDER)))
    return subprocess.Popen(
        [sys.executable, "-c", code, uri], stdin=stdin, stdout=subprocess.PIPE, text=True
    )


@pytest.fixture
def whole(tmp_path, monkeypatch):
    monkeypatch.setattr(appending, "COMMIT_FRAMES", 4)
    dataset = Dataset.create(str(tmp_path / "whole.lance"))
    dataset.append(make_frame(index) for index in range(30))
    return dataset


@pytest.mark.parametrize("kill_at", [1, 6, 13, 29])
def test_a_killed_append_that_is_run_again_equals_an_uninterrupted_one(whole, tmp_path, kill_at):
    uri = str(tmp_path / "killed.lance")
    with start(uri, subprocess.PIPE) as process:
        for line in process.stdout:
            if int(line) >= kill_at:
                os.kill(process.pid, signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    before = Dataset.open(uri)
    assert before.num_frames < 30
    assert [frame.frame_id for frame in before.iterate()] == whole.frame_ids()[: before.num_frames]

    resumed = Dataset.create(uri)
    report = resumed.append(make_frame(index) for index in range(30))
    assert report.num_added == 30 - before.num_frames
    assert resumed.keys() == whole.keys()
    assert resumed.digest == whole.digest
    assert resumed.version == whole.version


def test_two_writers_of_the_same_source_leave_each_frame_once(whole, tmp_path):
    uri = str(tmp_path / "shared.lance")
    Dataset.create(uri)
    with start(uri) as first, start(uri) as second:
        first.stdout.read()
        second.stdout.read()
    assert (first.returncode, second.returncode) == (0, 0)
    dataset = Dataset.open(uri)
    assert sorted(dataset.keys()) == whole.keys()
    assert dataset.digest == whole.digest


def test_a_writer_that_finds_itself_second_removes_its_duplicates(whole):
    other = Dataset.open(whole.uri)

    def source():
        yield make_frame(40)
        yield make_frame(41)
        assert other.append([make_frame(41), make_frame(42)]).num_added == 2
        yield make_frame(43)

    report = whole.append(source())
    assert (report.num_added, report.num_present) == (2, 1)
    assert [key.timestamp_ns for key in whole.keys()[30:]] == [41, 42, 40, 43]
    assert Dataset.open(whole.uri).keys() == whole.keys()


def test_duplicates_that_a_killed_writer_left_are_mended_by_the_next(whole):
    table = lance.dataset(whole.uri)
    lance.write_dataset(table.to_table(limit=3, blob_handling="all_binary"), table, mode="append")
    assert Dataset.open(whole.uri).num_frames == 33
    dataset = Dataset.open(whole.uri)
    assert dataset.append([make_frame(2)]).num_present == 1
    assert dataset.keys() == whole.keys()
    np.testing.assert_array_equal(dataset.take([29])[0].lidar.points, make_frame(29).lidar.points)


MEASURE = textwrap.dedent(
    """
    import sys

    import numpy as np
    import psutil
    from frame_factory import make_frame

    from admlops.lake.store import Dataset
    from admlops.structures.frame import Frame, FrameKey

    dataset = Dataset.create(sys.argv[1])
    process = psutil.Process()
    dataset.append(make_frame(index, num_points=10) for index in range(200))
    before = peak = process.memory_info().rss
    dataset.append(
        Frame(FrameKey("log", "scene", index), str(index), np.eye(4)) for index in range(5_000)
    )


    def large():
        global peak
        for index in range(400):
            peak = max(peak, process.memory_info().rss)
            yield make_frame(1000 + index, num_points=125_000)


    dataset.append(large())
    for _ in dataset.iterate(np.arange(4_900, dataset.num_frames)):
        peak = max(peak, process.memory_info().rss)
    assert dataset.num_frames == 5_600
    print((peak - before) >> 20)
    """
)


def test_memory_does_not_grow_with_the_number_of_frames(tmp_path):
    """5,000 frames without payloads, and 400 with 2 MB each: far less memory than data."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "many.lance")],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 500, "MiB, in a process of its own"
