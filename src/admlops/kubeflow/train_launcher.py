"""Runs the step `train` as a TrainJob: creates it, follows it, and never leaves one behind."""

import hashlib
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from admlops.errors import ConfigError, ServiceError
from admlops.kubeflow.exchange import fetch_folder
from admlops.kubeflow.job_api import AwayError, JobApi
from admlops.kubeflow.train_job import (
    INDEX_LABEL,
    PodSettings,
    TrainJobSettings,
    build_train_job,
    outcome_of,
)
from admlops.steps.component import ArtifactLike, describe_outputs
from admlops.structures.manifest import Manifest
from admlops.training.config import TrainConfig

NODE_MODULE = "admlops.kubeflow.train_node"
_MAX_REQUEST_BYTES = 60_000
"""Of what is handed to the pods on their command line; Kubeflow Trainer takes 65,536 characters."""
_NUM_LOST_POLLS = 20
_LONGEST_PAUSE = 12
"""Waits between lost polls grow up to so many times the usual one."""
_NUM_LAST_LINES = 15
_GRACE_S = 30
"""The job's own deadline is waited for a little longer, since it says more."""


class _CancelledError(Exception):
    """SIGTERM: the run was cancelled, or the pod has to go."""


def train_on_cluster(
    config: Mapping[str, Any],
    launch: Mapping[str, Any],
    dataset: ArtifactLike,
    model: ArtifactLike,
    task_config: Any,  # noqa: ANN401 - kfp is untyped
) -> None:
    """Train in the pods of a TrainJob, and put the model where the task's output is.

    Args:
        config: the fields of TrainConfig.
        launch: the fields of TrainJobSettings.
        dataset: the dataset artifact.
        model: the model artifact.
        task_config: `dsl.TaskConfig`, what KFP hands over of the task's own settings.

    Raises:
        ConfigError: a setting is wrong, or this is no pod of a cluster.
        ServiceError: the job failed, took too long, was cancelled or deleted, or the API refuses.
        DataError: the model did not come back whole.
    """
    settings = TrainJobSettings.parse(launch, where="launch")
    api = JobApi.in_cluster()
    run_training(api, settings, PodSettings.of(task_config), config, (dataset, model))


def run_training(
    api: JobApi,
    settings: TrainJobSettings,
    pod: PodSettings,
    config: Mapping[str, Any],
    artifacts: tuple[ArtifactLike, ArtifactLike],
) -> None:
    """Do what `train_on_cluster` does, through a given API."""
    dataset, model = artifacts
    owner = api.pod_owner()
    name = f"train-{hashlib.sha256(owner['uid'].encode()).hexdigest()[:12]}"
    destination = f"{settings.exchange.rstrip('/')}/{name}"
    request = {
        "config": TrainConfig.parse(config, where="train").to_json_dict(),
        "dataset": Manifest.read(Path(dataset.path), kind="dataset").to_json_dict(),
        "destination": destination,
    }
    job = build_train_job(name, settings, pod, node_command(request), owner)
    run_job(api, job, settings)
    path = Path(model.path)
    fetch_folder(destination, path)
    manifest = Manifest.read(path / "manifest.json", kind="model")
    manifest.replace(uri=str(path.resolve())).write(path / "manifest.json")
    describe_outputs({"model": model}, manifest.scores)


def node_command(request: Mapping[str, Any]) -> list[str]:
    """Return the command of the training pods.

    Raises:
        ConfigError: the settings are too large for a command line.
    """
    text = json.dumps(request, sort_keys=True)
    if len(text) > _MAX_REQUEST_BYTES:
        raise ConfigError(
            f"train: config and dataset manifest are {len(text)} bytes as JSON; a TrainJob takes "
            f"{_MAX_REQUEST_BYTES}"
        )
    return ["python3", "-m", "torch.distributed.run", "-m", NODE_MODULE, text]


