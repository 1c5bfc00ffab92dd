"""COCO: the real annotations, a round trip, and damaged files."""

import json
import pickle
from collections import Counter

import numpy as np
import pytest
from image_frames import jpeg, make_boxes, make_frame

from admlops.errors import DataError
from admlops.formats.coco.source import open_folder
from admlops.formats.coco.writer import write_instances
from admlops.formats.source import ReadOptions
from admlops.steps.sources import find_format


def read(root, **options):
    source = open_folder(root, ReadOptions(**options))
    return source, [source.read(index) for index in range(len(source))]


def test_the_real_annotations_are_all_there(real_data):
    root = real_data / "coco"
    assert find_format(root) == "coco"
    source, results = read(root)
    content = json.loads((root / "instances_val2014_100.json").read_bytes())
    assert [finding.rule.rule_id for finding in source.findings] == ["READ019"]
    assert len(source) == 100
    assert all(not result.findings for result in results)
    frames = [result.frame for result in results]
    crowds = sum(item["iscrowd"] for item in content["annotations"])
    assert sum(len(frame.camera.ignore_regions_px) for frame in frames) == crowds == 9
    assert sum(len(frame.boxes_2d) for frame in frames) == 839 - crowds
    names = {item["id"]: item["name"] for item in content["categories"]}
    kept = [item for item in content["annotations"] if not item["iscrowd"]]
    wanted = Counter(names[item["category_id"]] for item in kept)
    assert sum((result.mapped for result in results), Counter()) == {
        (name, name): count for name, count in wanted.items()
    }
    first = frames[0]
    own = next(item for item in kept if item["image_id"] == first.key.timestamp_ns)
    left, top, width, height = own["bbox"]
    assert first.boxes_2d.box2d_px[0] == pytest.approx([left, top, left + width, top + height])
    assert {frame.split for frame in frames} == {"val"}
    assert all(frame.is_keyframe and frame.boxes is None for frame in frames)


def test_frames_come_back(tmp_path):
    frames = [make_frame(1, make_boxes()), make_frame(2, make_boxes(())), make_frame(3, None)]
    assert write_instances(tmp_path, "train", frames) == 3
    source, results = read(tmp_path)
    assert not source.findings
    for before, result in zip(frames, results, strict=True):
        after = result.frame
        wanted = before.boxes_2d if before.boxes_2d is not None else make_boxes(())
        np.testing.assert_allclose(after.boxes_2d.box2d_px, wanted.box2d_px, atol=1e-12)
        assert after.boxes_2d.category.tolist() == wanted.category.tolist()
        assert after.camera.encoded == before.camera.encoded
        np.testing.assert_array_equal(
            after.camera.ignore_regions_px, before.camera.ignore_regions_px
        )
        assert after.split == "train"


@pytest.fixture
def written(tmp_path):
    write_instances(tmp_path, "train", [make_frame(1, make_boxes()), make_frame(2, make_boxes())])
    return tmp_path


def damage(root, change):
    path = root / "annotations" / "instances_train.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    source, results = read(root)
    found = [*source.findings, *(finding for result in results for finding in result.findings)]
    return [finding.rule.rule_id for finding in found], source


@pytest.mark.parametrize(
    ("change", "rule", "num_refused"),
    [
        (lambda c: c["images"][0].pop("width"), "READ006", 1),
        (lambda c: c["images"].append(c["images"][0]), "READ008", 1),
        (lambda c: c["images"][0].update(file_name="../../etc/passwd"), "READ006", 1),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, "x", 4]), "READ006", 1),
        (lambda c: c["annotations"][0].update(image_id=77), "READ016", 0),
        (lambda c: c["annotations"][0].update(image_id=10**30), "READ006", 1),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, 10**400, 4]), "READ006", 1),
        (lambda c: c["annotations"].append(3), "READ006", 1),
        (lambda c: c["annotations"][0].update(category_id=77), "READ010", 0),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, 0, 4]), "READ011", 0),
        (lambda c: c["images"][0].update(width=65), "READ007", 0),
        (lambda c: c["images"][0].update(file_name="absent.jpg"), "READ001", 0),
    ],
)
def test_damage_is_named(written, change, rule, num_refused):
    found, source = damage(written, change)
    assert rule in found
    assert set(found) <= {rule, "READ016"}
    assert source.num_refused == num_refused


def test_a_cut_image_is_named(written):
    (written / "train" / "000000000001.jpg").write_bytes(jpeg(64, 48)[:-30])
    assert [f.rule.rule_id for f in read(written)[1][0].findings] == ["READ007"]


def test_each_file_names_its_own_categories(tmp_path):
    for name, category in (("train", "car"), ("val", "rider")):
        write_instances(tmp_path, name, [make_frame(1, make_boxes((category,)))])
    results = read(tmp_path)[1]
    assert [r.frame.boxes_2d.category.tolist() for r in results] == [["car"], ["rider"]]
    assert [r.frame.split for r in results] == ["train", "val"]


def test_annotations_find_their_images_in_any_order(tmp_path):
    boxes = [make_boxes(("car",) * count) for count in (2, 0, 3)]
    write_instances(tmp_path, "train", [make_frame(n, own) for n, own in enumerate(boxes)])
    path = tmp_path / "annotations" / "instances_train.json"
    content = json.loads(path.read_text())
    shuffled = {
        "annotations": content["annotations"][::2] + content["annotations"][1::2],
        "categories": content["categories"],
        "images": content["images"][::-1],
    }
    path.write_text(json.dumps(shuffled))
    source, results = read(tmp_path)
    assert not source.findings
    assert [(r.frame.key.timestamp_ns, len(r.frame.boxes_2d)) for r in results] == [
        (3, 3),
        (2, 0),
        (1, 2),
    ]
    other = pickle.loads(pickle.dumps(source))  # noqa: S301 - our own object
    assert len(other.read(0).frame.boxes_2d) == 3


def test_a_file_that_changed_is_named(written):
    source = open_folder(written, ReadOptions())
    path = written / "annotations" / "instances_train.json"
    for text in (path.read_text().replace("bbox", "bbax"), "[]"):
        path.write_text(text)
        assert [finding.rule.rule_id for finding in source.read(1).findings] == ["READ006"]


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b'{"images": 3}', b"\xff\xfe", b"[" * 200_000]
)
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "instances_val.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match="instances_val.json"):
        open_folder(path, ReadOptions())


def test_a_folder_without_instances_is_refused(tmp_path):
    with pytest.raises(DataError, match="no COCO file"):
        open_folder(tmp_path, ReadOptions())
