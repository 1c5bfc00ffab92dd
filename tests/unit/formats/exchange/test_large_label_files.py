"""Files of labels stay on disk: memory does not grow with them, and frames are read again."""

import json
import pickle
import subprocess
import sys

import pytest
from label_frames import assert_same
from test_openlabel import document

from admlops.errors import DataError
from admlops.formats.cvat.source import CvatSource
from admlops.formats.openlabel import index
from admlops.formats.openlabel.reader import read_openlabel
from admlops.formats.openlabel.source import OpenLabelSource
from admlops.formats.source import ReadOptions
from admlops.steps.sources import find_format

MAX_GROWTH_MIB = 8
MEASURE = """
import sys
from pathlib import Path
from admlops.formats.source import read_all
from admlops.steps.sources import open_source

def peak_mib():
    return float(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024

for folder in sys.argv[1:]:
    source = open_source(Path(folder))
    num_boxes = 0
    for item in read_all(source):
        num_boxes += len(item.boxes) if hasattr(item, "boxes") else 0
    print(num_boxes, peak_mib(), sep=",")
"""


def growth_mib(*folders):
    """Return by how much reading the second folder exceeds the first, and boxes in each."""
    command = [sys.executable, "-c", MEASURE, *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (few, first_mib), (many, second_mib) = (
        map(float, line.split(",")) for line in done.stdout.split()
    )
    return second_mib - first_mib, few, many


def note(number):
    return f"{number:06d}" * 4000


def write_openlabel(folder, num_frames):
    """Write frames of one cuboid with an attribute of 24 kB; what they refer to comes after."""
    content = document()["openlabel"]
    (frame,) = content.pop("frames").values()
    (cuboid,) = frame["objects"]["4"]["object_data"]["cuboid"]
    (folder / "labels.json").write_text("")
    with (folder / "labels.json").open("w") as file:
        file.write('{"openlabel": {"frames": {')
        for number in range(num_frames):
            frame["frame_properties"]["timestamp"] = number
            cuboid["attributes"] = {"text": [{"name": "note", "val": note(number)}]}
            file.write(f'{"," if number else ""}"{number}": {json.dumps(frame)}')
        file.write("}, " + json.dumps(content)[1:] + "}")


def write_cvat(folder, num_frames):
    """Write one track over all frames, every other shape a keyframe with an attribute of 24 kB."""
    with (folder / "annotations.xml").open("w") as file:
        file.write("<annotations><meta><task><name>town</name>")
        file.write(f'<size>{num_frames}</size></task></meta><track id="1" label="car">')
        for number in range(0, num_frames, 2):
            points = f"{number / 8},0;1,0;0,0.1;4,2;1.5,0;0,0;0,0;0,0"
            text = f'<attribute name="note">{note(number)}</attribute>'
            file.write(f'<cuboid frame="{number}" points="{points}">{text}</cuboid>')
        file.write("</track></annotations>")


@pytest.mark.parametrize("write", [write_openlabel, write_cvat])
def test_memory_does_not_grow_with_the_frames(tmp_path, write):
    """Files of 2 and 29 MB, or of half of that: what is in them is on disk, and stays there."""
    folders = [tmp_path / "few", tmp_path / "many"]
    for folder, num_frames in zip(folders, (100, 1200), strict=True):
        folder.mkdir()
        write(folder, num_frames)
    grown_mib, few, many = growth_mib(*folders)
    assert (few, many) == (100, 1200)
    assert grown_mib < MAX_GROWTH_MIB


def test_small_members_may_come_after_the_frames(tmp_path):
    whole = document()["openlabel"]
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"openlabel": whole}))
    first = read_openlabel(path).frames[0]
    for names in (reversed(whole), sorted(whole)):
        path.write_text(json.dumps({"openlabel": {name: whole[name] for name in names}}))
        assert_same(first, read_openlabel(path).frames[0])


def test_of_repeated_members_the_last_counts(tmp_path):
    """As for every reader of JSON."""
    whole = json.dumps(document()["openlabel"])
    again = json.dumps({"objects": {"4": {"type": "van"}, "5": 3}})
    path = tmp_path / "labels.json"
    path.write_text(
        '{"openlabel": {"frames": 3}, "openlabel": ' + whole[:-1] + ", " + again[1:] + "}"
    )
    assert json.loads(path.read_text())["openlabel"]["objects"]["4"] == {"type": "van"}
    (frame,) = read_openlabel(path).frames
    assert frame.boxes.category.tolist() == ["van"]
    text = path.read_text().replace('"0": {', '"0": {"objects": 7}, "0": {')
    path.write_text(text)
    assert len(read_openlabel(path).frames) == 1
    path.write_text(text[:-2] + ', "frames": []}}')
    with pytest.raises(DataError, match="'frames' is not a JSON object"):
        read_openlabel(path)


def test_damaged_frames_between_others_are_findings(tmp_path):
    content = document()
    frames = content["openlabel"]["frames"]
    frames |= {str(number): json.loads(json.dumps(frames["0"])) for number in range(1, 6)}
    for number, frame in enumerate(frames.values()):
        frame["frame_properties"]["timestamp"] = number
    frames["2"] = ["no object"]
    frames["3"]["objects"]["4"]["object_data"]["cuboid"][0]["val"] = [1]
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(content))
    result = read_openlabel(path)
    assert [(item.rule.rule_id, item.where, item.what) for item in result.findings] == [
        ("EXCH001", "frame 2", "'2' is ['no object'], expected a JSON object"),
        ("EXCH001", "frame 3", "cuboid is [1], expected 9 or 10 numbers"),
    ]
    assert result.num_refused == 2
    assert [frame.frame_id for frame in result.frames] == ["0", "1", "4", "5"]
    assert [frame.frame_id for frame in result.frames[1:3]] == ["1", "4"]
    assert result.frames[-1].frame_id == "5"
    with pytest.raises(IndexError):
        result.frames[4]


def test_what_is_held_in_memory_has_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "MAX_KEPT_BYTES", 2000)
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(document()))
    assert len(read_openlabel(path).frames) == 1
    path.write_text(json.dumps(document(streams={"lidar": {"type": "lidar", "note": "a" * 2000}})))
    with pytest.raises(DataError, match="streams, coordinate_systems have over 2000 bytes"):
        read_openlabel(path)


@pytest.mark.parametrize("new", [b"", b'"objects": 3 ', b'"objects"  {'])
def test_a_file_that_changes_is_a_finding(tmp_path, new):
    path = tmp_path / "labels.json"
    content = json.dumps(document()).encode()
    path.write_bytes(content)
    source = OpenLabelSource(tmp_path, ReadOptions())
    path.write_bytes(content.replace(b'"objects": {"4": {"object_data"', new, 1) if new else new)
    result = source.read(0)
    assert result.frame is None
    assert [finding.rule.rule_id for finding in result.findings] == ["READ006"]
    assert "changed while it was read" in result.findings[0].what
    path.unlink()
    assert "cannot be read" in source.read(0).findings[0].what


def test_an_export_is_read_again_in_another_process(tmp_path):
    """In any order."""
    write_cvat(tmp_path, 20)
    source = CvatSource(tmp_path, ReadOptions())
    other = pickle.loads(pickle.dumps(source))  # noqa: S301 - our own object
    assert find_format(tmp_path) == "cvat"
    for number in (7, 3, 19, 0):
        frame = source.read(number).frame
        assert frame.boxes.center_m.tolist() == [[min(number, 18) / 8, 0, 1]]
        assert_same(frame, other.read(number).frame)
