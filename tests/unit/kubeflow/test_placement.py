from pathlib import Path
from typing import Any

import pytest
import yaml

from admlops.errors import ConfigError
from admlops.kubeflow.compiled import CompiledPipeline
from admlops.kubeflow.placement import place
from admlops.kubeflow.profile import ClusterProfile

PROFILES = sorted((Path(__file__).resolve().parents[3] / "manifests" / "profiles").glob("*.yaml"))


def placed_on(pipeline: CompiledPipeline, profile: ClusterProfile) -> dict[str, Any]:
    placed = place(pipeline, profile, "0.1.0")
    return {executor.word: executor for executor in placed.executors()}


def test_train_gets_all_that_a_gpu_step_needs(
    small_pipeline: CompiledPipeline, gpu_profile: ClusterProfile
) -> None:
    train = placed_on(small_pipeline, gpu_profile)["train"]
    assert train.container["image"] == "registry.example.com/admlops/admlops-train-python:0.1.0"
    assert train.container["resources"] == {
        "accelerator": {"resourceType": "nvidia.com/gpu", "resourceCount": "1"},
        "resourceCpuRequest": "8",
        "resourceCpuLimit": "8",
        "resourceMemoryRequest": "64Gi",
        "resourceMemoryLimit": "64Gi",
    }
    platform = train.platform
    assert platform["nodeSelector"] == {"labels": {"admlops.io/pool": "gpu"}}
    assert platform["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    ]
    assert platform["emptyDirMounts"][0] == {
        "volumeName": "shm",
        "mountPath": "/dev/shm",  # noqa: S108
        "medium": "Memory",
        "sizeLimit": "16Gi",
    }
    assert platform["activeDeadlineSeconds"] == "172800"
    labels = platform["podMetadata"]["labels"]
    assert labels == {
        "admlops.io/stage": "train",
        "admlops.io/step": "train",
        "admlops.io/pool": "gpu",
    }
    assert platform["imagePullSecret"][0]["secretName"] == "registry-pull"
    secrets = {
        (item["secretName"], pair["secretKey"], pair["envVar"])
        for item in platform["secretAsEnv"]
        for pair in item["keyToEnv"]
    }
    assert secrets == {
        ("admlops-s3", "access-key", "AWS_ACCESS_KEY_ID"),
        ("admlops-s3", "secret-key", "AWS_SECRET_ACCESS_KEY"),
    }


def test_cpu_step_gets_no_gpu(
    small_pipeline: CompiledPipeline, gpu_profile: ClusterProfile
) -> None:
    ingest = placed_on(small_pipeline, gpu_profile)["ingest"]
    assert "accelerator" not in ingest.container["resources"]
    assert "nodeSelector" not in ingest.platform
    assert ingest.platform["podMetadata"]["labels"]["admlops.io/stage"] == "data"
    env = {item["name"]: item["value"] for item in ingest.container["env"]}
    assert env == {
        "AWS_ENDPOINT_URL": "https://s3.example.com",
        "AWS_REGION": "us-east-1",
        "TMPDIR": "/scratch",
    }


def test_retries_reach_tasks_inside_conditions(
    small_pipeline: CompiledPipeline, gpu_profile: ClusterProfile
) -> None:
    placed = place(small_pipeline, gpu_profile, "0.1.0")
    policies = {path: task.get("retryPolicy") for path, task, _ in placed.tasks()}
    assert policies["condition-2/train"] == {
        "maxRetryCount": 2,
        "backoffDuration": "60s",
        "backoffFactor": 2.0,
        "backoffMaxDuration": "900s",
    }
    assert policies["condition-2"] is None


def test_every_shard_gets_the_pool_of_its_step(
    small_pipeline: CompiledPipeline, gpu_profile: ClusterProfile
) -> None:
    executors = placed_on(small_pipeline, gpu_profile)
    predict, train = executors["predict"], executors["train"]
    assert predict.container["resources"] == train.container["resources"]
    assert predict.platform["nodeSelector"] == train.platform["nodeSelector"]
    assert predict.platform["podMetadata"]["labels"]["admlops.io/step"] == "predict"
    assert executors["read"].platform["podMetadata"]["labels"]["admlops.io/pool"] == "cpu"
    placed = place(small_pipeline, gpu_profile, "0.1.0")
    policies = {path: task.get("retryPolicy") for path, task, _ in placed.tasks()}
    assert policies["for-loop-1/read"]["maxRetryCount"] == gpu_profile.pools["cpu"].max_retries
    assert policies["for-loop-3/predict"] == policies["condition-2/train"]


def test_other_components_keep_their_image_and_get_a_pool(
    small_pipeline: CompiledPipeline, gpu_profile: ClusterProfile
) -> None:
    other = placed_on(small_pipeline, gpu_profile)["count"]
    assert other.container["image"] == "registry.example.com/other-python:1"
    assert other.platform["podMetadata"]["labels"] == {"admlops.io/pool": "cpu"}
    small_pipeline.spec["deploymentSpec"]["executors"]["exec-count"]["container"]["resources"] = {
        "accelerator": {"resourceType": "nvidia.com/gpu", "resourceCount": "2"}
    }
    other = placed_on(small_pipeline, gpu_profile)["count"]
    assert other.platform["podMetadata"]["labels"] == {"admlops.io/pool": "gpu"}


def test_volumes_and_secrets_of_chosen_steps(
    small_pipeline: CompiledPipeline, gpu_profile: ClusterProfile
) -> None:
    profile = gpu_profile.replace(
        volume_claims=[{"claim": "store", "mount_path": "/mnt/admlops", "sub_path": "a"}],
        scratch={"storage_class": "fast", "size": "5Gi"},
        secrets=[{"secret": "wandb", "keys": {"WANDB_API_KEY": "key"}, "steps": ["train"]}],
    )
    executors = placed_on(small_pipeline, profile)
    claim = executors["ingest"].platform["pvcMount"][0]
    assert (claim["constant"], claim["mountPath"], claim["subPath"]) == (
        "store",
        "/mnt/admlops",
        "a",
    )
    volume = executors["ingest"].platform["genericEphemeralVolume"][0]
    assert (volume["storageClassName"], volume["size"]) == ("fast", "5Gi")
    assert "secretAsEnv" not in executors["ingest"].platform
    assert executors["train"].platform["secretAsEnv"][0]["secretName"] == "wandb"


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_placed_pipeline_survives_kfps_schemas_and_is_deterministic(
    path: Path, small_pipeline: CompiledPipeline, small_text: str
) -> None:
    profile = ClusterProfile.load(path)
    text = place(small_pipeline, profile, "0.1.0").render()
    assert text == place(CompiledPipeline.parse(small_text), profile, "0.1.0").render()
    again = CompiledPipeline.parse(text)
    assert again.render() == text
    assert place(again, profile, "0.1.0").render() == text
    assert CompiledPipeline.parse(small_text) == small_pipeline


def test_documents_are_kept_as_kfp_wrote_them(small_text: str) -> None:
    rendered = CompiledPipeline.parse(small_text).render()
    assert rendered.startswith("# PIPELINE DEFINITION\n# Name: small\n")
    start = small_text.index("components:")
    assert rendered.endswith(small_text[start:])


@pytest.mark.parametrize("text", ["", "a: [", "a: 1", "- 1"])
def test_what_is_no_pipeline_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="compiled pipeline"):
        CompiledPipeline.parse(text)


