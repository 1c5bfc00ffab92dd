"""A folder goes from pod to pod through a real S3 server."""

from pathlib import Path

import pytest
from s3_server import serve_s3

from admlops.errors import DataError
from admlops.kubeflow.exchange import fetch_folder, send_folder


@pytest.mark.e2e
def test_a_folder_comes_back_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    (folder / "logs").mkdir(parents=True)
    (folder / "weights.pt").write_bytes(bytes(range(256)) * 1000)
    (folder / "logs" / "metrics.csv").write_text("loss\n1.0\n")
    bucket = tmp_path / "s3" / "store"
    bucket.mkdir(parents=True)
    with serve_s3(tmp_path / "s3") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        uri = "s3://store/train_jobs/train-1"
        with pytest.raises(DataError, match="is missing"):
            fetch_folder(uri, tmp_path / "fetched")
        send_folder(folder, uri)
        fetch_folder(uri, tmp_path / "fetched")
        names = {
            path.relative_to(tmp_path / "fetched") for path in (tmp_path / "fetched").rglob("*")
        }
        assert {str(name) for name in names} == {"weights.pt", "logs", "logs/metrics.csv"}
        assert (tmp_path / "fetched" / "weights.pt").read_bytes() == bytes(range(256)) * 1000
        archive = bucket / "train_jobs" / "train-1" / "folder.tar"
        archive.write_bytes(archive.read_bytes()[:5000])
        with pytest.raises(DataError, match="no folder came back whole"):
            fetch_folder(uri, tmp_path / "cut")
    assert not (tmp_path / "cut").exists()
