"""BDD100K: the real image and video, a round trip, and damaged files."""

import dataclasses
import json

import numpy as np
import pytest
from image_frames import make_boxes, make_frame

from admlops.errors import DataError
from admlops.formats.bdd100k.source import open_folder
from admlops.formats.bdd100k.writer import write_labels
from admlops.formats.source import ReadOptions
from admlops.lake.store import Dataset
from admlops.steps.sources import find_format

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


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"a": 1}')
    with pytest.raises(DataError, match="no file of BDD100K labels"):
        open_folder(tmp_path, ReadOptions())
