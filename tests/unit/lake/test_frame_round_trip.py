"""Every field of a frame survives the lake, whatever it holds."""

import dataclasses
import tempfile

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from admlops.lake.encoding import content_digest, label_2d_digest, label_digest
from admlops.lake.store import Dataset
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import CalibratedSensor, CameraImage, Frame, FrameKey, LidarSweep

words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
numbers = st.floats(-1e6, 1e6, width=64)
maybe = st.one_of(numbers, st.just(np.nan))


def matrices(rows, columns, elements=numbers):
    return arrays.arrays(np.float64, (rows, columns), elements=elements)


@st.composite
def boxes(draw):
    count = draw(st.integers(0, 3))
    floats = {"elements": maybe}
    return Boxes.make(
        draw(matrices(count, 3)),
        draw(matrices(count, 3)),
        draw(arrays.arrays(np.float64, count, elements=numbers)),
        draw(st.lists(words, min_size=count, max_size=count)),
        score=draw(arrays.arrays(np.float64, count, **floats)),
        track_id=np.array(draw(st.lists(words, min_size=count, max_size=count)), dtype=object),
        num_points=draw(arrays.arrays(np.int64, count)),
        occlusion=draw(arrays.arrays(np.int64, count, elements=st.integers(-1, 3))),
        truncation=draw(arrays.arrays(np.float64, count, **floats)),
        box2d_px=draw(matrices(count, 4, maybe)),
        velocity_mps=draw(matrices(count, 2, maybe)),
        attributes=np.array(draw(st.lists(words, min_size=count, max_size=count)), dtype=object),
    )


@st.composite
def boxes_2d(draw):
    count = draw(st.integers(0, 3))
    names = [
        np.array(draw(st.lists(words, min_size=count, max_size=count)), dtype=object)
        for _ in range(4)
    ]
    return Boxes2d.make(
        draw(matrices(count, 4, maybe)),
        names[0],
        camera=names[1],
        track_id=names[2],
        attributes=names[3],
        score=draw(arrays.arrays(np.float64, count, elements=maybe)),
        occlusion=draw(arrays.arrays(np.int64, count, elements=st.integers(-1, 3))),
        truncation=draw(arrays.arrays(np.float64, count, elements=maybe)),
    )


@st.composite
def sensors(draw, modality):
    matrix = draw(st.none() | matrices(3, 3))
    lens = draw(arrays.arrays(np.float64, st.integers(0, 2), elements=numbers))
    return CalibratedSensor(draw(words), modality, draw(matrices(4, 4)), matrix, lens)


@st.composite
def frames(draw, timestamp_ns):
    points = arrays.arrays(
        np.float32, st.tuples(st.integers(0, 4), st.just(4)), elements=st.floats(width=32)
    )
    lidar = st.builds(LidarSweep, sensors("lidar"), points)
    camera = st.builds(
        CameraImage,
        sensors("camera"),
        st.binary(max_size=8),
        st.integers(1, 5000),
        st.integers(1, 5000),
        st.integers(0, 2).flatmap(lambda count: matrices(count, 4)),
    )
    return Frame(
        key=FrameKey(draw(words), draw(words), timestamp_ns),
        frame_id=draw(words),
        global_from_ego=draw(matrices(4, 4)),
        lidar=draw(st.none() | lidar),
        camera=draw(st.none() | camera),
        boxes=draw(st.none() | boxes()),
        tags=tuple(sorted(draw(st.sets(words, max_size=3)))),
        split=draw(st.sampled_from(["", "train", "val", "pool"])),
        source=draw(words),
        other_cameras=tuple(draw(st.lists(camera, max_size=2))),
        boxes_2d=draw(st.none() | boxes_2d()),
    )


batches = st.integers(1, 3).flatmap(
    lambda count: st.tuples(*[frames(timestamp_ns=index) for index in range(count)])
)


def assert_equal(first, second):
    """Compare two structures field by field; NaN equals NaN."""
    if dataclasses.is_dataclass(first):
        assert type(first) is type(second)
        for field in dataclasses.fields(first):
            assert_equal(getattr(first, field.name), getattr(second, field.name))
    elif isinstance(first, tuple):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_equal(one, other)
    elif isinstance(first, np.ndarray):
        assert first.dtype == second.dtype
        assert first.shape == second.shape
        np.testing.assert_array_equal(first, second)
    else:
        assert first == second


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(batches)
def test_frames_come_back_as_they_went_in(given_frames):
    with tempfile.TemporaryDirectory() as folder:
        dataset = Dataset.create(f"{folder}/lake.lance")
        dataset.append(given_frames)
        found = list(Dataset.open(dataset.uri).iterate(camera=True, other_cameras=True))
    assert len(found) == len(given_frames)
    for before, after in zip(given_frames, found, strict=True):
        assert_equal(before, after)
        digest = before.sensor_digest()
        assert content_digest(before, digest) == content_digest(after, after.sensor_digest())
        assert label_digest(before.boxes, before.split) == label_digest(after.boxes, after.split)
        assert label_2d_digest(before.boxes_2d) == label_2d_digest(after.boxes_2d)
