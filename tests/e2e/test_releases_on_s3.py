"""Steps and commands that look releases up in a real S3 store: gate, report, rollback, serve."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3_server import serve_s3

from admlops import cli
from admlops.errors import DataError, ServiceError
from admlops.serving.bucket_store import open_store
from admlops.serving.publication import rollback
from admlops.serving.release import ReleaseRecord, write_papers
from admlops.steps.evaluate import EvaluateConfig, EvaluateInputs, EvaluateOutputs, evaluate
from admlops.steps.gate import GateConfig, GateInputs, GateOutputs, gate
from admlops.steps.report import ReportConfig, ReportInputs, ReportOutputs, report
from admlops.structures.manifest import Manifest

pytestmark = pytest.mark.e2e

URI = "s3://models/store/serving"
NUM_FRAMES = 40
MODEL_DIGEST = "7" * 64


def car(z_m: float, score: float | None = None) -> str:
    row = f"Car 0 0 0 100 100 200 150 1.5 2.0 4.0 0.0 1.65 {z_m} 0"
    return row if score is None else f"{row} {score}"


def make_evaluation(folder: Path, num_found: int) -> Path:
    """Evaluate a model that finds the cars of some frames."""
    labels, predictions = folder / "labels", folder / "predictions"
    labels.mkdir(parents=True)
    predictions.mkdir()
    for index in range(NUM_FRAMES):
        (labels / f"{index:06d}.txt").write_text(f"{car(10)}\n")
        found = car(10, 0.9) if index < num_found else ""
        (predictions / f"{index:06d}.txt").write_text(found)
    evaluate(
        EvaluateInputs(labels, predictions),
        EvaluateOutputs(evaluation=folder / "evaluation"),
        EvaluateConfig(categories=("car",)),
    )
    return folder / "evaluation"


def put_release(evaluation: Path, digest: str) -> str:
    """Put a release with a model's scores into the store, and make it the current one."""
    store = open_store(URI)
    release_id = store.next_id(digest)
    with store.draft() as draft:
        model = draft / "models" / "points_to_boxes"
        model.mkdir(parents=True)
        (model / "config.pbtxt").write_text('name: "points_to_boxes"')
        (draft / "source" / "admlops").mkdir(parents=True)
        (draft / "source" / "admlops" / "__init__.py").write_text("")
        record = ReleaseRecord(
            release_id=release_id,
            digest=digest,
            created_at="2026-01-01T00:00:00+00:00",
            categories=("car",),
            runtime="openvino f32",
            licences=("CC0-1.0",),
        )
        write_papers(draft, record, evaluation)
        store.adopt(draft, release_id)
    store.activate(release_id)
    manifest = Manifest(
        kind="release",
        uri=store.uri_of(release_id),
        digest=digest,
        provenance={"model_digest": MODEL_DIGEST, "release_id": release_id},
        scores={"release_number": 1.0},
    )
    store.keep_manifest(release_id, manifest)
    return release_id


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the id of the current release; the environment leads to the server that has it."""
    folder = tmp_path_factory.mktemp("s3")
    (folder / "bucket" / "models").mkdir(parents=True)
    with serve_s3(folder / "bucket") as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield put_release(make_evaluation(folder / "published", 30), "a" * 64)


@pytest.mark.parametrize(("num_found", "passed"), [(40, 1.0), (10, 0.0)])
def test_the_gate_compares_with_what_is_published_there(
    published: str, tmp_path: Path, num_found: int, passed: float
) -> None:
    inputs = GateInputs(evaluation=make_evaluation(tmp_path / "model", num_found))
    scores = gate(inputs, GateOutputs(tmp_path / "verdict"), GateConfig(published_uri=URI))
    assert scores["num_compared"] > 0
    assert scores["passed"] == passed
    assert "published" in (tmp_path / "verdict" / "verdict.md").read_text()
    assert published == open_store(URI).current_path().name


def test_a_report_shows_the_release_of_its_model(published: str, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    Manifest(kind="model", uri=str(model), digest=MODEL_DIGEST).write(model / "manifest.json")
    scores = report(
        ReportInputs(model=model),
        ReportOutputs(tmp_path / "report.html"),
        ReportConfig(releases_uri=URI),
    )
    page = (tmp_path / "report.html").read_text()
    assert published in page
    assert "openvino f32" in page
    assert scores["release_number"] == 1.0


def test_going_back_without_an_earlier_release_says_so(published: str) -> None:
    with pytest.raises(DataError, match="no earlier release to go back to"):
        rollback(URI)
    assert json.loads(open_store(URI).current().model_dump_json())["release_id"] == published


def test_serving_keeps_to_the_ports_that_are_asked_for(published: str, tmp_path: Path) -> None:
    cloud = tmp_path / "cloud.bin"
    cloud.write_bytes(bytes(16))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError, match=f"port {port} of 127.0.0.1 is taken"):
            cli.serve(releases=URI, ports=(0, port, 0), cloud=cloud)
        with pytest.raises(ServiceError, match=f"port {port} of 127.0.0.1 is taken"):
            cli.serve(releases=URI, release=published, ports=(port, 0, 0))
