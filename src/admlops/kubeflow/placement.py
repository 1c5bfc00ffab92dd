"""Places every task of a compiled pipeline on a cluster, as its profile says."""

import copy
from dataclasses import dataclass, field
from typing import Any

from kfp import kubernetes

from admlops.kubeflow.compiled import CompiledPipeline, Executor
from admlops.kubeflow.profile import ClusterProfile, Pool
from admlops.steps.step import STEPS

STAGE_LABEL = "admlops.io/stage"
STEP_LABEL = "admlops.io/step"
POOL_LABEL = "admlops.io/pool"
SHM_PATH = "/dev/shm"  # noqa: S108 - the shared memory of the pod, not a temporary file


@dataclass(frozen=True, slots=True)
class _Settings:
    """Takes the settings of kfp.kubernetes' functions, as a PipelineTask does."""

    platform_config: dict[str, Any] = field(default_factory=dict)

    @property
    def kubernetes(self) -> dict[str, Any]:
        return dict(self.platform_config["kubernetes"])


def place(compiled: CompiledPipeline, profile: ClusterProfile, version: str) -> CompiledPipeline:
    """Return the pipeline with every task placed by its step; the profile's settings win.

    A component that is no step runs on the pool "gpu" if it asks for an accelerator, else on
    "cpu", and keeps its image.

    Args:
        compiled: what KFP's compiler wrote.
        profile: the cluster.
        version: tag of the images where the profile names neither tag nor digest.
    """
    spec = copy.deepcopy(compiled.spec)
    placed = CompiledPipeline(compiled.header, spec, {})
    platforms = {}
    pool_by_label = {}
    for executor in placed.executors():
        name = _pool_name(executor, profile)
        pool = profile.pools[name]
        pool_by_label[executor.label] = pool
        _fill_container(executor, profile, pool)
        if executor.is_step:
            stage = STEPS[executor.word].stage
            executor.container["image"] = profile.image(stage, version)
        platforms[executor.label] = _platform(executor.word, profile, name)
    for _, task, label in placed.tasks():
        if label in pool_by_label and pool_by_label[label].max_retries:
            task["retryPolicy"] = _retry_policy(pool_by_label[label])
    deployment = {"deploymentSpec": {"executors": platforms}}
    return CompiledPipeline(compiled.header, spec, {"platforms": {"kubernetes": deployment}})


def _pool_name(executor: Executor, profile: ClusterProfile) -> str:
    if executor.is_step:
        return profile.pool_of(executor.word)
    return "gpu" if "accelerator" in executor.container.get("resources", {}) else "cpu"


def _fill_container(executor: Executor, profile: ClusterProfile, pool: Pool) -> None:
    resources: dict[str, Any] = {
        "resourceCpuRequest": pool.cpu_request,
        "resourceCpuLimit": pool.cpu_limit or pool.cpu_request,
        "resourceMemoryRequest": pool.memory_request,
        "resourceMemoryLimit": pool.memory_limit or pool.memory_request,
    }
    if pool.accelerator:
        resources["accelerator"] = {
            "resourceType": pool.accelerator.resource,
            "resourceCount": str(pool.accelerator.count),
        }
    executor.container["resources"] = resources
    variables = {item["name"]: item["value"] for item in executor.container.get("env", [])}
    variables |= _environment(profile)
    if variables:
        executor.container["env"] = [
            {"name": name, "value": value} for name, value in sorted(variables.items())
        ]


def _environment(profile: ClusterProfile) -> dict[str, str]:
    variables = dict(profile.environment)
    if profile.object_store:
        variables["AWS_REGION"] = profile.object_store.region
        if profile.object_store.endpoint:
            variables["AWS_ENDPOINT_URL"] = profile.object_store.endpoint
    if profile.scratch:
        variables["TMPDIR"] = profile.scratch.mount_path
    return variables


def _retry_policy(pool: Pool) -> dict[str, Any]:
    return {
        "maxRetryCount": pool.max_retries,
        "backoffDuration": f"{pool.backoff_s}s",
        "backoffFactor": pool.backoff_factor,
        "backoffMaxDuration": f"{pool.max_backoff_s}s",
    }


def _platform(word: str, profile: ClusterProfile, pool_name: str) -> dict[str, Any]:
    settings = _Settings()
    _place_pod(settings, profile.pools[pool_name])
    labels = {POOL_LABEL: pool_name}
    if word in STEPS:
        labels |= {STAGE_LABEL: STEPS[word].stage, STEP_LABEL: word}
    for label, value in labels.items():
        kubernetes.add_pod_label(settings, label, value)
    _mount_volumes(settings, profile)
    for secret in profile.secrets:
        if not secret.steps or word in secret.steps:
            for variable, key in secret.keys.items():
                kubernetes.use_secret_as_env(settings, secret.secret, {key: variable})
    if profile.image_pull_secrets:
        kubernetes.set_image_pull_secrets(settings, list(profile.image_pull_secrets))
    kubernetes.set_image_pull_policy(settings, profile.image_pull_policy)
    return settings.kubernetes


def _place_pod(settings: _Settings, pool: Pool) -> None:
    for label, value in pool.node_selector.items():
        kubernetes.add_node_selector(settings, label, value)
    for taint in pool.tolerations:
        kubernetes.add_toleration(
            settings,
            key=taint.key,
            operator=taint.operator,
            value=taint.value or None,
            effect=taint.effect or None,
        )
    if pool.shm_size:
        kubernetes.empty_dir_mount(
            settings, "shm", SHM_PATH, medium="Memory", size_limit=pool.shm_size
        )
    if pool.timeout_s:
        kubernetes.set_timeout(settings, pool.timeout_s)


def _mount_volumes(settings: _Settings, profile: ClusterProfile) -> None:
    for volume in profile.volume_claims:
        kubernetes.mount_pvc(settings, volume.claim, volume.mount_path, volume.sub_path)
    scratch = profile.scratch
    if scratch and scratch.storage_class:
        kubernetes.add_ephemeral_volume(
            settings,
            volume_name="scratch",
            mount_path=scratch.mount_path,
            access_modes=["ReadWriteOnce"],
            size=scratch.size,
            storage_class_name=scratch.storage_class,
        )
    elif scratch:
        kubernetes.empty_dir_mount(settings, "scratch", scratch.mount_path, size_limit=scratch.size)
