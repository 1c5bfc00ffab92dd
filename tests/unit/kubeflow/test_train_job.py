"""TrainJobs: the object, and a launcher against a real server that speaks the Kubernetes API."""

import copy
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from kfp import compiler, dsl
from kubernetes_api import (
    DROP,
    GONE,
    JOBS,
    NAMESPACE,
    PODS,
    SCHEMA,
    Cluster,
    condition,
    serve_cluster,
)

from admlops.errors import ConfigError, DataError, ServiceError
from admlops.kubeflow.compile import compile_pipeline
from admlops.kubeflow.compiled import CompiledPipeline
from admlops.kubeflow.distribution import distribute
from admlops.kubeflow.exchange import fetch_folder, send_folder
from admlops.kubeflow.job_api import JobApi
from admlops.kubeflow.lint import lint
from admlops.kubeflow.placement import place
from admlops.kubeflow.profile import ClusterProfile
from admlops.kubeflow.train_component import train as launcher
from admlops.kubeflow.train_job import PodSettings, TrainJobSettings, build_train_job, outcome_of
from admlops.kubeflow.train_launcher import node_command, run_job, train_on_cluster
from admlops.recipes import load_recipe
from admlops_components.train import train

HANDED_OVER = dsl.TaskConfig(
    resources={
        "limits": {"cpu": "8", "memory": "64Gi", "nvidia.com/gpu": "4"},
        "requests": {"cpu": "8", "memory": "64Gi"},
    },
    node_selector={"admlops.io/pool": "gpu"},
    tolerations=[{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    env=[
        {"name": "AWS_REGION", "value": "us-east-1"},
        {
            "name": "AWS_ACCESS_KEY_ID",
            "valueFrom": {"secretKeyRef": {"name": "admlops-s3", "key": "access-key"}},
        },
    ],
    volumes=[{"name": "store", "persistentVolumeClaim": {"claimName": "store"}}],
    volume_mounts=[{"name": "store", "mountPath": "/mnt/admlops"}],
)
SETTINGS = TrainJobSettings(
    image="registry.example.com/admlops-train-python:1",
    exchange="s3://admlops/store/train_jobs",
    num_nodes=2,
    processes_per_node=4,
    service_account="admlops-pipeline",
    image_pull_secrets=["registry-pull"],
    labels={"admlops.io/step": "train"},
    shm_size="16Gi",
    scratch_size="100Gi",
    timeout_s=3600,
    poll_s=0.01,
)


def job_of(settings: TrainJobSettings = SETTINGS, task_config: Any = HANDED_OVER) -> dict[str, Any]:
    owner = {"name": "launcher", "uid": "0123-uid"}
    return build_train_job("train-1", settings, PodSettings.of(task_config), ["python3"], owner)


def pod_of(job: dict[str, Any]) -> dict[str, Any]:
    (patch,) = job["spec"]["runtimePatches"]
    (node,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    assert node["name"] == "node"
    template: dict[str, Any] = node["template"]["spec"]["template"]
    return template


def test_the_job_has_what_the_task_was_given() -> None:
    job = job_of()
    jsonschema.validate(job, SCHEMA)
    assert job["spec"]["runtimeRef"] == {"name": "torch-distributed"}
    assert job["spec"]["activeDeadlineSeconds"] == 3600
    trainer = job["spec"]["trainer"]
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == (2, 4)
    assert trainer["resourcesPerNode"] == HANDED_OVER.resources
    assert trainer["env"] == HANDED_OVER.env
    pod = pod_of(job)["spec"]
    assert pod["nodeSelector"] == {"admlops.io/pool": "gpu"}
    assert pod["tolerations"] == HANDED_OVER.tolerations
    assert pod["imagePullSecrets"] == [{"name": "registry-pull"}]
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert mounts == {"store": "/mnt/admlops", "shm": "/dev/shm", "scratch": "/scratch"}  # noqa: S108
    sizes = {volume["name"]: volume.get("emptyDir") for volume in pod["volumes"]}
    assert sizes["shm"] == {"medium": "Memory", "sizeLimit": "16Gi"}
    assert pod_of(job)["metadata"]["labels"] == {"admlops.io/step": "train"}


def test_a_job_of_an_empty_task_config_is_valid_too() -> None:
    settings = TrainJobSettings(image="x:1", exchange="/mnt/x", service_account="a")
    jsonschema.validate(job_of(settings, dsl.TaskConfig()), SCHEMA)


def test_the_schema_refuses_misspelt_fields_and_torchruns_own_variables() -> None:
    for where, field in (("spec", "podTemplateOverrides"), ("metadata", "spelt-wrongly")):
        job = job_of()
        job[where][field] = []
        with pytest.raises(jsonschema.ValidationError, match=field):
            jsonschema.validate(job, SCHEMA)
    job = job_of()
    pod_of(job)["spec"]["tolerationz"] = []
    with pytest.raises(jsonschema.ValidationError, match="tolerationz"):
        jsonschema.validate(job, SCHEMA)
    job = job_of()
    job["spec"]["trainer"]["env"].append({"name": "PET_NNODES", "value": "2"})
    with pytest.raises(jsonschema.ValidationError, match="PET_NNODES"):
        jsonschema.validate(job, SCHEMA)


def test_conditions_that_are_not_true_say_nothing() -> None:
    def state(*conditions: dict[str, Any]) -> str:
        return outcome_of({"status": {"conditions": list(conditions)}}).state

    assert outcome_of({}).state == "waiting"
    assert state(condition("Failed") | {"status": "False"}, condition("Complete")) == "succeeded"
    assert state(condition("Complete"), condition("Failed")) == "failed"
    assert state(condition("Suspended", "Suspended", "by Kueue")) == "waiting"


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setenv("HOSTNAME", "launcher")
    with serve_cluster(Cluster()) as served:
        yield served


def launch(cluster: Cluster, **changes: Any) -> None:
    settings = SETTINGS.replace(**changes)
    run_job(cluster.api(), job_of(settings), settings)


def test_a_job_is_created_followed_and_left_when_it_succeeds(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = cluster.add_pod(0), cluster.add_pod(1)
    cluster.print_line(second, "from the second node")
    cluster.print_line(first, "step 1")
    complete = condition("Complete", "JobsCompleted")
    cluster.steps = [None, None, lambda: cluster.print_line(first, "step 2"), None, complete]
    launch(cluster)
    printed = capsys.readouterr()
    assert printed.out == "step 1\nstep 2\n"
    assert printed.err.count(f"{first}: Running") == 1
    assert cluster.deleted == []
    assert cluster.created[0]["metadata"]["ownerReferences"][0]["uid"] == "0123-uid"


def test_a_failed_job_is_deleted_and_its_pods_are_heard(cluster: Cluster) -> None:
    ended = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    killed = cluster.add_pod(1, "Failed", containerStatuses=[{"state": ended}])
    cluster.add_pod(0, "Succeeded")
    for number in range(40):
        cluster.print_line(killed, f"line {number}")
    cluster.steps = [None, condition("Failed", "JobSetFailed", "a job has failed")]
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ServiceError) as raised:
        launch(cluster)
    message = str(raised.value)
    assert message.startswith("TrainJob train-1 failed (JobSetFailed: a job has failed)")
    assert f"pod {killed}: Failed, OOMKilled, exit code 137" in message
    assert "line 39" in message
    assert "line 24" not in message
    assert "Succeeded" not in message
    assert cluster.deleted == ["train-1"]
    assert signal.getsignal(signal.SIGTERM) is handler


def test_a_job_that_takes_too_long_is_deleted_and_says_why_its_pods_wait(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("admlops.kubeflow.train_launcher._GRACE_S", 0)
    unschedulable = {"reason": "Unschedulable", "message": "0/3 nodes have enough nvidia.com/gpu"}
    cluster.add_pod(0, "Pending", conditions=[unschedulable])
    cluster.steps = [None]
    with pytest.raises(ServiceError, match=r"not done after 1 s.*Pending, 0/3 nodes have enough"):
        launch(cluster, timeout_s=1)
    assert cluster.deleted == ["train-1"]


def test_an_interrupted_api_is_asked_again(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.steps = [None, DROP, 503, 429, DROP, None, condition("Complete")]
    name = cluster.add_pod(0)
    cluster.print_line(name, "only once")
    launch(cluster)
    printed = capsys.readouterr()
    assert printed.out == "only once\n"
    assert printed.err.count("trying again") == 4
    assert cluster.deleted == []


def test_an_api_that_stays_away_ends_the_launcher_which_still_tries_to_delete(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("admlops.kubeflow.train_launcher._NUM_LOST_POLLS", 3)
    cluster.steps = [503]
    with pytest.raises(ServiceError, match=r"get TrainJob train-1: refused, 503.*not now"):
        launch(cluster, poll_s=0.001)
    assert cluster.asked.count(f"GET {JOBS}/train-1") == 4
    assert cluster.deleted == ["train-1"]


def test_a_job_that_somebody_deletes_is_no_success(cluster: Cluster) -> None:
    cluster.steps = [None, GONE]
    with pytest.raises(ServiceError, match="train-1: somebody deleted it before it ended"):
        launch(cluster)
    assert cluster.deleted == []


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        (403, "User cannot create resource trainjobs", "service account needs create, get and"),
        (403, "exceeded quota: pipelines", "wait until other jobs end, or ask for a larger quota"),
        (404, "the server could not find the requested resource", "is Kubeflow Trainer installed"),
        (401, "Unauthorized", "token is not accepted"),
        (422, "unknown field", "another version of the API"),
    ],
)
def test_refusals_are_explained(cluster: Cluster, status: int, message: str, expected: str) -> None:
    cluster.refusals[f"POST {JOBS}"] = (status, message)
    with pytest.raises(ServiceError, match=expected) as raised:
        launch(cluster)
    assert f"namespace {NAMESPACE}: create TrainJob train-1: refused, {status}" in str(raised.value)
    assert message in str(raised.value)
    assert cluster.jobs == {}


def test_what_may_not_be_read_ends_the_job_and_says_which_right_is_missing(
    cluster: Cluster,
) -> None:
    cluster.refusals[f"GET {PODS}"] = (403, "cannot list pods")
    cluster.steps = [None]
    with pytest.raises(ServiceError, match=r"list the pods.*cannot list pods.*list on pods"):
        launch(cluster)
    assert cluster.deleted == ["train-1"]


def test_a_failure_is_told_even_where_the_job_cannot_be_deleted(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.steps = [condition("Failed", "JobSetFailed")]
    cluster.refusals[f"DELETE {JOBS}/train-1"] = (403, "cannot delete")
    with pytest.raises(ServiceError, match="JobSetFailed"):
        launch(cluster)
    assert "or delete it by hand" in capsys.readouterr().err


def test_a_job_that_is_there_already_is_followed(cluster: Cluster) -> None:
    cluster.jobs["train-1"] = job_of()
    launch(cluster)
    assert cluster.created == []


CANCELLED = """
import sys
from kubernetes import client
from admlops.kubeflow.job_api import JobApi
from admlops.kubeflow.train_job import PodSettings, TrainJobSettings, build_train_job
from admlops.kubeflow.train_launcher import run_job

settings = TrainJobSettings(image="x:1", exchange="/x", service_account="a", poll_s=30)
job = build_train_job("train-1", settings, PodSettings({}, [], [], [], {}, [], {}), ["true"])
configuration = client.Configuration(host=sys.argv[1])
run_job(JobApi(client.ApiClient(configuration), "admlops"), job, settings)
"""


def test_sigterm_deletes_the_job(cluster: Cluster) -> None:
    cluster.steps = [None]
    process = subprocess.Popen(
        [sys.executable, "-c", CANCELLED, cluster.address],
        stderr=subprocess.PIPE,
        env=os.environ | {"no_proxy": "*"},
    )
    deadline = time.monotonic() + 60
    while f"GET {PODS}" not in cluster.asked and time.monotonic() < deadline:
        time.sleep(0.02)
    assert cluster.created
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert b"TrainJob train-1: cancelled by SIGTERM; it was deleted" in errors
    assert cluster.deleted == ["train-1"]


def test_outside_of_a_cluster_nothing_is_launched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ConfigError, match="service account has a token"):
        JobApi.in_cluster()
    artifact = dsl.Artifact(uri=str(tmp_path))
    with pytest.raises(ConfigError, match="launch: TrainJobSettings has"):
        train_on_cluster({}, {"image": "x:1"}, artifact, artifact, dsl.TaskConfig())


def test_a_config_too_large_for_a_command_line_is_refused() -> None:
    assert node_command({"a": 1})[-1] == '{"a": 1}'
    with pytest.raises(ConfigError, match="60000"):
        node_command({"a": "x" * 70_000})


def test_a_folder_comes_through_a_volume_whole_or_not(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "logs").mkdir(parents=True)
    (folder / "logs" / "a.csv").write_text("1")
    (folder / "b").write_bytes(b"2")
    exchange = str(tmp_path / "volume" / "train-1")
    send_folder(folder, exchange)
    fetch_folder(exchange, tmp_path / "fetched")
    assert (tmp_path / "fetched" / "logs" / "a.csv").read_text() == "1"
    archive = Path(exchange) / "folder.tar"
    archive.write_bytes(archive.read_bytes()[:600])
    with pytest.raises(DataError, match="no folder came back whole"):
        fetch_folder(exchange, tmp_path / "cut")
    with pytest.raises(DataError, match="no folder came back whole"):
        fetch_folder(str(tmp_path / "absent"), tmp_path / "cut")
    assert not (tmp_path / "cut").exists()


@pytest.fixture
def distributed_profile(gpu_profile: ClusterProfile) -> ClusterProfile:
    pools = gpu_profile.to_json_dict()["pools"]
    pools["gpu"]["accelerator"]["count"] = 4
    return gpu_profile.replace(pools=pools, train_jobs={"num_nodes": 2})


def test_the_profile_makes_train_a_launcher(
    small_pipeline: CompiledPipeline, distributed_profile: ClusterProfile
) -> None:
    before = copy.deepcopy(small_pipeline)
    placed = place(distribute(small_pipeline, distributed_profile, "1"), distributed_profile, "1")
    assert small_pipeline == before
    CompiledPipeline.parse(placed.render())
    assert not lint(placed, distributed_profile.gpu_steps())
    component = placed.spec["components"]["comp-train"]
    assert component["executorLabel"] == "exec-train"
    fields = {
        item["field"]: item.get("applyToTask", False)
        for item in component["taskConfigPassthroughs"]
    }
    assert fields == {
        "RESOURCES": False,
        "KUBERNETES_AFFINITY": False,
        "KUBERNETES_TOLERATIONS": False,
        "KUBERNETES_NODE_SELECTOR": False,
        "ENV": True,
        "KUBERNETES_VOLUMES": True,
    }
    (task,) = (task for path, task, _ in placed.tasks() if path.endswith("/train"))
    settings = TrainJobSettings.parse(
        task["inputs"]["parameters"]["launch"]["runtimeValue"]["constant"]
    )
    assert (settings.num_nodes, settings.processes_per_node) == (2, 4)
    assert settings.image == "registry.example.com/admlops/admlops-train-python:1"
    assert settings.exchange == "s3://admlops/store/train_jobs"
    assert (settings.shm_size, settings.scratch_size) == ("16Gi", "100Gi")
    assert settings.timeout_s == 172800 - 120
    (placed_train,) = (executor for executor in placed.executors() if executor.word == "train")
    assert "train_on_cluster" in placed_train.container["command"][-1]
    assert placed_train.container["resources"]["accelerator"]["resourceCount"] == "4"


def compiled(pipeline: Any, folder: Path) -> CompiledPipeline:
    path = folder / f"{pipeline.name}.yaml"
    compiler.Compiler().compile(pipeline, str(path))
    return CompiledPipeline.parse(path.read_text())


def test_the_rewritten_task_is_what_kfps_compiler_makes_of_the_launcher(
    distributed_profile: ClusterProfile, tmp_path: Path
) -> None:
    @dsl.pipeline(name="native")
    def native(config: dict, launch: dict, dataset: dsl.Input[dsl.Dataset]) -> None:
        launcher(config=config, launch=launch, dataset=dataset)

    @dsl.pipeline(name="rewritten")
    def rewritten(config: dict, dataset: dsl.Input[dsl.Dataset]) -> None:
        train(config=config, dataset=dataset)

    wanted = compiled(native, tmp_path)
    found = distribute(compiled(rewritten, tmp_path), distributed_profile, "1")
    assert found.spec["components"]["comp-train"] == wanted.spec["components"]["comp-train"]
    executors = [spec.spec["deploymentSpec"]["executors"]["exec-train"] for spec in (found, wanted)]
    assert executors[0] == executors[1]
    tasks = [spec.spec["root"]["dag"]["tasks"]["train"] for spec in (found, wanted)]
    assert tasks[0]["inputs"]["artifacts"] == tasks[1]["inputs"]["artifacts"]
    assert tasks[0]["inputs"]["parameters"].keys() == tasks[1]["inputs"]["parameters"].keys()


def test_a_pipeline_that_trains_twice_launches_twice(
    distributed_profile: ClusterProfile, tmp_path: Path
) -> None:
    recipe = load_recipe("demo", "s3://admlops/store")
    path = compile_pipeline("closed_loop", recipe, tmp_path, distributed_profile)
    text = path.read_text()
    assert not re.search(r"[&*]id\d{3}", text)  # YAML's aliases, which not every reader knows
    tasks = [task for name, task, _ in CompiledPipeline.parse(text).tasks() if "train" in name]
    assert [task["inputs"]["parameters"].get("launch") is not None for task in tasks] == [True] * 2


def test_without_train_jobs_nothing_changes(
    small_pipeline: CompiledPipeline, gpu_profile: ClusterProfile
) -> None:
    assert distribute(small_pipeline, gpu_profile, "1") is small_pipeline


def test_the_launcher_takes_what_the_component_takes() -> None:
    ours, usual = launcher.component_spec, train.component_spec
    assert ours.inputs.keys() - usual.inputs.keys() == {"launch", "task_config"}
    assert usual.inputs.keys() <= ours.inputs.keys()
    assert {name: item.type for name, item in ours.outputs.items()} == {
        name: item.type for name, item in usual.outputs.items()
    }
