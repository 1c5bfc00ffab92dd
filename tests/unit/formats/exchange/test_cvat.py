import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_frames import NAMES, assert_accounted, assert_same, boxes, boxes_2d, damaged

from admlops.errors import DataError
from admlops.formats.cvat.interpolation import STAYS, move, spans_of
from admlops.formats.cvat.reader import is_cvat, read_cvat
from admlops.formats.cvat.values import from_text, to_text
from admlops.formats.cvat.writer import write_cvat
from admlops.structures.boxes import Boxes
from admlops.structures.frame import Frame, FrameKey

VIDEO = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
 <version>1.1</version>
 <meta><task><name>town</name><size>5</size><mode>interpolation</mode></task></meta>
 <track id="3" label="car" source="manual">
  <cuboid frame="0" keyframe="1" outside="0" occluded="1" z_order="0"
   points="10,0;1,0;0,0.1;4,2;1.5,0;0,0;0,0;0,0"><attribute name="parked">false</attribute></cuboid>
  <cuboid frame="2" keyframe="1" outside="0" occluded="0"
   points="14,2;1,0;0,0.3;4,2;1.5,0;0,0;0,0;0,0"><attribute name="parked">true</attribute></cuboid>
  <cuboid frame="4" keyframe="1" outside="1" occluded="0"
   points="14,2;1,0;0,0.3;4,2;1.5,0;0,0;0,0;0,0"/>
 </track>
 <track id="4" label="pedestrian" source="manual">
  <box frame="1" keyframe="1" outside="0" occluded="0" xtl="10" ytl="20" xbr="30" ybr="60"/>
  <polygon frame="1" keyframe="1" outside="0" occluded="0" points="1,2;3,4;5,6"/>
 </track>
</annotations>
"""
IMAGES = """<annotations><version>1.1</version>
 <image id="0" name="a.jpg" width="640" height="480">
  <box label="car" occluded="0" xtl="1.5" ytl="2" xbr="3" ybr="4" z_order="1">
   <attribute name="colour">red</attribute></box>
  <box label="van" occluded="1" xtl="5" ytl="6" xbr="7" ybr="8" z_order="0"/>
  <box label="van" occluded="1" xtl="5" ytl="6" xbr="7" ybr="8" rotation="12.5"/>
  <cuboid label="car" xtl1="1" ytl1="2" xbl1="1" ybl1="3"/>
 </image>
 <image id="1" name="b.jpg" width="640" height="480"/>
