import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_frames import assert_accounted, assert_same, damaged, label_frames

from admlops.errors import DataError
from admlops.formats.openlabel.reader import is_openlabel, read_openlabel
from admlops.formats.openlabel.writer import write_openlabel
from admlops.structures.boxes import Boxes
from admlops.structures.frame import Frame, FrameKey


def document(**parts):
    """A file as another tool writes it: quaternions, sensor frames, dates, numeric UIDs."""
    whole = {
        "metadata": {"schema_version": "1.0.0"},
        "coordinate_systems": {
            "odom": {"type": "scene_cs", "parent": "", "children": ["base"]},
            "base": {"type": "local_cs", "parent": "odom", "children": ["lidar"]},
            "lidar": {
                "type": "sensor_cs",
                "parent": "base",
                "children": [],
                "pose_wrt_parent": {
                    "quaternion": [0, 0, math.sqrt(0.5), math.sqrt(0.5)],
                    "translation": [1.0, 0.0, 2.0],
                },
            },
        },
        "streams": {"lidar": {"type": "lidar"}},
        "objects": {"4": {"name": "Bob's car", "type": "car"}},
        "frames": {
            "0": {
                "frame_properties": {"timestamp": "1970-01-01 00:00:02"},
                "objects": {
                    "4": {
                        "object_data": {
                            "cuboid": [
                                {
                                    "name": "shape",
                                    "val": [3, 4, 0.5, 0, 0, 0, 1, 4, 2, 1.5],
                                    "coordinate_system": "lidar",
                                    "attributes": {"boolean": [{"name": "parked", "val": True}]},
                                }
                            ]
                        }
                    }
                },
            }
        },
    }
    return {"openlabel": whole | parts}


def read(folder, content):
    path = folder / "labels.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_openlabel(path)


def with_cuboid(**changes):
    content = document()
    frame = content["openlabel"]["frames"]["0"]
    frame["objects"]["4"]["object_data"]["cuboid"][0] |= changes
    return content


@given(frames=label_frames())
@settings(max_examples=60, deadline=None)
def test_round_trip_is_exact(frames, tmp_path_factory):
    path = tmp_path_factory.mktemp("openlabel") / "labels.json"
    assert write_openlabel(path, frames) == len(frames)
    back = read_openlabel(path)
    assert [item.rule.rule_id for item in back.findings] == []
    assert is_openlabel(path)
    for one, other in zip(frames, back.frames, strict=True):
        assert_same(one, other)


def test_a_file_of_another_tool_by_hand(tmp_path):
    (frame,) = read(tmp_path, document()).frames
    assert frame.key == FrameKey("labels", "labels", 2_000_000_000)
    assert frame.frame_id == "0"
    # the lidar looks left: its x is our y, its y is our -x; it stands at x = 1, z = 2
    assert np.allclose(frame.boxes.as_7(), [[-3, 3, 2.5, 4, 2, 1.5, math.pi / 2]])
    assert frame.boxes.category.tolist() == ["car"]
    assert frame.boxes.track_id.tolist() == ["4"]
    assert frame.boxes.attributes.tolist() == ['{"parked": true}']
    assert np.allclose(frame.lidar.sensor.ego_from_sensor[:3, 3], [1, 0, 2])


def test_euler_angles_and_quaternions_of_one_rotation_agree(tmp_path):
    half = 0.15
    euler = with_cuboid(val=[1, 2, 3, 0, 0, 0.3, 4, 2, 1], coordinate_system="base")
    turned = [1, 2, 3, 0, 0, math.sin(half), math.cos(half), 4, 2, 1]
    quaternion = with_cuboid(val=turned, coordinate_system="base")
    one, other = (read(tmp_path, item).frames[0].boxes for item in (euler, quaternion))
    assert one.yaw_rad[0] == 0.3
    assert np.allclose(one.as_7(), other.as_7())


def test_yaw_is_brought_into_range(tmp_path):
    content = with_cuboid(val=[0, 0, 0, 0, 0, 1.5 * math.pi, 4, 2, 1], coordinate_system="base")
    boxes = read(tmp_path, content).frames[0].boxes
    assert boxes.yaw_rad[0] == pytest.approx(-0.5 * math.pi)


def test_leaning_boxes_are_named(tmp_path):
    content = with_cuboid(val=[0, 0, 0, 0.5, 0, 0, 4, 2, 1], coordinate_system="base")
    result = read(tmp_path, content)
    assert [item.rule.rule_id for item in result.findings] == ["EXCH002"]
    assert "28.6 degrees" in result.findings[0].what
    assert len(result.frames) == 1


def test_boxes_in_images_are_centre_and_size(tmp_path):
    content = document()
    data = content["openlabel"]["frames"]["0"]["objects"]["4"]["object_data"]
    data["bbox"] = [{"name": "b", "val": [100, 50, 20, 10], "coordinate_system": "front"}]
    data["poly2d"] = [{"name": "p", "val": [1, 2], "closed": True, "mode": "MODE_POLY2D_ABSOLUTE"}]
    result = read(tmp_path, content)
    boxes = result.frames[0].boxes_2d
    assert boxes.box2d_px.tolist() == [[90, 45, 110, 55]]
    assert boxes.camera.tolist() == ["front"]
    assert [item.rule.rule_id for item in result.findings] == ["EXCH003"]


