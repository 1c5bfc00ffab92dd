"""The profile of a cluster: what a platform engineer says once, and every pipeline then uses."""

from typing import Annotated, Literal, Self

from kubernetes.utils.quantity import parse_quantity
from pydantic import Field, StringConstraints, model_validator

from admlops.config import Config
from admlops.steps.step import STEPS, Stage

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
Quantity = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$")]
Cpu = Annotated[str, StringConstraints(pattern=r"^([0-9]+(\.[0-9]+)?|[0-9]+m)$")]
MountPath = Annotated[str, StringConstraints(pattern=r"^/[^:]*$")]
Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
ImageName = Annotated[str, StringConstraints(pattern=r"^[^\s@]+(@sha256:[0-9a-f]{64})?$")]
EnvironmentName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]

_POOL_BY_STAGE: dict[Stage, str] = {"data": "cpu", "train": "gpu", "export": "cpu"}
_ON_SERVING = ("build", "verify", "publish")
_GPU_POOLS = ("gpu", "serving")


class Toleration(Config):
    """A taint that a pool's pods accept."""

    key: str
    """Key of the taint."""
    operator: Literal["Equal", "Exists"] = "Exists"
    """Equal compares the value, Exists only the key."""
    value: str = ""
    """Value of the taint; only with the operator Equal."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute", ""] = "NoSchedule"
    """Effect of the taint; empty for every effect."""


class Accelerator(Config):
    """What a pod asks of the device plugin."""

    resource: str = "nvidia.com/gpu"
    """Name of the extended resource."""
    count: int = Field(default=1, ge=1, le=64)
    """How many per pod."""


class Pool(Config):
    """Nodes of one kind, and what a step's pod gets on them."""

    node_selector: dict[str, str] = Field(default_factory=dict)
    """Labels that the node must have."""
    tolerations: tuple[Toleration, ...] = ()
    """Taints that the pod accepts."""
    accelerator: Accelerator | None = None
    """Accelerators per pod; none on CPU nodes."""
    cpu_request: Cpu = "1"
    """CPU cores asked for."""
    cpu_limit: Cpu | None = None
    """CPU cores at most; as many as asked for where absent, so that no LimitRange adds less."""
    memory_request: Quantity = "2Gi"
    """Memory asked for."""
    memory_limit: Quantity | None = None
    """Memory at most; as much as asked for where absent. /dev/shm counts towards it."""
    shm_size: Quantity | None = None
    """Size of /dev/shm, held in memory; data loaders with workers need it."""
    timeout_s: int | None = Field(default=None, ge=1)
    """Seconds after which the pod is ended."""
    max_retries: int = Field(default=0, ge=0, le=20)
    """How often a failed task is tried again."""
    backoff_s: int = Field(default=30, ge=0)
    """Seconds before the first retry."""
    backoff_factor: float = Field(default=2.0, ge=1.0)
    """Each wait is this many times the one before."""
    max_backoff_s: int = Field(default=900, ge=0)
    """The longest wait, s."""

    @model_validator(mode="after")
    def _requests_are_within_limits(self) -> Self:
        for what in ("cpu", "memory"):
            request, limit = getattr(self, f"{what}_request"), getattr(self, f"{what}_limit")
            if limit and parse_quantity(request) > parse_quantity(limit):
                raise ValueError(f"{what}_request {request} is more than {what}_limit {limit}")
        return self


class SecretEnvironment(Config):
    """Keys of a Secret as environment variables; the values never enter a pipeline."""

    secret: Name
    """Name of the Secret."""
    keys: dict[EnvironmentName, str]
    """Environment variable -> key in the Secret."""
    steps: tuple[str, ...] = ()
    """Steps that get it; all where empty."""


class VolumeClaim(Config):
    """A persistent volume claim that exists, mounted into every step."""

    claim: Name
    """Name of the claim."""
    mount_path: MountPath
    """Folder in the container."""
    sub_path: str = ""
    """Folder in the volume."""


class Scratch(Config):
    """A volume per task that is made with its pod and deleted with it."""

    storage_class: Name | None = None
    """Storage class of a claim per pod, which must let user 65532 write (KFP sets no fsGroup);
    where absent, a folder on the node's disk."""
    size: Quantity = "20Gi"
    """Size of the volume."""
    mount_path: MountPath = "/scratch"
    """Folder in the container; TMPDIR points there."""


class ObjectStore(Config):
    """The S3 service that holds lake, releases and artifacts; credentials come from a Secret."""

    endpoint: Annotated[str, StringConstraints(pattern=r"^https?://[^@\s]+$")] | None = None
    """Address, without credentials; the cloud's own where absent."""
    region: str = "us-east-1"
    """Region of the buckets."""


