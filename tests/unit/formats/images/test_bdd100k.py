"""BDD100K: the real image and video, a round trip, and damaged files."""

import dataclasses
import json
import math

import numpy as np
import pytest
from image_frames import jpeg, make_boxes, make_frame

from admlops.errors import DataError
from admlops.formats.bdd100k.source import open_folder
from admlops.formats.bdd100k.writer import write_labels
from admlops.formats.source import ReadOptions
from admlops.lake.store import Dataset
from admlops.steps.sources import find_format

EDGES = ("x1", "y1", "x2", "y2")
FLAGS = ('{"occluded": true, "trafficLightColor": "G", "truncated": false}', '{"occluded": false}')


def read(root, **options):
    source = open_folder(root, ReadOptions(**options))
    return source, [source.read(index) for index in range(len(source))]


def test_the_real_image_keeps_its_attributes(real_data):
    root = real_data / "bdd100k"
    assert find_format(root) == "bdd100k"
    source, results = read(root)
    (written,) = json.loads((root / "labels" / "det_train.json").read_bytes())[:1]
    frame = next(r.frame for r in results if r.frame and r.frame.frame_id == written["name"])
    assert frame.tags == ("scene:city street", "time:daytime", "weather:clear")
    assert len(frame.boxes_2d) == len(written["labels"])
    assert [json.loads(text) for text in frame.boxes_2d.attributes] == [
        label["attributes"] for label in written["labels"]
    ]
    assert frame.split == "train"
    assert source.num_refused == 0


def test_the_real_video_has_all_its_boxes_and_tracks(real_data):
    root = real_data / "bdd100k_video_eval" / "track_sample_anns.json"
    assert find_format(root) == "bdd100k"
    _, results = read(root)
    frames = [result.frame for result in results]
    assert len(frames) == 202
    assert all(not result.findings for result in results)
    num_boxes = sum(len(frame.boxes_2d) for frame in frames)
    num_crowds = sum(len(frame.camera.ignore_regions_px) for frame in frames)
    assert num_boxes + num_crowds == 3241
    tracks = {track for frame in frames for track in frame.boxes_2d.track_id}
    written = json.loads(root.read_bytes())
    assert tracks == {
        label["id"]
        for frame in written
        for label in frame["labels"]
        if not label["attributes"]["crowd"]
    }
    assert np.diff([frame.key.timestamp_ns for frame in frames]).min() == 200_000_000


def test_boxes_of_a_frame_that_is_left_out_are_not_counted(real_data):
    """The second image of the sample is not there."""
    _, results = read(real_data / "bdd100k")
    assert [result.frame is None for result in results] == [False, True]
    assert [result.mapped.total() for result in results] == [len(results[0].frame.boxes_2d), 0]


def test_predictions_are_passed_over(real_data):
    source, _ = read(real_data / "bdd100k_video_eval")
    assert len(source) == 202


def test_a_video_comes_back(tmp_path):
    tags = ("night", "rain", "time:night", "weather:rainy")
    frames = [make_frame(n, make_boxes(attributes=FLAGS), tags=tags) for n in range(3)]
    assert write_labels(tmp_path, "train", frames, is_video=True) == 3
    source, results = read(tmp_path)
    assert not source.findings
    for before, result in zip(frames, results, strict=True):
        after = result.frame
        assert after.key == before.key
        for field in dataclasses.fields(before.boxes_2d):
            if field.name not in ("occlusion", "truncation"):
                one, other = (getattr(f.boxes_2d, field.name) for f in (before, after))
                np.testing.assert_array_equal(other, one)
        assert after.boxes_2d.occlusion.tolist() == [1, 0]
        assert after.tags == tags
        assert after.camera.encoded == before.camera.encoded
        np.testing.assert_array_equal(
            after.camera.ignore_regions_px, before.camera.ignore_regions_px
        )


def test_frames_in_images_and_in_space_share_the_lake(tmp_path):
    frames = [make_frame(number, make_boxes()) for number in range(3)]
    dataset = Dataset.create(str(tmp_path / "lake"))
    dataset.append(frames)
    found = dataset.query("SELECT category, count(*) AS n FROM boxes_2d GROUP BY ALL ORDER BY ALL")
    assert found.to_pylist() == [{"category": "car", "n": 3}, {"category": "rider", "n": 3}]
    assert dataset.query("SELECT count(*) AS n FROM boxes")["n"].to_pylist() == [0]