def test_a_field_that_kfp_does_not_know_is_refused(small_pipeline: CompiledPipeline) -> None:
    small_pipeline.spec["root"]["colour"] = "red"
    with pytest.raises(ConfigError, match="colour"):
        small_pipeline.render()


def test_manifest_names_a_version_by_its_content(
    small_pipeline: CompiledPipeline, gpu_profile: ClusterProfile
) -> None:
    placed = place(small_pipeline, gpu_profile, "0.1.0")
    pipeline, version = yaml.safe_load_all(placed.render_manifest("admlops"))
    assert pipeline["metadata"] == {"name": "small", "namespace": "admlops"}
    assert version["metadata"]["name"].startswith("small-")
    assert version["spec"]["pipelineName"] == "small"
    assert version["spec"]["pipelineSpec"] == placed.spec
    assert version["spec"]["platformSpec"] == placed.platform
    assert placed.render_manifest("admlops") == placed.render_manifest("admlops")
    other = place(small_pipeline, gpu_profile, "0.2.0").render_manifest("admlops")
    assert list(yaml.safe_load_all(other))[1]["metadata"]["name"] != version["metadata"]["name"]
    assert "platformSpec" not in small_pipeline.render_manifest("admlops")


def test_limits_are_always_written(
    small_pipeline: CompiledPipeline, gpu_profile: ClusterProfile
) -> None:
    # a namespace's LimitRange would else add a limit below the request, and the pod be refused
    pools = gpu_profile.to_json_dict()["pools"]
    pools["cpu"] = {"cpu_request": "3", "memory_request": "5Gi", "memory_limit": "6Gi"}
    ingest = placed_on(small_pipeline, gpu_profile.replace(pools=pools))["ingest"]
    assert ingest.container["resources"] == {
        "resourceCpuRequest": "3",
        "resourceCpuLimit": "3",
        "resourceMemoryRequest": "5Gi",
        "resourceMemoryLimit": "6Gi",
    }
