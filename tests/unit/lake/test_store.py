import dataclasses
import pickle

import numpy as np
import pytest
from frame_factory import make_boxes, make_frame

from admlops.errors import DataError
from admlops.lake.store import Dataset
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import CalibratedSensor, CameraImage, FrameKey


@pytest.fixture
def dataset(tmp_path):
    dataset = Dataset.create(str(tmp_path / "lake.lance"), licences=["CC-BY-4.0"])
    dataset.append(make_frame(index, labelled=index < 6) for index in range(8))
    return dataset


def test_appending_the_same_source_twice_adds_nothing(dataset):
    version, digest = dataset.version, dataset.digest
    report = dataset.append(make_frame(index, labelled=index < 6) for index in range(8))
    assert (report.num_added, report.num_present, report.conflicts) == (0, 8, ())
    assert (dataset.version, dataset.digest, dataset.num_frames) == (version, digest, 8)


def test_a_key_with_other_sensor_data_is_a_conflict(dataset):
    report = dataset.append([make_frame(3, num_points=11), make_frame(8)])
    assert report.num_added == 1
    assert report.conflicts == (FrameKey("log_0", "scene_0", 3),)
    assert len(dataset.take([3])[0].lidar.points) == 10


def test_a_source_that_repeats_a_frame_adds_it_once(tmp_path):
    dataset = Dataset.create(str(tmp_path / "lake.lance"))
    report = dataset.append([make_frame(0), make_frame(1), make_frame(0)])
    assert (report.num_added, report.num_present, dataset.num_frames) == (2, 1, 2)


def test_take_follows_the_order_asked_for_and_repeats(dataset):
    frames = dataset.take([5, 0, 5], camera=True)
    assert [frame.frame_id for frame in frames] == ["000005", "000000", "000005"]
    np.testing.assert_array_equal(frames[0].lidar.points, make_frame(5).lidar.points)
    assert frames[1].camera.encoded == b"png 0"


def test_payloads_that_are_not_asked_for_stay_empty(dataset):
    frame = dataset.take([4], lidar=False)[0]
    assert frame.lidar.points.shape == (0, 4)
    assert frame.camera.encoded == b""
    np.testing.assert_array_equal(frame.camera.sensor.camera_matrix, np.diag([700.0, 700.0, 1.0]))


def test_rows_out_of_range_are_refused(dataset):
    with pytest.raises(DataError, match="rows are 0 to 7"):
        dataset.take([8])
    assert dataset.take([]) == []


def test_rows_where_and_sql(dataset):
    assert dataset.rows_where("split = 'pool'").tolist() == [6, 7]
    assert dataset.rows_where("list_contains(tags, 'rain')").tolist() == [1, 3, 5, 7]
    counts = dataset.query("SELECT count(*) AS n FROM boxes")["n"].to_pylist()
    assert counts == [0 + 1 + 2 + 3 + 0 + 1]
    assert dataset.query("SELECT max(row) AS m FROM frames")["m"].to_pylist() == [7]


def test_bad_sql_lists_the_columns(dataset):
    with pytest.raises(DataError, match=r"Binder Error.*frame_id"):
        dataset.rows_where("weather = 'rain'")


def test_relabel_makes_a_version_and_keeps_the_rest(dataset):
    before = Dataset.open(dataset.reference)
    key = FrameKey("log_0", "scene_0", 6)
    assert dataset.relabel({key: make_boxes(1, 2)}, split="train") == 1
    frame = dataset.take([6])[0]
    assert (len(frame.boxes), frame.split) == (2, "train")
    np.testing.assert_array_equal(frame.lidar.points, make_frame(6).lidar.points)
    assert before.diff(dataset).relabelled == [key]
    assert before.take([6])[0].boxes is None
    version = dataset.version
    assert dataset.relabel({key: make_boxes(1, 2)}) == 0
    assert dataset.version == version


def test_labels_in_images_and_in_space_are_replaced_apart(dataset):
    labelled, unlabelled = FrameKey("log_0", "scene_0", 3), FrameKey("log_0", "scene_0", 6)
    in_image = Boxes2d.make([[1.0, 2.0, 30.0, 40.0]], ["car"], track_id=["7"])
    known = dataset.take([3])[0].boxes
    new = {labelled: in_image, unlabelled: in_image}
    assert dataset.relabel({}, "train", labels_2d=new) == 2
    first, second = dataset.take([3, 6])
    np.testing.assert_array_equal(first.boxes.as_7(), known.as_7())  # it keeps what it had
    assert second.boxes is None
    assert {frame.split for frame in (first, second)} == {"train"}
    assert second.boxes_2d.box2d_px.tolist() == [[1.0, 2.0, 30.0, 40.0]]
    version = dataset.version
    assert dataset.relabel({}, "train", labels_2d=new) == 0
    assert dataset.version == version
    both = {unlabelled: make_boxes(1, 2)}
    assert dataset.relabel(both, labels_2d={labelled: Boxes2d.empty()}) == 2
    first, second = dataset.take([3, 6])
    assert (len(first.boxes), len(first.boxes_2d)) == (len(known), 0)
    assert (len(second.boxes), len(second.boxes_2d)) == (2, 1)
    assert dataset.relabel({labelled: known.select([0])}) == 1
    (first,) = dataset.take([3])
    assert (len(first.boxes), len(first.boxes_2d)) == (1, 0)
    counted = dataset.query("SELECT sum(num_boxes_2d) AS n FROM frames")["n"].to_pylist()
    assert counted == [1]


