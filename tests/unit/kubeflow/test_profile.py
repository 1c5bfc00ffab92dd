from pathlib import Path

import pytest

from admlops.errors import ConfigError
from admlops.kubeflow.profile import ClusterProfile

PROFILES = sorted((Path(__file__).resolve().parents[3] / "manifests" / "profiles").glob("*.yaml"))


def values(**changes: object) -> dict[str, object]:
    pools: dict[str, object] = {"cpu": {}, "gpu": {}, "serving": {}}
    return {
        "name": "p",
        "namespace": "n",
        "service_account": "s",
        "registry": "r.example.com/x",
        "pools": pools,
    } | changes


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_examples_are_valid_and_called_like_their_file(path: Path) -> None:
    assert ClusterProfile.load(path).name == path.stem


def test_examples_cover_a_laptop_a_generic_cluster_and_two_clouds() -> None:
    assert {path.stem for path in PROFILES} == {"kind", "gpu", "gke", "eks"}


def test_pools_follow_stage_and_table() -> None:
    profile = ClusterProfile.parse(values(pool_by_step={"predict": "serving"}))
    words = ("ingest", "train", "export", "build", "predict")
    assert [profile.pool_of(word) for word in words] == ["cpu", "gpu", "cpu", "serving", "serving"]


def test_gpu_steps_are_those_on_gpu_pools() -> None:
    steps = ClusterProfile.parse(values()).gpu_steps()
    assert steps == {"train", "predict", "build", "verify", "publish"}
    assert ClusterProfile.parse(values(cpu_only=True)).gpu_steps() == set()
    pools = {"cpu": {"accelerator": {}}, "gpu": {}, "serving": {}}
    assert "ingest" in ClusterProfile.parse(values(pools=pools)).gpu_steps()


def test_image_is_by_name_then_digest_then_tag_then_version() -> None:
    digest = "sha256:" + "a" * 64
    profile = ClusterProfile.parse(values(tag="7", digests={"train": digest}))
    assert profile.image("train", "0.1") == f"r.example.com/x/admlops-train-python@{digest}"
    assert profile.image("data", "0.1") == "r.example.com/x/admlops-data-python:7"
    named = profile.replace(images={"train": "r.example.com/y/admlops-train-mmdet3d-python:7"})
    assert named.image("train", "0.1") == "r.example.com/y/admlops-train-mmdet3d-python:7"
    assert named.image("data", "0.1") == "r.example.com/x/admlops-data-python:7"
    untagged = ClusterProfile.parse(values())
    assert untagged.image("data", "0.1") == "r.example.com/x/admlops-data-python:0.1"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pools": {"cpu": {}}}, "gpu, serving missing"),
        ({"pool_by_step": {"fly": "cpu"}}, "no step 'fly'"),
        ({"pool_by_step": {"train": "moon"}}, "no pool 'moon'"),
        ({"secrets": [{"secret": "s", "keys": {}, "steps": ["fly"]}]}, "no step 'fly'"),
        ({"digests": {"train": "sha256:1"}}, "digests.train"),
        ({"registry": "r.example.com/x/"}, "registry"),
        ({"object_store": {"endpoint": "https://key:value@s3.example.com"}}, "endpoint"),
        ({"pools": {"cpu": {"memory_request": "2 GB"}}}, "memory_request"),
        (
            {"pools": {"cpu": {"memory_request": "2Gi", "memory_limit": "2000Mi"}}},
            "pools.cpu: memory_request 2Gi is more than memory_limit 2000Mi",
        ),
        (
            {"pools": {"cpu": {"cpu_request": "2", "cpu_limit": "1500m"}}},
            "pools.cpu: cpu_request 2 is more than cpu_limit 1500m",
        ),
        ({"tag": ""}, "tag"),
        ({"volume_claims": {"raw": "/data"}}, "volume_claims: Input should be a list"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_wrong_profiles_are_refused_by_field(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ClusterProfile.parse(values(**changes))
