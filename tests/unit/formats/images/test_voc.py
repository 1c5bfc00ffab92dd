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


def test_years_are_read_together_as_they_are_unpacked(tmp_path):
    for year in ("VOC2007", "VOC2012"):
        folder = tmp_path / "VOCdevkit" / year
        write_annotations(folder, [make_frame(1, make_boxes(("car",)))])
    for root in (tmp_path, tmp_path / "VOCdevkit"):
        assert find_format(root) == "voc"
        source, results = read(root)
        assert not source.findings
        assert [r.frame.key[:2] for r in results] == [("voc", "VOC2007"), ("voc", "VOC2012")]
        assert [r.frame.split for r in results] == ["train", "train"]
        assert all(r.frame.camera.encoded for r in results)


def test_a_frame_keeps_its_key_when_others_come(tmp_path):
    frames = [make_frame(number, make_boxes(("car",))) for number in range(2)]
    write_annotations(tmp_path, frames)
    folder = tmp_path / "Annotations"
    before = {result.frame.frame_id: result.frame.key for result in read(tmp_path)[1]}
    for name in ("2007_000549", "a photograph"):
        (folder / f"{name}.xml").write_bytes((folder / "000001.xml").read_bytes())
    after = {result.frame.frame_id: result.frame.key for result in read(tmp_path)[1]}
    assert before.items() <= after.items()
    assert after["000001"].timestamp_ns == 1
    assert after["2007_000549"].timestamp_ns == 2007000549
    (folder / "0_00001.xml").write_bytes((folder / "000001.xml").read_bytes())
    source, results = read(tmp_path)
    assert [finding.rule.rule_id for finding in source.findings] == ["READ008"]
    assert (len(results), source.num_refused) == (4, 1)


@pytest.mark.parametrize(("text", "wanted"), [("1", 1), ("0", 0), ("", -1)])
def test_occlusion_is_a_flag(tmp_path, text, wanted):
    flags = f'{{"occluded": "{text}"}}' if text else ""
    write_annotations(tmp_path, [make_frame(1, make_boxes(("car",), (flags,)))])
    assert read(tmp_path)[1][0].frame.boxes_2d.occlusion.tolist() == [wanted]


def test_a_folder_without_files_is_refused(tmp_path):
    with pytest.raises(DataError, match="no VOC folder"):
        open_folder(tmp_path, ReadOptions())
