"""The TrainJob object of Kubeflow Trainer: the one place that knows its version and its fields.

Written after `pkg/apis/trainer/v1alpha1/trainjob_types.go` of Kubeflow Trainer 2.2 to 2.4. What a
job may change of its runtime is called `runtimePatches` since 2.2, and otherwise before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from admlops.config import Config
from admlops.kubeflow.profile import Name, Quantity

GROUP, VERSION, KIND, PLURAL = "trainer.kubeflow.org", "v1alpha1", "TrainJob", "trainjobs"
RUNTIME = "torch-distributed"
"""The ClusterTrainingRuntime that comes with Kubeflow Trainer."""
CONTAINER = "node"
"""Name of the runtime's replicated job, and of the container in its pods."""
JOB_LABEL = "jobset.sigs.k8s.io/jobset-name"
INDEX_LABEL = "batch.kubernetes.io/job-completion-index"
_MANAGER = "admlops.io/train"
_USER = 65532
_SHM_PATH = "/dev/shm"  # noqa: S108 - the shared memory of the pod, not a temporary file

State = Literal["waiting", "succeeded", "failed"]


class TrainJobSettings(Config):
    """What a cluster's profile says about its TrainJobs; a parameter of the task."""

    image: str
    """Image of the training pods, and of the launcher."""
    exchange: str
    """Folder through which the model comes back: s3://bucket/folder, or a folder of a volume."""
    num_nodes: int = Field(default=1, ge=1)
    """Pods."""
    processes_per_node: int = Field(default=1, ge=1)
    """Processes in each pod, one for each of its accelerators."""
    service_account: Name
    """ServiceAccount of the pods; on some clouds it opens the bucket."""
    image_pull_secrets: tuple[Name, ...] = ()
    """Secrets with the registry's credentials, by name."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels of the pods."""
    shm_size: Quantity | None = None
    """Size of /dev/shm; KFP does not hand it over."""
    scratch_size: Quantity | None = None
    """Size of the folder for temporary files; KFP does not hand it over."""
    scratch_path: str = "/scratch"
    """Where that folder is."""
    timeout_s: int | None = Field(default=None, ge=1)
    """Seconds after which the job is ended."""
    poll_s: float = Field(default=5.0, gt=0)
    """Seconds between two looks at the job."""


@dataclass(frozen=True, slots=True)
class PodSettings:
    """What `dsl.TaskConfig` hands over of the task: fragments of a pod, in Kubernetes' names."""

    resources: Mapping[str, Any]
    env: Sequence[Mapping[str, Any]]
    volumes: Sequence[Mapping[str, Any]]
    volume_mounts: Sequence[Mapping[str, Any]]
    node_selector: Mapping[str, str]
    tolerations: Sequence[Mapping[str, Any]]
    affinity: Mapping[str, Any]

    @classmethod
    def of(cls, task_config: Any) -> "PodSettings":  # noqa: ANN401 - kfp is untyped
        """Return the settings in a `dsl.TaskConfig`, whose fields may all be None."""
        return cls(
            resources=task_config.resources or {},
            env=task_config.env or [],
            volumes=task_config.volumes or [],
            volume_mounts=task_config.volume_mounts or [],
            node_selector=task_config.node_selector or {},
            tolerations=task_config.tolerations or [],
            affinity=task_config.affinity or {},
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """How far a job is.

    Attributes:
        state: whether it still runs.
        reason: what the controller says about it; may be empty.
    """

    state: State
    reason: str


def build_train_job(
    name: str,
    settings: TrainJobSettings,
    pod: PodSettings,
    command: Sequence[str],
    owner: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the object to create.

    Args:
        name: a DNS label of at most 50 characters: pods' names are longer by a few.
        settings: the cluster's.
        pod: the task's.
        command: of the container; torchrun finds the number of nodes and processes, the rank and
            the first node's address in the variables PET_* that Kubeflow Trainer sets.
        owner: name and uid of the launcher's pod; the job goes when that goes.
    """
    metadata: dict[str, Any] = {"name": name, "labels": dict(settings.labels)}
    if owner:
        metadata["ownerReferences"] = [{"apiVersion": "v1", "kind": "Pod", **owner}]
    trainer: dict[str, Any] = {
        "image": settings.image,
        "command": list(command),
        "numNodes": settings.num_nodes,
        "numProcPerNode": settings.processes_per_node,
        "env": [dict(variable) for variable in pod.env],
        "resourcesPerNode": dict(pod.resources),
    }
    template = {"metadata": {"labels": dict(settings.labels)}, "spec": _pod_patch(settings, pod)}
    replicated = {"name": CONTAINER, "template": {"spec": {"template": template}}}
    runtime_spec = {"template": {"spec": {"replicatedJobs": [replicated]}}}
    spec: dict[str, Any] = {
        "runtimeRef": {"name": RUNTIME},
        "trainer": {field: value for field, value in trainer.items() if value},
        "runtimePatches": [{"manager": _MANAGER, "trainingRuntimeSpec": runtime_spec}],
    }
    if settings.timeout_s:
        spec["activeDeadlineSeconds"] = settings.timeout_s
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "metadata": metadata, "spec": spec}


def _pod_patch(settings: TrainJobSettings, pod: PodSettings) -> dict[str, Any]:
    volumes, mounts = [*map(dict, pod.volumes)], [*map(dict, pod.volume_mounts)]
    for name, path, empty_dir in _empty_dirs(settings):
        volumes.append({"name": name, "emptyDir": empty_dir})
        mounts.append({"name": name, "mountPath": path})
    container = {
        "name": CONTAINER,
        "volumeMounts": mounts,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    patch: dict[str, Any] = {
        "serviceAccountName": settings.service_account,
        "imagePullSecrets": [{"name": name} for name in settings.image_pull_secrets],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "nodeSelector": dict(pod.node_selector),
        "tolerations": [dict(toleration) for toleration in pod.tolerations],
        "affinity": dict(pod.affinity),
        "volumes": volumes,
        "containers": [{field: value for field, value in container.items() if value}],
    }
    return {field: value for field, value in patch.items() if value}


def _empty_dirs(settings: TrainJobSettings) -> list[tuple[str, str, dict[str, str]]]:
    """Return name, path and emptyDir of the volumes that KFP keeps to the task's own pod."""
    found = []
    if settings.shm_size:
        found.append(("shm", _SHM_PATH, {"medium": "Memory", "sizeLimit": settings.shm_size}))
    if settings.scratch_size:
        size = {"sizeLimit": settings.scratch_size}
        found.append(("scratch", settings.scratch_path, size))
    return found


def outcome_of(job: Mapping[str, Any]) -> Outcome:
    """Return how far a job is, by the conditions in its status."""
    conditions = {
        str(condition["type"]): condition
        for condition in job.get("status", {}).get("conditions", [])
        if condition.get("status") == "True"
    }
    if "Failed" in conditions:
        return Outcome("failed", _words(conditions["Failed"]))
    if "Complete" in conditions:
        return Outcome("succeeded", _words(conditions["Complete"]))
    suspended = conditions.get("Suspended")
    return Outcome("waiting", f"suspended, {_words(suspended)}" if suspended else "")


def _words(condition: Mapping[str, Any]) -> str:
    words = (condition.get("reason", ""), condition.get("message", ""))
    return ": ".join(word for word in words if word)