def run_job(api: JobApi, job: Mapping[str, Any], settings: TrainJobSettings) -> None:
    """Create a job and follow it to its end; it is deleted unless it succeeds.

    A job that succeeded stays until the launcher's pod goes, so that it can be looked at.

    Raises:
        ServiceError: the job failed, took too long, was cancelled or deleted, or the API refuses.
    """
    name = str(job["metadata"]["name"])
    with _sigterm_cancels():
        try:
            api.create(job)
            _say(f"TrainJob {name} created in {api.namespace}")
            _follow(api, name, settings)
        except _CancelledError as error:
            _remove(api, name)
            raise ServiceError(
                f"TrainJob {name}: cancelled by SIGTERM; it was deleted. A later run goes on from "
                "the last checkpoint, if work_folder is on a volume"
            ) from error
        except BaseException:
            _remove(api, name)
            raise


def _follow(api: JobApi, name: str, settings: TrainJobSettings) -> None:
    limit_s = settings.timeout_s + _GRACE_S if settings.timeout_s else float("inf")
    deadline = time.monotonic() + limit_s
    told: set[str] = set()
    lost = 0
    while True:
        try:
            job = api.get(name)
            pods = api.pods(name)
            _relay(api, pods, told)
            lost = 0
        except AwayError as error:
            lost += 1
            if lost > _NUM_LOST_POLLS:
                raise
            _say(f"{error}; trying again")
            time.sleep(settings.poll_s * min(2**lost, _LONGEST_PAUSE))
            continue
        if job is None:
            raise ServiceError(f"TrainJob {name}: somebody deleted it before it ended")
        outcome = outcome_of(job)
        if outcome.state == "succeeded":
            return
        if outcome.state == "failed":
            raise ServiceError(f"TrainJob {name} failed ({outcome.reason}){_last_words(api, pods)}")
        if outcome.reason and outcome.reason not in told:
            told.add(outcome.reason)
            _say(f"TrainJob {name}: {outcome.reason}")
        if time.monotonic() > deadline:
            raise ServiceError(
                f"TrainJob {name}: not done after {limit_s:.0f} s{_last_words(api, pods)}"
            )
        time.sleep(settings.poll_s)


def _relay(api: JobApi, pods: list[dict[str, Any]], told: set[str]) -> None:
    """Print each pod's state when it changes, and what the first node prints."""
    for pod in pods:
        name = str(pod["metadata"]["name"])
        state = f"{name}: {_state_of(pod)}"
        if state not in told:
            told.add(state)
            _say(state)
        if pod["metadata"].get("labels", {}).get(INDEX_LABEL, "0") == "0":
            for line in api.new_lines(name):
                print(line, flush=True)


def _last_words(api: JobApi, pods: list[dict[str, Any]]) -> str:
    """Return state and last lines of every pod that did not succeed; of none if they are gone."""
    words = []
    for pod in pods:
        if pod.get("status", {}).get("phase") == "Succeeded":
            continue
        name = str(pod["metadata"]["name"])
        words.append(f"; pod {name}: {_state_of(pod)}")
        try:
            lines = api.last_lines(name, _NUM_LAST_LINES)
        except ServiceError as error:
            lines = [str(error)]
        words += [f"\n  {line}" for line in lines]
    return "".join(words)


def _state_of(pod: Mapping[str, Any]) -> str:
    """Return a pod's phase and, where its container says why it waits or ended, that."""
    status = pod.get("status", {})
    words = [str(status.get("phase", "Unknown"))]
    for container in status.get("containerStatuses", []):
        for state in ("waiting", "terminated"):
            detail = container.get("state", {}).get(state, {})
            words += [str(detail[field]) for field in ("reason", "message") if detail.get(field)]
            if detail.get("exitCode"):
                words.append(f"exit code {detail['exitCode']}")
    conditions = status.get("conditions", [])
    words += [
        str(condition.get("message", ""))
        for condition in conditions
        if condition.get("reason") == "Unschedulable"
    ]
    return ", ".join(words)


def _remove(api: JobApi, name: str) -> None:
    """Delete a job whose failure is being reported; that report must not be lost."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        api.delete(name)
    except ServiceError as error:
        _say(f"{error}; TrainJob {name} goes with this pod, or delete it by hand")


@contextmanager
def _sigterm_cancels() -> Iterator[None]:
    """Raise where SIGTERM arrives; `_remove` is not interrupted by it."""

    def cancel(_: int, __: FrameType | None) -> None:
        raise _CancelledError

    before: Callable[..., Any] | int | None = signal.signal(signal.SIGTERM, cancel)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
