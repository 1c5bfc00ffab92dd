"""Turns the task `train` of a compiled pipeline into the launcher of a TrainJob."""

import copy
import tempfile
from pathlib import Path
from typing import Any

from kfp import compiler

from admlops.kubeflow.compiled import CompiledPipeline
from admlops.kubeflow.placement import POOL_LABEL, STAGE_LABEL, STEP_LABEL
from admlops.kubeflow.profile import ClusterProfile
from admlops.kubeflow.train_component import train
from admlops.kubeflow.train_job import TrainJobSettings

_WORD = "train"
_PARAMETER = "launch"
_MARGIN_S = 120
"""The launcher's pod outlives the job by this, so that it can say why the job was ended."""


def distribute(
    compiled: CompiledPipeline, profile: ClusterProfile, version: str
) -> CompiledPipeline:
    """Return the pipeline with `train` as a TrainJob, where the profile asks for that.

    Component and container become those of `train_component`, which takes the same artifacts and
    the same config; the task gets one more parameter. Its resources, node selector, tolerations,
    variables and volumes are set as ever: KFP hands them to the launcher.

    Args:
        compiled: what KFP's compiler wrote.
        profile: the cluster.
        version: tag of the images where the profile names neither tag nor digest.
    """
    if profile.train_jobs is None:
        return compiled
    result = CompiledPipeline(compiled.header, copy.deepcopy(compiled.spec), compiled.platform)
    launcher = _compiled_launcher()
    (source,) = launcher.executors()
    component = launcher.spec["components"]["comp-train"]
    labels = {executor.label for executor in result.executors() if executor.word == _WORD}
    for label in labels:
        container = result.spec["deploymentSpec"]["executors"][label]["container"]
        for field in ("args", "command"):
            container[field] = list(source.container[field])
    for part in result.spec.get("components", {}).values():
        if part.get("executorLabel") in labels:
            part.update(copy.deepcopy(component), executorLabel=part["executorLabel"])
    settings = _settings(profile, version).model_dump(mode="json", exclude_none=True)
    for _, task, label in result.tasks():
        if label in labels:
            constant = {"constant": copy.deepcopy(settings)}
            task["inputs"]["parameters"][_PARAMETER] = {"runtimeValue": constant}
    return result


def _compiled_launcher() -> CompiledPipeline:
    with tempfile.TemporaryDirectory() as draft:
        path = Path(draft) / "train.yaml"
        compiler.Compiler().compile(train, str(path))
        return CompiledPipeline.parse(path.read_text())


def _settings(profile: ClusterProfile, version: str) -> TrainJobSettings:
    """Return what the launcher must know; KFP hands over neither of the pod's empty folders."""
    wanted = profile.train_jobs
    if wanted is None:
        raise ValueError("the profile asks for no TrainJobs")
    name = profile.pool_of(_WORD)
    pool = profile.pools[name]
    values: dict[str, Any] = {
        "image": profile.image("train", version),
        "exchange": wanted.exchange or f"{profile.store.rstrip('/')}/train_jobs",
        "num_nodes": wanted.num_nodes,
        "processes_per_node": wanted.processes_per_node
        or (pool.accelerator.count if pool.accelerator else 1),
        "service_account": profile.service_account,
        "image_pull_secrets": profile.image_pull_secrets,
        "labels": {STAGE_LABEL: "train", STEP_LABEL: _WORD, POOL_LABEL: name},
        "shm_size": pool.shm_size,
        "timeout_s": max(pool.timeout_s - _MARGIN_S, 1) if pool.timeout_s else None,
        "poll_s": wanted.poll_s,
    }
    if profile.scratch:
        values["scratch_size"] = profile.scratch.size
        values["scratch_path"] = profile.scratch.mount_path
    return TrainJobSettings(**values)