class TrainJobs(Config):
    """Training in pods of its own, through Kubeflow Trainer."""

    num_nodes: int = Field(default=1, ge=1, le=1024)
    """Pods per job, each with the resources of the step's pool."""
    processes_per_node: int | None = Field(default=None, ge=1, le=64)
    """Processes per pod; one for each accelerator of the pool where absent."""
    exchange: str | None = None
    """Folder through which models come back: s3://bucket/folder, or one of a mounted volume;
    `train_jobs` in the store where absent."""
    poll_s: float = Field(default=5.0, gt=0)
    """Seconds between two looks at a job."""


class ClusterProfile(Config):
    """Everything about a cluster that a pipeline must know, and that no pipeline should hold."""

    name: Name
    """Name of the profile, for messages and folders."""
    namespace: Name
    """Namespace that runs belong to."""
    service_account: Name
    """ServiceAccount of the steps' pods."""
    registry: str = Field(pattern=r"^[^\s@]+[^\s@/]$")
    """Registry and folder of the images, for example "registry.example.com/admlops"."""
    tag: Annotated[str, StringConstraints(pattern=r"^\w[\w.-]{0,127}$")] | None = None
    """Tag of the images; the installed version where absent. Never "latest"."""
    digests: dict[Stage, Digest] = Field(default_factory=dict)
    """Digest of a stage's image; takes the place of the tag."""
    images: dict[Stage, ImageName] = Field(default_factory=dict)
    """Image of a stage in full, for example the one with mmdet3d for "train"; nothing is added."""
    image_pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    """When the node pulls an image."""
    image_pull_secrets: tuple[Name, ...] = ()
    """Secrets with the registry's credentials, by name."""
    cpu_only: bool = False
    """There is no GPU: steps that would use one run on the CPU."""
    pools: dict[str, Pool]
    """Pools "cpu", "gpu" and "serving", and more that `pool_by_step` may name."""
    pool_by_step: dict[str, str] = Field(default_factory=dict)
    """Pool of a step, where it is not the usual one."""
    store: str = "/mnt/admlops"
    """Where lake and releases live: s3://bucket/folder, or a folder of a mounted volume."""
    pipeline_root: str | None = None
    """Where KFP keeps artifacts (s3://...); the server's default where absent."""
    object_store: ObjectStore | None = None
    """The S3 service."""
    secrets: tuple[SecretEnvironment, ...] = ()
    """Secrets as environment variables."""
    volume_claims: tuple[VolumeClaim, ...] = ()
    """Volumes for every step."""
    scratch: Scratch | None = None
    """Room for temporary files; the node's own disk where absent."""
    environment: dict[EnvironmentName, str] = Field(default_factory=dict)
    """More environment variables for every step; no secrets."""
    train_jobs: TrainJobs | None = None
    """How `train` runs as a TrainJob; in the task's own pod where absent."""

    @model_validator(mode="after")
    def _names_must_exist(self) -> Self:
        missing = {"cpu", *_GPU_POOLS} - self.pools.keys()
        if missing:
            raise ValueError(f"pools: {', '.join(sorted(missing))} missing")
        for word, pool in self.pool_by_step.items():
            if word not in STEPS:
                raise ValueError(f"pool_by_step: no step {word!r}; steps are {', '.join(STEPS)}")
            if pool not in self.pools:
                raise ValueError(f"pool_by_step: no pool {pool!r}; there are {list(self.pools)}")
        for word in (word for secret in self.secrets for word in secret.steps):
            if word not in STEPS:
                raise ValueError(f"secrets: no step {word!r}; steps are {', '.join(STEPS)}")
        return self

    def pool_of(self, word: str) -> str:
        """Return the pool of a step: its stage's, but building and proving run where serving does.

        An engine is bound to its GPU, so `build`, `verify` and `publish` use the serving pool.
        """
        usual = "serving" if word in _ON_SERVING else _POOL_BY_STAGE[STEPS[word].stage]
        return self.pool_by_step.get(word, usual)

    def gpu_steps(self) -> frozenset[str]:
        """Return the steps that must be given a GPU; none on a cluster without."""
        if self.cpu_only:
            return frozenset()
        return frozenset(word for word in STEPS if self._wants_gpu(self.pool_of(word)))

    def _wants_gpu(self, pool: str) -> bool:
        return pool in _GPU_POOLS or self.pools[pool].accelerator is not None

    def image(self, stage: Stage, version: str) -> str:
        """Return the image of a stage: the one that is named, else by digest, else by tag."""
        if stage in self.images:
            return self.images[stage]
        name = f"{self.registry}/admlops-{stage}-python"
        if stage in self.digests:
            return f"{name}@{self.digests[stage]}"
        return f"{name}:{self.tag or version}"