</annotations>"""


def read(folder, content, frames=None):
    path = folder / "annotations.xml"
    path.write_text(content)
    return read_cvat(path, frames)


@st.composite
def labelled(draw):
    count = draw(st.integers(1, 3))
    names = draw(st.lists(NAMES, min_size=count, max_size=count))
    return [
        Frame(
            FrameKey("log", "scene", number),
            names[number],
            np.eye(4),
            boxes=draw(boxes()),
            boxes_2d=draw(boxes_2d()),
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("mode", ["video", "images"])
@given(frames=labelled())
@settings(max_examples=40, deadline=None)
def test_round_trip_is_exact(mode, frames, tmp_path_factory):
    path = tmp_path_factory.mktemp("cvat") / "annotations.xml"
    assert write_cvat(path, frames, mode=mode) == len(frames)
    assert is_cvat(path)
    bare = [replace(frame, boxes=None, boxes_2d=None) for frame in frames]
    back = read_cvat(path, bare)
    assert [item.rule.rule_id for item in back.findings] == []
    some_3d = any(len(frame.boxes) for frame in frames)
    some_2d = any(len(frame.boxes_2d) for frame in frames)
    for one, other in zip(frames, back.frames, strict=True):
        assert_same(one.boxes if some_3d or not some_2d else None, other.boxes)
        assert_same(one.boxes_2d if some_2d else None, other.boxes_2d)


def test_tracks_are_filled_between_their_keyframes_by_hand(tmp_path):
    result = read(tmp_path, VIDEO)
    assert [item.rule.rule_id for item in result.findings] == ["EXCH003"]
    assert "polygon" in result.findings[0].what
    assert [frame.frame_id for frame in result.frames] == [f"{n:06d}" for n in range(5)]
    first, between, last, gone = (result.frames[n].boxes for n in (0, 1, 2, 4))
    assert first.as_7().tolist() == [[10, 0, 1, 4, 2, 1.5, 0.1]]
    assert np.allclose(between.as_7(), [[12, 1, 1, 4, 2, 1.5, 0.2]])
    assert between.track_id.tolist() == ["3"]
    assert between.attributes.tolist() == ['{"parked": false}']
    assert last.attributes.tolist() == ['{"parked": true}']
    assert first.occlusion.tolist() == [1]
    assert np.allclose(result.frames[3].boxes.as_7(), last.as_7())  # stays until it is outside
    assert len(gone) == 0
    assert [len(frame.boxes_2d) for frame in result.frames] == [0, 1, 1, 1, 1]
    assert result.frames[4].boxes_2d.box2d_px.tolist() == [[10, 20, 30, 60]]


def test_yaw_turns_the_shorter_way():
    start = np.array([0, 0, 0, 4, 2, 1, 3.0])
    end = np.array([0, 0, 0, 4, 2, 1, -3.0])
    between = move(start, end, 0.5)
    assert abs(between[6]) == pytest.approx(math.pi)
    assert -math.pi <= between[6] < math.pi


def test_shapes_are_seen_up_to_the_next_one_by_hand():
    """Of frame 5 the last counts; from 7 to 8 the object is gone; beyond the task all stay one."""
    rows = [[5, 0, 0], [2, 0, 1], [5, 0, 2], [7, 1, 3], [9, 0, 4], [30, 0, 5]]
    spans = spans_of(np.array(rows), 20)
    assert spans.tolist() == [[2, 5, 1, 2], [5, 7, 2, STAYS], [9, 30, 4, 5], [30, 31, 5, STAYS]]
    assert spans_of(np.empty((0, 3), np.int64), 20).shape == (0, 4)


def test_boxes_of_images_by_hand(tmp_path):
    result = read(tmp_path, IMAGES)
    first, second = result.frames
    assert (first.frame_id, second.frame_id) == ("a.jpg", "b.jpg")
    assert first.boxes is None
    assert first.boxes_2d.category.tolist() == ["van", "car"]  # in drawing order
    assert first.boxes_2d.box2d_px[1].tolist() == [1.5, 2, 3, 4]
    assert first.boxes_2d.attributes.tolist() == ["", '{"colour": "red"}']
    assert len(second.boxes_2d) == 0
    whats = " ".join(item.what for item in result.findings)
    assert "rotated box" in whats
    assert "cuboid in an image" in whats


BOMB = """<?xml version="1.0"?><!DOCTYPE annotations [<!ENTITY a "aaaaaaaaaa">
<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]><annotations><version>&b;</version></annotations>"""
OUTSIDE = """<!DOCTYPE annotations [<!ENTITY f SYSTEM "file:///etc/hostname">]>
<annotations><version>&f;</version></annotations>"""


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (BOMB, "document type"),
        (OUTSIDE, "document type"),
        ('<!DOCTYPE annotations SYSTEM "http://example.org/x.dtd"><annotations/>', "document type"),
        ("", "no element found"),
        (VIDEO[:300], "no element found|unclosed|not well-formed"),
        ("<html/>", "root element is 'html'"),
        ("<annotations>" + "<a>" * 50 + "</a>" * 50 + "</annotations>", "nest deeper"),
        ("<annotations><version>2.0</version></annotations>", "version 1.1 is read"),
        ("<annotations><meta><project/></meta></annotations>", "one task"),
        ('<annotations><image id="one"/></annotations>', "frame number"),
        ('<annotations><track id="0"><box frame="²"/></track></annotations>', "frame number"),
        ('<annotations><track id="0"><box frame="99999999999"/></track></annotations>', "no frame"),
        ('<?xml version="1.0" encoding="klingon"?><annotations/>', "encoding"),
    ],
)
def test_hostile_and_other_files_are_refused(tmp_path, content, what):
    with pytest.raises(DataError, match=what):
        read(tmp_path, content)


def test_a_track_over_all_frames_cannot_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("admlops.formats.cvat.reader.MAX_SHAPES", 1000)
    box = '<box frame="0" outside="0" xtl="1" ytl="1" xbr="2" ybr="2"/>'
    meta = "<meta><task><size>900</size></task></meta>"
    content = f"<annotations>{meta}{f'<track>{box}</track>' * 2}</annotations>"
    with pytest.raises(DataError, match="more than 1000 shapes"):
        read(tmp_path, content)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('points="10,0;', 'points="ten,0;', "expected a number"),
        ('points="10,0;', 'points="1e999,0;', "finite"),
        ("4,2;1.5", "4,-2;1.5", "sizes"),
        (";4,2;1.5,0;0,0;0,0;0,0", "", "16 numbers"),
    ],
)
def test_a_broken_shape_leaves_its_frame_out(tmp_path, old, new, what):
    result = read(tmp_path, VIDEO.replace(old, new, 1))
    errors = [item for item in result.findings if item.rule.severity == "error"]
    assert [item.rule.rule_id for item in errors] == ["EXCH001"]
    assert what in errors[0].what
    assert errors[0].where == "frame 0"
    assert result.num_refused == 1
    assert len(result.frames) == 4


def test_frames_that_the_task_does_not_have_are_named(tmp_path):
    frames = [Frame(FrameKey("a", "b", n), str(n), np.eye(4)) for n in range(2)]
    result = read(tmp_path, VIDEO, frames)
    assert {item.rule.rule_id for item in result.findings} == {"EXCH003", "EXCH004"}
    assert [frame.key.timestamp_ns for frame in result.frames] == [0, 1]


def test_what_xml_cannot_hold_is_not_written(tmp_path):
    bad = Boxes.make([[0, 0, 0]], [[1, 1, 1]], [0], ["car\x00"])
    frame = Frame(FrameKey("a", "b", 0), "0", np.eye(4), boxes=bad)
    with pytest.raises(DataError, match="label 'car"):
        write_cvat(tmp_path / "annotations.xml", [frame])
    infinite = bad.replace(category=np.array(["car"], object), center_m=[[math.nan, 0, 0]])
    with pytest.raises(DataError, match="box 0"):
        write_cvat(tmp_path / "annotations.xml", [replace(frame, boxes=infinite)])


@given(
    st.one_of(
        st.text(max_size=12),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.lists(st.floats(-9, 9), max_size=3),
        st.sampled_from(["true", "1", "1e5", "-0", '"x"', "[1]", "__undefined__", "01", "NaN"]),
    )
)
def test_values_come_back_from_text(value):
    back = from_text(to_text(value))
    assert back == value
    assert type(back) is type(value)


PIECES = [b"", b"<a>", b'"', b"1e9", b"-1", b"\xff\xfe", b"&lt;", b"frame", b";,"]


@given(content=damaged(VIDEO.encode(), PIECES) | damaged(IMAGES.encode(), PIECES))
@settings(max_examples=150, deadline=None)
def test_damaged_files_give_findings_or_data_errors(content, tmp_path_factory):
    path = tmp_path_factory.mktemp("damaged") / "annotations.xml"
    path.write_bytes(content)
    try:
        result = read_cvat(path)
    except DataError:
        return
    assert_accounted(result)
