"""Pascal VOC: the toy cases, a round trip, and damaged files."""

from collections import Counter
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from image_frames import make_boxes, make_frame

from admlops.errors import DataError
from admlops.formats.source import ReadOptions
from admlops.formats.voc.source import open_folder
from admlops.formats.voc.writer import write_annotations
from admlops.steps.sources import find_format

FLAGS = ('{"difficult": "1", "pose": "Left", "truncated": "0"}', '{"truncated": "1"}')


def read(root, **options):
    source = open_folder(root, ReadOptions(**options))
    return source, [source.read(index) for index in range(len(source))]


def test_the_toy_cases_are_all_there(real_data):
    (folder,) = {path.parent for path in (real_data / "voc" / "toyexample").rglob("*.xml")}
    assert find_format(folder) == "voc"
    source, results = read(folder)
    assert [finding.rule.rule_id for finding in source.findings] == ["READ019"]
    trees = {path.stem: ET.parse(path) for path in sorted(folder.glob("*.xml"))}  # noqa: S314 - our samples
    assert [result.frame.frame_id for result in results] == list(trees)
    for result in results:
        tree = trees[result.frame.frame_id]
        names = Counter(item.text for item in tree.iterfind("object/name"))
        assert Counter(result.frame.boxes_2d.category) == names
        assert result.frame.camera.width_px == int(tree.findtext("size/width"))
    cat = next(r.frame for r in results if r.frame.frame_id == "2007_005460")
    assert cat.boxes_2d.box2d_px[0].tolist() == [39, 3, 484, 370]
    assert cat.boxes_2d.truncation[0] == 0.0
    assert cat.boxes_2d.attributes[0] == '{"difficult": "0", "pose": "Left", "truncated": "0"}'


def test_frames_come_back(tmp_path):
    frames = [
        make_frame(1, make_boxes(("car", "cat"), FLAGS)),
        make_frame(2, make_boxes(()), split="val"),
    ]
    assert write_annotations(tmp_path, frames) == 2
    source, results = read(tmp_path)
    assert not source.findings
    for before, result in zip(frames, results, strict=True):
        assert result.findings == ()
        after = result.frame
        np.testing.assert_array_equal(after.boxes_2d.box2d_px, before.boxes_2d.box2d_px)
        assert after.boxes_2d.category.tolist() == before.boxes_2d.category.tolist()
        assert after.boxes_2d.attributes.tolist() == before.boxes_2d.attributes.tolist()
        assert after.camera.encoded == before.camera.encoded
        assert after.split == before.split


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("<name>car</name>", "<name>spaceship</name>", "READ010"),
        ("<name>car</name>", "", "READ006"),
        ("<width>64</width>", "<width>63</width>", "READ007"),
        ("<width>64</width>", "<width>wide</width>", "READ006"),
        ("<xmin>", "<xmin>9", "READ011"),
        ("</annotation>", "", "READ006"),
        ("<annotation>", '<!DOCTYPE a [<!ENTITY b "c">]><annotation>', "READ006"),
    ],
)
def test_damage_is_named(tmp_path, old, new, rule):
    write_annotations(tmp_path, [make_frame(1, make_boxes(("car",)))])
    path = tmp_path / "Annotations" / "000000.xml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    (result,) = read(tmp_path)[1]
    assert [finding.rule.rule_id for finding in result.findings] == [rule]
    assert result.frame is None


def test_a_folder_without_files_is_refused(tmp_path):
    with pytest.raises(DataError, match="no VOC folder"):
        open_folder(tmp_path, ReadOptions())
