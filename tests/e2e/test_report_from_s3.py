"""The report of a run is fetched from a real S3 server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from s3_server import serve_s3

from admlops.errors import ServiceError
from admlops.kubeflow.artifacts import download_report
from admlops.kubeflow.profile import ObjectStore

PREFIX = "s3://runs/root/closed-loop/run-1"


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "s3"
    (folder / "runs").mkdir(parents=True)
    with serve_s3(folder) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield folder / "runs"


def put(bucket: Path, path: str, text: str) -> None:
    file = bucket / "root" / "closed-loop" / path
    file.parent.mkdir(parents=True)
    file.write_text(text)


@pytest.mark.e2e
def test_the_page_of_this_run_is_fetched(bucket: Path, tmp_path: Path) -> None:
    put(bucket, "run-1/train/abc/model", "weights")
    put(bucket, "run-1/report/def/report", "<html>ours</html>")
    put(bucket, "run-10/report/ghi/report", "<html>another run's</html>")
    report = download_report(PREFIX, None, tmp_path / "out")
    assert report == tmp_path / "out" / "report.html"
    assert report.read_text() == "<html>ours</html>"


@pytest.mark.e2e
def test_a_run_without_a_report_gives_none(bucket: Path, tmp_path: Path) -> None:
    put(bucket, "run-1/train/abc/report", "a step's own file")
    assert download_report(PREFIX, ObjectStore(), tmp_path) is None
    assert download_report("/mnt/runs/run-1", None, tmp_path) is None


@pytest.mark.e2e
def test_refusals_name_the_store(
    bucket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bucket, "run-1/report/def/report", "x")
    with pytest.raises(ServiceError, match="no-such-bucket"):
        download_report("s3://no-such-bucket/x/run-1", None, tmp_path)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(ServiceError, match="object store at http://127"):
        download_report(PREFIX, None, tmp_path)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(ServiceError, match="no credentials; set AWS_ACCESS_KEY_ID"):
        download_report(PREFIX, None, tmp_path)


@pytest.mark.e2e
def test_an_unreachable_store_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    with pytest.raises(ServiceError, match="object store at http://127.0.0.1:1"):
        download_report(PREFIX, None, tmp_path)
