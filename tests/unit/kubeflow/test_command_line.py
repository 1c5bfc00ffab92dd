"""`admlops compile` and `admlops submit` as a user types them, against a real server."""

import re
import sys
from pathlib import Path

import pytest
import yaml
from kfp_server import Behaviour, serve_kfp

from admlops.cli import main
from admlops.kubeflow.compile import pipeline_names
from admlops.kubeflow.compiled import CompiledPipeline
from admlops.kubeflow.lint import lint
from admlops.kubeflow.profile import ClusterProfile

PROFILES = Path(__file__).resolve().parents[3] / "manifests" / "profiles"


def run_admlops(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["admlops", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (0, None)


@pytest.mark.parametrize("profile", ["kind", "gpu", "gke", "eks"])
def test_compile_places_every_pipeline(
    profile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = PROFILES / f"{profile}.yaml"
    run_admlops(monkeypatch, "compile", "--profile", file, "--output", tmp_path)
    cluster = ClusterProfile.load(file)
    for name in pipeline_names():
        pipeline = CompiledPipeline.parse((tmp_path / f"{name}.yaml").read_text())
        assert lint(pipeline, cluster.gpu_steps()) == []
        executors = {executor.label: executor for executor in pipeline.executors()}
        assert len(executors) > 10
        assert all(executor.platform for executor in executors.values())
        assert all(executor.container["resources"] for executor in executors.values())


def test_an_object_store_is_never_taken_for_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = PROFILES / "kind.yaml"
    words = ["closed_loop", "--profile", profile, "--output", tmp_path]
    run_admlops(monkeypatch, "compile", *words)
    text = (tmp_path / "closed_loop.yaml").read_text()
    assert "s3://admlops/store/lake" in text
    assert not re.search(r"s3:/[^/]", text)
    assert "label_ledger" not in text


def test_compile_lists_what_a_profile_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    values = yaml.safe_load((PROFILES / "gpu.yaml").read_text())
    del values["pools"]["gpu"]["tolerations"], values["pools"]["gpu"]["shm_size"]
    values["tag"] = "latest"
    file = tmp_path / "profile.yaml"
    file.write_text(yaml.safe_dump(values))
    words = ["admlops", "compile", "train_and_publish", "--profile", str(file)]
    monkeypatch.setattr(sys, "argv", [*words, "--output", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    printed = capsys.readouterr().err
    assert printed.startswith("ConfigError train_and_publish: ")
    told = [line.split(": ")[0] for line in printed.splitlines() if "exec-train" in line]
    assert [line.split()[:2] for line in told] == [
        ["IMAGE001", "error"],
        ["GPU002", "error"],
        ["GPU004", "error"],
    ]
    assert not (tmp_path / "out").exists()


def test_compile_writes_manifests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profile = PROFILES / "gpu.yaml"
    words = ["closed_loop", "--profile", profile, "--manifest", "--output", tmp_path]
    run_admlops(monkeypatch, "compile", *words)
    documents = list(yaml.safe_load_all((tmp_path / "closed_loop.yaml").read_text()))
    assert [document["kind"] for document in documents] == ["Pipeline", "PipelineVersion"]
    assert all(document["metadata"]["namespace"] == "admlops" for document in documents)


def test_submit_and_schedule(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KF_PIPELINES_TOKEN", "right")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    with serve_kfp(Behaviour(token="right", states=["SUCCEEDED"])) as server:  # noqa: S106
        monkeypatch.setenv("KF_PIPELINES_ENDPOINT", server.address)
        profile = ["--profile", PROFILES / "kind.yaml"]
        run_admlops(monkeypatch, "submit", "train_and_publish", *profile, "--no-wait")
        run_admlops(monkeypatch, "submit", "closed_loop", *profile, "--cron", "0 3 * * 1-5")
    (run,) = server.runs
    assert run["display_name"] == "train_and_publish-demo"
    assert run["service_account"] == "pipeline-runner"
    assert "platform_spec" in run["pipeline_spec"]
    (recurring,) = server.recurring_runs
    assert recurring["trigger"]["cron_schedule"]["cron"] == "0 0 3 * * 1-5"