def test_an_edited_box_wins_over_its_old_corners(tmp_path):
    content = document()
    data = content["openlabel"]["frames"]["0"]["objects"]["4"]["object_data"]
    data["bbox"] = [{"name": "b", "val": [100, 50, 20, 10], "corners_px": [0, 0, 20, 10]}]
    boxes = read(tmp_path, content).frames[0].boxes_2d
    assert boxes.box2d_px.tolist() == [[90, 45, 110, 55]]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"val": [1, 2, 3]}, "9 or 10 numbers"),
        ({"val": [1, 2, 3, 0, 0, 0, 4, 2, "wide"]}, "expected a number"),
        ({"val": [10**400, 2, 3, 0, 0, 0, 4, 2, 1]}, "expected a number"),
        ({"val": [1, 2, 3, 0, 0, 0, 4, -2, 1]}, "positive"),
        ({"val": [0, 0, 0, 0, 0, 0, 0, 4, 2, 1]}, "not a rotation"),
        ({"coordinate_system": "radar"}, "not declared"),
        ({"attributes": {"num": [{"name": "score", "val": "high"}]}}, "score"),
        ({"attributes": {"num": [{"val": 3}]}}, "no name"),
        ({"attributes": 7}, "JSON object"),
    ],
)
def test_a_broken_box_leaves_its_frame_out(tmp_path, changes, what):
    content = with_cuboid(**changes)
    content["openlabel"]["frames"]["1"] = {"objects": {}}
    result = read(tmp_path, content)
    assert [item.rule.rule_id for item in result.findings] == ["EXCH001"]
    assert what in result.findings[0].what
    assert result.findings[0].where == "frame 0"
    assert [frame.frame_id for frame in result.frames] == ["1"]
    assert result.num_refused == 1
    with pytest.raises(DataError, match="EXCH001"):
        result.require_whole("delivery")


def test_undeclared_objects_and_circles_are_findings(tmp_path):
    result = read(tmp_path, document(objects={}))
    assert "not declared with a type" in result.findings[0].what
    circle = document()
    systems = circle["openlabel"]["coordinate_systems"]
    systems["lidar"]["parent"], systems["other"] = "other", {"type": "x", "parent": "lidar"}
    assert "below itself" in read(tmp_path, circle).findings[0].what


def test_repeated_frames_are_refused(tmp_path):
    content = document()
    frames = content["openlabel"]["frames"]
    frames["00"] = frames["0"]
    frames["1"] = json.loads(json.dumps(frames["0"]))  # same time, hence the same key
    frames["one"] = {}
    result = read(tmp_path, content)
    rules = [item.rule.rule_id for item in result.findings]
    assert (sorted(rules), len(result.frames)) == (["EXCH001", "EXCH004", "EXCH004"], 1)


@pytest.mark.parametrize(
    ("time", "nanoseconds"),
    [
        ("1700000000.123456789", 1_700_000_000_123_456_789),
        (1.5, 1_500_000_000),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T00:00:00.000001", 1000),
    ],
)
def test_times(tmp_path, time, nanoseconds):
    content = document()
    content["openlabel"]["frames"]["0"]["frame_properties"]["timestamp"] = time
    assert read(tmp_path, content).frames[0].key.timestamp_ns == nanoseconds


@pytest.mark.parametrize("time", ["1e999999999", "soon", [1], 1e300, "NaN"])
def test_impossible_times_are_findings(tmp_path, time):
    content = document()
    content["openlabel"]["frames"]["0"]["frame_properties"]["timestamp"] = time
    assert "timestamp" in read(tmp_path, content).findings[0].what


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"openlabel": {"metadata": {"schema_version": NaN}}}', "not JSON"),
        ("[]", "not OpenLABEL"),
        (with_cuboid(val=[math.inf, 2, 3, 0, 0, 0, 4, 2, 1]), "Infinity is no JSON number"),
        ({"openlabel": {"metadata": {"schema_version": "0.3.0"}}}, "0.3.0"),
        ({"openlabel": {"metadata": {"schema_version": "1.0.0"}, "frames": []}}, "frames"),
    ],
)
def test_other_files_are_refused(tmp_path, content, what):
    with pytest.raises(DataError, match=what):
        read(tmp_path, content)


def test_infinite_boxes_cannot_be_written(tmp_path):
    boxes = Boxes.make([[math.inf, 0, 0]], [[1, 1, 1]], [0], ["car"])
    frame = Frame(FrameKey("a", "b", 0), "0", np.eye(4), boxes=boxes)
    with pytest.raises(DataError, match="box 0"):
        write_openlabel(tmp_path / "labels.json", [frame])
    assert not (tmp_path / "labels.json").exists()


PIECES = [b"", b"null", b"[]", b"1e9", b"{}", b'"x"']


@given(content=damaged(json.dumps(document()).encode(), PIECES))
@settings(max_examples=150, deadline=None)
def test_damaged_files_give_findings_or_data_errors(content, tmp_path_factory):
    path = tmp_path_factory.mktemp("damaged") / "labels.json"
    path.write_bytes(content)
    try:
        result = read_openlabel(path)
    except DataError:
        return
    assert_accounted(result)


def places(value, way=()):
    """Yield the way to every member and item of a JSON document."""
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    for name, inner in items:
        yield (*way, name)
        yield from places(inner, (*way, name))


WAYS = [way for way in places(document()) if len(way) > 1]


@given(
    way=st.sampled_from(WAYS),
    value=st.sampled_from([None, [], {}, "", -1, 10**400, True, "x", [None], {"a": 1}, "../x"]),
)
@settings(max_examples=300, deadline=None)
def test_any_value_anywhere_gives_findings_or_data_errors(way, value, tmp_path_factory):
    content = document()
    *outer, last = way
    inner = content
    for name in outer:
        inner = inner[name]
    inner[last] = value
    try:
        result = read(tmp_path_factory.mktemp("any"), content)
    except DataError:
        return
    assert len(result.frames) + result.num_refused <= 1
