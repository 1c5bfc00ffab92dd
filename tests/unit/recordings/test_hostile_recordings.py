"""Hostile files end in frames, findings or a DataError; and every container gives equal frames."""

import random
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import mutate, navigated_seed, read_to_the_end, seeds

from admlops.recordings.config import RecordingConfig
from admlops.recordings.source import RecordingSource

NUM_SEEDS = 6


@pytest.fixture(scope="module")
def wholes(tmp_path_factory):
    return seeds(tmp_path_factory.mktemp("seeds"))


def test_every_container_gives_the_same_frames(wholes):
    """The bags were written by rosbags, ROS 1 ones converted: an independent way to our frames."""
    sources = [RecordingSource(path, RecordingConfig()) for path in wholes]
    assert [len(source) for source in sources] == [4] * NUM_SEEDS
    for index in range(4):
        first, *others = [source.read(index).frame for source in sources]
        for other in others:
            assert other.key.timestamp_ns == first.key.timestamp_ns
            np.testing.assert_array_equal(other.lidar.points, first.lidar.points)
            np.testing.assert_array_equal(other.global_from_ego, first.global_from_ego)
            assert other.camera.encoded == first.camera.encoded
            np.testing.assert_array_equal(
                other.camera.sensor.ego_from_sensor, first.camera.sensor.ego_from_sensor
            )


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(which=st.integers(0, NUM_SEEDS - 1), seed=st.integers(0, 2**32))
def test_a_damaged_recording_is_read_or_refused(wholes, tmp_path, which, seed):
    whole = wholes[which]
    path = tmp_path / f"damaged{whole.suffix}"
    path.write_bytes(mutate(whole.read_bytes(), random.Random(seed)))  # noqa: S311 - no secret
    assert read_to_the_end(path) in ("refused", "no frames", "read with findings", "read")


@pytest.fixture(scope="module")
def navigated(tmp_path_factory):
    return navigated_seed(tmp_path_factory.mktemp("navigated"))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32))
def test_damaged_fixes_and_orientations_are_read_or_refused(navigated, tmp_path, seed):
    path = tmp_path / "damaged.mcap"
    path.write_bytes(mutate(navigated.read_bytes(), random.Random(seed)))  # noqa: S311 - no secret
    assert read_to_the_end(path) in ("refused", "no frames", "read with findings", "read")


@pytest.mark.parametrize("which", range(NUM_SEEDS))
def test_a_file_cut_anywhere_is_read_or_refused(wholes, tmp_path, which):
    content = wholes[which].read_bytes()
    path = tmp_path / f"cut{wholes[which].suffix}"
    for length in np.linspace(0, len(content) - 1, 12).astype(int):
        path.write_bytes(content[:length])
        assert read_to_the_end(path) != "read"


def test_memory_does_not_grow_with_the_recording(tmp_path):
    """Six times as many sweeps of 10,000 points take as much memory, but for the index."""
    from drives import Drive, points

    from admlops.recordings.recording import open_recording
    from admlops.recordings.source import examine

    cloud = points(10_000)
    peaks = []
    for num_sweeps in (10, 60):
        drive = Drive(num_sweeps)
        drive.cloud = lambda _: cloud
        path = drive.write(tmp_path / f"{num_sweeps}.mcap")
        tracemalloc.start()
        with open_recording(path) as recording:
            examine(recording, RecordingConfig())
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]
    assert peaks[1] < 15 * 2**20
