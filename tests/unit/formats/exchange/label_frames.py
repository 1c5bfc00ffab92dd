"""Frames with everything that labels can hold, made up by hypothesis."""

import json
import math

import numpy as np
from hypothesis import strategies as st

from admlops.formats.label_file import LabelFile
from admlops.geometry.pose import make_transform, rotation_about_z
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import CalibratedSensor, CameraImage, Frame, FrameKey, LidarSweep

REALS = st.floats(-1e6, 1e6, allow_nan=False)
NAMES = st.text(
    st.characters(blacklist_categories=["Cs", "Cc"], max_codepoint=0x2FFF), min_size=1, max_size=8
).filter(lambda name: name.strip() == name)
YAWS = st.floats(-math.pi, math.pi, exclude_max=True)
PLAIN = st.one_of(
    st.booleans(),
    st.integers(-1000, 1000),
    REALS,
    NAMES,
    st.lists(REALS, max_size=3),
)
ATTRIBUTES = st.one_of(
    st.just(""),
    st.just("{}"),
    st.just('{"b": 1, "a": [2, {"c": null}]}'),
    st.just('{"score": "own"}'),
    st.just("not JSON"),
    st.dictionaries(NAMES, PLAIN, min_size=1, max_size=3).map(
        lambda values: json.dumps(values, sort_keys=True)
    ),
)
OPTIONAL = st.one_of(st.just(math.nan), REALS)


@st.composite
def damaged(draw, content: bytes, pieces: list[bytes]) -> bytes:
    """Content in which up to four stretches are replaced by pieces."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(changed) - 1))
        end = place + draw(st.integers(1, 12))
        changed[place:end] = draw(st.sampled_from(pieces))
    return bytes(changed)


def assert_accounted(labels: LabelFile) -> None:
    """Every frame that is left out has an error that says so, and no other one."""
    errors = [item for item in labels.findings if item.rule.severity == "error"]
    assert len(errors) == labels.num_refused


def object_array(values):
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


@st.composite
def boxes(draw, categories=NAMES):
    count = draw(st.integers(0, 4))

    def many(strategy):
        return [draw(strategy) for _ in range(count)]

    return Boxes.make(
        np.array(many(st.tuples(REALS, REALS, REALS))).reshape(-1, 3),
        np.array(many(st.tuples(*[st.floats(0, 100)] * 3))).reshape(-1, 3),
        many(YAWS),
        object_array(many(categories)),
        score=many(OPTIONAL),
        track_id=object_array(many(st.sampled_from(["", "a", "b", "7"]))),
        num_points=many(st.integers(-1, 10**6)),
        occlusion=many(st.integers(-1, 3)),
        truncation=many(OPTIONAL),
        box2d_px=np.array(many(st.tuples(*[OPTIONAL] * 4))).reshape(-1, 4),
        velocity_mps=np.array(many(st.tuples(OPTIONAL, OPTIONAL))).reshape(-1, 2),
        attributes=object_array(many(ATTRIBUTES)),
    )


@st.composite
def boxes_2d(draw, cameras=("", "front"), categories=NAMES):
    count = draw(st.integers(0, 3))

    def many(strategy):
        return [draw(strategy) for _ in range(count)]

    return Boxes2d.make(
        np.array(many(st.tuples(*[REALS] * 4))).reshape(-1, 4),
        object_array(many(categories)),
        camera=object_array(many(st.sampled_from(cameras))),
        score=many(OPTIONAL),
        track_id=object_array(many(st.sampled_from(["", "a", "b"]))),
        occlusion=many(st.integers(-1, 3)),
        truncation=many(OPTIONAL),
        attributes=object_array(many(ATTRIBUTES)),
    )


@st.composite
def sensors(draw, name, modality):
    pose = make_transform(
        rotation_about_z(draw(YAWS)), [draw(REALS), draw(REALS), draw(st.floats(0, 3))]
    )
    if modality == "lidar":
        return CalibratedSensor(name, "lidar", pose)
    matrix = np.array([[draw(REALS), 0, draw(REALS)], [0, draw(REALS), draw(REALS)], [0, 0, 1.0]])
    distortion = np.array(draw(st.lists(st.floats(-1, 1), max_size=8)), dtype=np.float64)
    return CalibratedSensor(name, "camera", pose, matrix, distortion)


@st.composite
def images(draw, name):
    regions = np.array(draw(st.lists(st.tuples(*[REALS] * 4), max_size=2))).reshape(-1, 4)
    sensor = draw(sensors(name, "camera"))
    return CameraImage(sensor, b"", draw(st.integers(1, 5000)), draw(st.integers(1, 5000)), regions)


@st.composite
def label_frames(draw):
    """Return one to three frames with keys of their own and without payloads."""
    times = draw(st.lists(st.integers(-(10**17), 10**18), min_size=1, max_size=3, unique=True))
    frames = []
    for time in times:
        pose = make_transform(rotation_about_z(draw(YAWS)), [draw(REALS), draw(REALS), 0.0])
        lidar = draw(st.one_of(st.none(), sensors("top", "lidar")))
        others = (draw(images("left")),) if draw(st.booleans()) else ()
        frames.append(
            Frame(
                key=FrameKey(draw(NAMES), draw(NAMES), time),
                frame_id=draw(NAMES),
                global_from_ego=pose,
                lidar=None if lidar is None else LidarSweep(lidar, np.empty((0, 4), np.float32)),
                camera=draw(st.one_of(st.none(), images("front"))),
                boxes=draw(st.one_of(st.none(), boxes())),
                tags=tuple(sorted(draw(st.sets(NAMES, max_size=2)))),
                split=draw(st.sampled_from(["", "train", "val"])),
                source=draw(NAMES),
                other_cameras=others,
                boxes_2d=draw(st.one_of(st.none(), boxes_2d())),
            )
        )
    return frames


def assert_same(first, second, where="frame"):
    """Compare structures field by field, arrays bit by bit (NaN equals NaN, -0.0 is not 0.0)."""
    if hasattr(first, "__dataclass_fields__"):
        assert type(first) is type(second), where
        for name in first.__dataclass_fields__:
            assert_same(getattr(first, name), getattr(second, name), f"{where}.{name}")
    elif isinstance(first, np.ndarray):
        assert first.shape == second.shape, where
        if first.dtype == object:
            assert first.tolist() == second.tolist(), where
        else:
            assert first.astype(first.dtype).tobytes() == second.tobytes(), where
    elif isinstance(first, tuple) and not hasattr(first, "_fields"):
        assert len(first) == len(second), where
        for index, (one, other) in enumerate(zip(first, second, strict=True)):
            assert_same(one, other, f"{where}[{index}]")
    else:
        assert first == second, where