def damage(root, change):
    path = root / "labels" / "train.json"
    content = json.loads(path.read_text())
    content = change(content) or content
    path.write_text(json.dumps(content))
    source, results = read(root)
    found = [*source.findings, *(finding for result in results for finding in result.findings)]
    return {finding.rule.rule_id for finding in found}


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda c: [*c, c[0]], "READ008"),
        (lambda c: [*c, "text"], "READ006"),
        (lambda c: c[0].update(name="/etc/passwd"), "READ006"),
        (lambda c: c[0].update(name="absent.jpg"), "READ001"),
        (lambda c: c[0]["labels"][0].update(category="spaceship"), "READ010"),
        (lambda c: c[0]["labels"][0].update(box2d={"x1": 1}), "READ006"),
        (lambda c: c[0]["labels"][0]["box2d"].update(x2=-5), "READ011"),
    ],
)
def test_damage_is_named(tmp_path, change, rule):
    write_labels(tmp_path, "train", [make_frame(n, make_boxes()) for n in range(2)], is_video=False)
    assert damage(tmp_path, change) == {rule}


@pytest.mark.parametrize(
    ("labels", "image", "video", "split"),
    [
        ("det_20/det_train.json", "100k/train/a.jpg", None, "train"),
        ("det_20/det_val.json", "100k/val/a.jpg", None, "val"),
        ("box_track_20/train/v.json", "track/train/v/a.jpg", "v", "train"),
        ("seg_track_20/val/v.json", "seg_track_20/val/v/a.jpg", "v", "val"),
        ("train.json", "v/a.jpg", "v", "train"),
        ("train.json", "a.jpg", "v", "train"),
    ],
)
def test_the_publishers_folders(tmp_path, labels, image, video, split):
    frame = {"name": "a.jpg", "attributes": {}, "labels": []}
    frame |= {} if video is None else {"videoName": video, "frameIndex": 3}
    for path, content in (
        (tmp_path / "labels" / labels, json.dumps({"frames": [frame], "config": {}}).encode()),
        (tmp_path / "images" / image, jpeg(64, 48)),
        (tmp_path / "images" / "100k" / "test" / "b.jpg", jpeg(64, 48)),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert find_format(tmp_path) == "bdd100k"
    source, (result,) = read(tmp_path)
    assert (source.findings, result.findings) == ([], ())
    assert result.frame.camera.width_px == 64
    assert result.frame.split == split


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"videoName": "../secret", "frameIndex": 1}, "READ006"),
        ({"videoName": "v", "frameIndex": 10**30}, "READ006"),
        ({"videoName": ["v"], "frameIndex": 1}, "READ006"),
        ({"labels": [{"category": "car", "box2d": dict.fromkeys(EDGES, 10**400)}]}, "READ006"),
        (
            {"labels": [{"attributes": {"crowd": True}, "box2d": dict.fromkeys(EDGES, math.nan)}]},
            "READ006",
        ),
        ({"name": "a\0b"}, "READ001"),
    ],
)
def test_hostile_frames_are_named(tmp_path, change, rule):
    write_labels(tmp_path, "train", [make_frame(n, make_boxes()) for n in range(2)], is_video=False)
    (tmp_path / "secret").mkdir()
    assert damage(tmp_path, lambda content: [content[0], content[1] | change]) == {rule}


def test_a_file_that_changed_is_named(tmp_path):
    write_labels(tmp_path, "train", [make_frame(n, make_boxes()) for n in range(2)], is_video=False)
    source = open_folder(tmp_path, ReadOptions())
    (tmp_path / "labels" / "train.json").write_text("[]")
    assert [finding.rule.rule_id for finding in source.read(1).findings] == ["READ006"]


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"a": 1}')
    with pytest.raises(DataError, match="no file of BDD100K labels"):
        open_folder(tmp_path, ReadOptions())