def test_relabel_names_unknown_keys(dataset):
    with pytest.raises(DataError, match="log_9/s/1"):
        dataset.relabel({FrameKey("log_9", "s", 1): Boxes.empty()})


def test_digest_does_not_depend_on_order_or_layout(dataset, tmp_path):
    other = Dataset.create(str(tmp_path / "other.lance"))
    for index in reversed(range(8)):
        other.append([make_frame(index, labelled=index < 6)])
    assert other.digest == dataset.digest
    other.relabel({FrameKey("log_0", "scene_0", 0): make_boxes(0, 1)})
    assert other.digest != dataset.digest


def test_tags_and_time_travel(dataset):
    dataset.tag("v1")
    dataset.tag("v1")
    first = dataset.version
    dataset.append([make_frame(20)])
    assert Dataset.open(f"{dataset.uri}@v1").num_frames == 8
    assert Dataset.open(dataset.uri).num_frames == 9
    assert dataset.tags() == {"v1": first}
    with pytest.raises(DataError, match=f"at version {first} already"):
        dataset.tag("v1")
    with pytest.raises(DataError, match="cannot be a tag"):
        dataset.tag("12")


def test_what_is_absent_is_listed(dataset, tmp_path):
    dataset.tag("v1")
    with pytest.raises(DataError, match=r"Versions: 1 to \d; tags: v1"):
        Dataset.open(f"{dataset.uri}@v2")
    with pytest.raises(DataError, match=r"no dataset here.*lake\.lance"):
        Dataset.open(str(tmp_path / "lakes.lance"))


def test_a_dataset_travels_between_processes(dataset):
    assert pickle.loads(pickle.dumps(dataset)).reference == dataset.reference  # noqa: S301


def test_licences_are_added_to(dataset):
    assert Dataset.create(dataset.uri, licences=["MIT"]).licences == ("CC-BY-4.0", "MIT")
    manifest = Dataset.open(dataset.uri).manifest({"step": "ingest"}, {"frames": 8.0})
    assert manifest.licences == ("CC-BY-4.0", "MIT")
    assert manifest.digest == dataset.digest


def test_an_error_of_the_source_passes_through(dataset):
    def broken():
        yield make_frame(30)
        raise KeyError("source")

    with pytest.raises(KeyError, match="source"):
        dataset.append(broken())
    assert Dataset.open(dataset.uri).num_frames == 8


def test_local_payloads_equal_those_of_lances_own_reader(dataset):
    reader = dataset._reader
    rows = np.arange(8)
    dataset.relabel({FrameKey("log_0", "scene_0", 2): make_boxes(1, 2)})
    for column in ("lidar_points", "camera_encoded"):
        direct = reader._payloads(column, rows)
        official = dict(reader._blobs(column, rows))
        assert direct.keys() == official.keys() == set(range(8))
        assert all(np.array_equal(direct[row], official[row]) for row in rows)


def test_points_are_writable_and_own_their_memory(dataset):
    points = dataset.take([1])[0].lidar.points
    points[0] = 0.0
    assert dataset.take([1])[0].lidar.points[0].any()


def test_descriptions_beyond_the_memory_limit_are_read_per_call(dataset, monkeypatch):
    expected = [frame.boxes for frame in dataset.take([3, 6])]
    monkeypatch.setattr("admlops.lake.reading.METADATA_BYTES", 1)
    found = [frame.boxes for frame in Dataset.open(dataset.reference).take([3, 6])]
    np.testing.assert_array_equal(found[0].as_7(), expected[0].as_7())
    assert found[1] is None


def test_labels_in_images_are_a_view_of_their_own(tmp_path):
    boxes_2d = Boxes2d.make(
        [[10, 20, 30, 60], [0, 0, 5, 5]], ["car", "rider"], camera=["", "camera_left"]
    )
    image = CameraImage(CalibratedSensor("camera_left", "camera", np.eye(4)), b"jpeg", 64, 48)
    frame = dataclasses.replace(
        make_frame(0, labelled=False), boxes_2d=boxes_2d, other_cameras=(image, image)
    )
    dataset = Dataset.create(str(tmp_path / "lake.lance"))
    dataset.append([frame, make_frame(1), make_frame(2, labelled=False)])
    found = dataset.query("SELECT category, camera, right_px FROM boxes_2d ORDER BY left_px DESC")
    assert found.to_pylist() == [
        {"category": "car", "camera": "", "right_px": 30.0},
        {"category": "rider", "camera": "camera_left", "right_px": 5.0},
    ]
    assert dataset.rows_where("is_keyframe").tolist() == [0, 1]
    assert dataset.rows_where("num_boxes_2d > 0").tolist() == [0]
    (bare,) = dataset.take([0])
    assert [view.encoded for view in bare.other_cameras] == [b"", b""]
    (full,) = dataset.take([0], other_cameras=True)
    assert [view.encoded for view in full.other_cameras] == [b"jpeg", b"jpeg"]
    assert [view.sensor.name for view in full.cameras][1:] == ["camera_left"] * 2
