import json
import shutil
from pathlib import Path

import lance
import pyarrow as pa
import pytest
from frame_factory import make_frame

from admlops.errors import DataError
from admlops.lake.opening import create_table
from admlops.lake.schema import SCHEMA_VERSION_KEY
from admlops.lake.storage import absolute_uri, is_remote, resolve_options, split_reference
from admlops.lake.store import Dataset


@pytest.fixture
def dataset(tmp_path):
    dataset = Dataset.create(str(tmp_path / "lake.lance"))
    dataset.append(make_frame(index) for index in range(4))
    return dataset


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("lake.lance", ("lake.lance", "")),
        ("/data/lake.lance@3", ("/data/lake.lance", "3")),
        ("s3://bucket/lake@v1.2-b", ("s3://bucket/lake", "v1.2-b")),
        ("s3://me@bucket/lake", ("s3://me@bucket/lake", "")),
        ("", ("", "")),
    ],
)
def test_references_are_split_at_the_last_at_sign(reference, expected):
    assert split_reference(reference) == expected


def test_local_references_hold_in_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dataset = Dataset.create("lake.lance")
    assert dataset.uri == str(tmp_path / "lake.lance")
    assert absolute_uri("s3://bucket/lake") == "s3://bucket/lake"


def test_what_is_remote():
    assert is_remote("s3://bucket/lake")
    assert not is_remote("/data/lake")
    assert not is_remote("file:///data/lake")


def test_options_come_from_the_environment_and_given_ones_win(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://minio:9000")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "from environment")
    options = resolve_options("s3://bucket/lake", {"AWS_ACCESS_KEY_ID": "given"})
    assert options["aws_endpoint"] == "http://minio:9000"
    assert options["aws_access_key_id"] == "given"
    assert options["allow_http"] == "true"
    assert resolve_options("/data/lake", None) == {}


def test_a_dataset_that_another_process_made_meanwhile_is_opened(dataset):
    assert create_table(dataset.uri, {}, []).version == dataset.version


def test_a_lance_table_of_something_else_is_refused(tmp_path):
    uri = str(tmp_path / "other.lance")
    lance.write_dataset(pa.table({"a": [1]}), uri)
    with pytest.raises(DataError, match="not a dataset of frames"):
        Dataset.open(uri)
    with pytest.raises(DataError, match="not a dataset of frames"):
        Dataset.create(uri)


def test_another_schema_version_is_refused(dataset):
    table = lance.dataset(dataset.uri)
    table.update_schema_metadata({SCHEMA_VERSION_KEY.decode(): "7"})
    with pytest.raises(DataError, match="schema version 7, this program reads 2"):
        Dataset.open(dataset.uri)
    assert Dataset.open(f"{dataset.uri}@2").num_frames == 4


def test_removed_data_files_are_named(dataset):
    shutil.rmtree(Path(dataset.uri) / "data")
    with pytest.raises(DataError, match="reading"):
        Dataset.open(dataset.uri).take([0])


def test_a_truncated_data_file_is_told(dataset):
    opened = Dataset.open(dataset.uri)
    opened.take([0], lidar=False)
    for file in (Path(dataset.uri) / "data").iterdir():
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DataError, match="reading frames failed"):
        opened.take([3])


def test_a_broken_version_file_is_told(dataset):
    for file in (Path(dataset.uri) / "_versions").iterdir():
        file.write_bytes(b"broken")
    with pytest.raises(DataError, match="opening"):
        Dataset.open(dataset.uri)


def test_a_file_in_the_way_is_told(tmp_path):
    (tmp_path / "lake.lance").write_text(json.dumps({}))
    with pytest.raises(DataError, match=r"lake\.lance"):
        Dataset.create(str(tmp_path / "lake.lance"))
