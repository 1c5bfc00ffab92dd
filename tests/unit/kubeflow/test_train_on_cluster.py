"""The whole way of a TrainJob, without a cluster: what its pods would run is really run.

The server that speaks the Kubernetes API starts the job's own command, with the variables that
Kubeflow Trainer sets, and reports how it ended.
"""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl
from kubernetes_api import Cluster, condition, serve_cluster

from admlops.detection.config import BackboneConfig, NeckConfig, PillarEncoderConfig
from admlops.detection.presets import small_detector
from admlops.kubeflow.train_job import PodSettings, TrainJobSettings
from admlops.kubeflow.train_launcher import run_training
from admlops.lake.store import Dataset
from admlops.loading.config import AugmentationConfig, LoadingConfig
from admlops.structures.manifest import Manifest
from admlops.training.config import TrainConfig
from admlops.training.model_folder import read_model

pytestmark = pytest.mark.e2e


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@dataclass
class Artifact:
    path: str
    metadata: dict[str, Any] = field(default_factory=dict)


@pytest.fixture
def trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Yield a cluster with a controller that runs each job as one pod of two processes."""
    monkeypatch.setenv("HOSTNAME", "launcher")
    cluster = Cluster(steps=[None])
    threads = []

    def run(job: dict[str, Any]) -> None:
        spec = job["spec"]["trainer"]
        port = {"PET_MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": str(free_port())}
        counts = {"PET_NNODES": "1", "PET_NPROC_PER_NODE": str(spec["numProcPerNode"])}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        (tmp_path / "scratch").mkdir()
        own = {"PATH": path, "TMPDIR": str(tmp_path / "scratch"), "OMP_NUM_THREADS": "1"}
        environment = os.environ | port | counts | {"PET_NODE_RANK": "0"} | own
        done = subprocess.run(
            spec["command"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        pod = cluster.add_pod(0, "Failed" if done.returncode else "Succeeded")
        for line in (done.stdout + done.stderr).splitlines():
            cluster.print_line(pod, line)
        kind = "Failed" if done.returncode else "Complete"
        cluster.steps[:] = [condition(kind, "JobSetEnded")]

    def start(job: dict[str, Any]) -> None:
        threads.append(threading.Thread(target=run, args=(job,)))
        threads[-1].start()

    cluster.on_create = start
    with serve_cluster(cluster):
        yield cluster
        for thread in threads:
            thread.join()


def small_config() -> TrainConfig:
    detector = small_detector("centerpoint").replace(
        encoder=PillarEncoderConfig(num_channels=8),
        backbone=BackboneConfig(num_layers=(1,), strides=(2,), num_channels=(8,)),
        neck=NeckConfig(strides=(1,), num_channels=(8,)),
    )
    loading = LoadingConfig(augmentation=AugmentationConfig.none())
    flags = {"precision": "32-true", "accelerator": "cpu"}
    return TrainConfig(
        detector=detector, loading=loading, trainer=flags, num_steps=4, progress=False
    )


def train_with(trainer: Cluster, dataset: Dataset, folder: Path, config: TrainConfig) -> Artifact:
    settings = TrainJobSettings(
        image="registry.example.com/admlops-train-python:1",
        exchange=str(folder / "exchange"),
        processes_per_node=2,
        service_account="admlops-pipeline",
        poll_s=0.05,
    )
    path = folder / "dataset.json"
    dataset.manifest({}, {}).write(path)
    model = Artifact(str(folder / "model"))
    pod = PodSettings.of(dsl.TaskConfig())
    values = config.model_dump(mode="json", exclude_none=True)
    run_training(trainer.api(), settings, pod, values, (Artifact(str(path)), model))
    return model


def test_a_model_comes_back_from_two_processes(
    trainer: Cluster, toy_dataset: Dataset, tmp_path: Path
) -> None:
    model = train_with(trainer, toy_dataset, tmp_path, small_config())
    assert read_model(Path(model.path)).config == small_config().detector
    manifest = Manifest.read(Path(model.path) / "manifest.json", kind="model")
    assert manifest.uri == str(Path(model.path).resolve())
    assert model.metadata["digest"] == manifest.digest
    assert model.metadata["train_processes"] == 2
    assert model.metadata["provenance.dataset"] == toy_dataset.reference
    assert trainer.deleted == []
    assert not (tmp_path / "scratch" / "admlops-train").exists()
