"""The lake on a real S3 server."""

import json
from urllib.parse import urlsplit

import numpy as np
import pytest
from minio import Minio
from s3_server import free_port, serve_s3

from admlops.errors import DataError, ServiceError
from admlops.lake.staging import Merge, remove_orphans, stage_frames
from admlops.lake.store import Dataset
from admlops.structures.boxes import Boxes
from admlops.structures.frame import CalibratedSensor, CameraImage, Frame, FrameKey, LidarSweep

pytestmark = pytest.mark.e2e

URI = "s3://lakes/drives/demo.lance"


def make_frame(index: int) -> Frame:
    rng = np.random.default_rng(index)
    points = rng.random((5000, 4), dtype=np.float32)
    return Frame(
        key=FrameKey("log", "scene", index),
        frame_id=f"{index:06d}",
        global_from_ego=np.eye(4),
        lidar=LidarSweep(CalibratedSensor("lidar_top", "lidar", np.eye(4)), points),
        camera=CameraImage(
            CalibratedSensor("camera_front", "camera", np.eye(4), np.eye(3)), b"png", 4, 3
        ),
        boxes=Boxes.make([[1, 2, 0.5]], [[4, 2, 1.5]], [0.25], ["car"]),
        split="train",
    )


@pytest.fixture
def s3(tmp_path, monkeypatch):
    (tmp_path / "buckets" / "lakes").mkdir(parents=True)
    with serve_s3(tmp_path / "buckets") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield environment


@pytest.mark.usefixtures("s3")
def test_a_dataset_on_s3_does_what_a_local_one_does(tmp_path):
    dataset = Dataset.create(URI, licences=["CC0-1.0"])
    assert dataset.append(make_frame(index) for index in range(12)).num_added == 12
    assert dataset.append(make_frame(index) for index in range(12)).num_present == 12
    dataset.tag("v1")
    frame = dataset.take([7], camera=True)[0]
    np.testing.assert_array_equal(frame.lidar.points, make_frame(7).lidar.points)
    assert frame.camera.encoded == b"png"
    assert dataset.rows_where("frame_id = '000003'").tolist() == [3]
    assert dataset.query("SELECT count(*) AS n FROM boxes")["n"].to_pylist() == [12]

    assert dataset.relabel({make_frame(3).key: Boxes.empty()}) == 1
    assert Dataset.open(f"{URI}@v1").diff(dataset).relabelled == [make_frame(3).key]

    local = Dataset.create(str(tmp_path / "local.lance"))
    local.append(Dataset.open(f"{URI}@v1").iterate(camera=True))
    assert local.digest == Dataset.open(f"{URI}@v1").digest


def delete(s3, uri):
    address = urlsplit(uri)
    store = Minio(
        s3["AWS_ENDPOINT_URL"].removeprefix("http://"),
        s3["AWS_ACCESS_KEY_ID"],
        s3["AWS_SECRET_ACCESS_KEY"],
        secure=False,
    )
    store.remove_object(address.netloc, address.path.lstrip("/"))


def test_shards_are_staged_and_merged_on_s3(s3, tmp_path):
    shards = [[make_frame(index) for index in numbers] for numbers in (range(5), range(5, 8), [])]
    stage_frames(URI, shards[0])  # of a killed task: nothing names these files
    staged = [stage_frames(URI, shard, ["CC0-1.0"]) for shard in shards]
    assert Dataset.open(URI).num_frames == 0
    merge = Merge.begin(URI)
    assert all(merge.take(one) for one in staged)
    report = merge.commit()
    assert (report.num_added, report.num_present) == (8, 0)
    assert remove_orphans(URI) == 0  # the lost files are young
    local = Dataset.create(str(tmp_path / "local.lance"))
    local.append(frame for shard in shards for frame in shard)
    merged = Dataset.open(f"{URI}@{report.version}")
    assert merged.keys() == local.keys()
    assert merged.digest == local.digest
    points = merged.take([7])[0].lidar.points
    np.testing.assert_array_equal(points, make_frame(7).lidar.points)

    lost = stage_frames(URI, [make_frame(9)])
    for file in (file for text in lost.fragments for file in json.loads(text)["files"]):
        delete(s3, f"{URI}/data/{file['path']}")
    merge = Merge.begin(URI)
    assert not merge.take(lost)
    merge.add([make_frame(9)])
    assert merge.commit().num_added == 1


def test_explicit_options_replace_the_environment(s3, monkeypatch):
    for name in s3:
        monkeypatch.delenv(name)
    options = {
        "aws_endpoint": s3["AWS_ENDPOINT_URL"],
        "aws_access_key_id": s3["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": s3["AWS_SECRET_ACCESS_KEY"],
    }
    Dataset.create(URI, options).append([make_frame(0)])
    assert Dataset.open(URI, options).num_frames == 1


@pytest.mark.usefixtures("s3")
def test_absent_and_forbidden_are_told_apart(monkeypatch):
    with pytest.raises(DataError, match="no dataset here"):
        Dataset.open(URI)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(ServiceError, match="AWS_SECRET_ACCESS_KEY"):
        Dataset.open(URI)


def test_an_unreachable_server_is_a_service_error(monkeypatch):
    endpoint = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "A")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "B")
    with pytest.raises(ServiceError, match=endpoint):
        Dataset.open(URI)
