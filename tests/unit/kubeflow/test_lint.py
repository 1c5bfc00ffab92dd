"""Every rule has a test that damages one thing in a clean pipeline and sees exactly that rule."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from admlops.errors import ConfigError
from admlops.kubeflow.compiled import CompiledPipeline
from admlops.kubeflow.lint import lint, refuse
from admlops.kubeflow.lint_rules import LINT_RULES
from admlops.kubeflow.placement import place
from admlops.kubeflow.profile import ClusterProfile


@pytest.fixture
def placed(small_pipeline: CompiledPipeline, gpu_profile: ClusterProfile) -> CompiledPipeline:
    return place(small_pipeline, gpu_profile, "0.1.0")


def container(pipeline: CompiledPipeline, label: str = "exec-train") -> dict[str, Any]:
    return dict(pipeline.spec["deploymentSpec"]["executors"])[label]["container"]


def platform(pipeline: CompiledPipeline) -> dict[str, Any]:
    kubernetes = pipeline.platform["platforms"]["kubernetes"]
    return dict(kubernetes["deploymentSpec"]["executors"])["exec-train"]


def task(pipeline: CompiledPipeline, path: str) -> dict[str, Any]:
    return next(task for name, task, _ in pipeline.tasks() if name == path)


def set_default(pipeline: CompiledPipeline, value: object) -> None:
    parameters = pipeline.spec["root"]["inputDefinitions"]["parameters"]
    parameters["collect_config"]["defaultValue"] = value


Damage = Callable[[CompiledPipeline], Any]
DAMAGES: list[tuple[str, Damage]] = [
    ("GPU001", lambda p: platform(p).pop("nodeSelector")),
    ("GPU002", lambda p: platform(p).pop("tolerations")),
    ("GPU003", lambda p: container(p)["resources"].pop("accelerator")),
    ("GPU003", lambda p: container(p)["resources"]["accelerator"].pop("resourceCount")),
    ("GPU004", lambda p: platform(p)["emptyDirMounts"].pop(0)),
    ("GPU004", lambda p: platform(p)["emptyDirMounts"][0].pop("sizeLimit")),
    ("GPU004", lambda p: platform(p)["emptyDirMounts"][0].pop("medium")),
    ("GPU005", lambda p: platform(p).pop("activeDeadlineSeconds")),
    ("GPU006", lambda p: task(p, "condition-2/train").pop("retryPolicy")),
    ("IMAGE001", lambda p: container(p).update(image="localhost:5000/a/b:latest")),
    ("IMAGE002", lambda p: container(p).update(image="localhost:5000/a/b")),
    ("IMAGE002", lambda p: container(p).pop("image")),
    ("SECRET001", lambda p: set_default(p, {"login": {"password": "hunter2"}})),
    ("SECRET001", lambda p: set_default(p, {"note": "AKIAIOSFODNN7EXAMPLE"})),
    ("SECRET001", lambda p: set_default(p, {"uri": "https://me:pass@host/x"})),
    ("SECRET001", lambda p: set_default(p, json.dumps({"api_key": "x"}))),
    (
        "SECRET001",
        lambda p: container(p)["env"].append({"name": "AWS_SECRET_ACCESS_KEY", "value": "x"}),
    ),
    ("CACHE001", lambda p: task(p, "gate").update(cachingOptions={"enableCache": True})),
    ("PARAM001", lambda p: set_default(p, {"names": ["frame"] * 5000})),
    ("PARAM001", lambda p: set_default(p, {"image": "data:image/png;base64,iVBORw0KGgo="})),
    ("PARAM001", lambda p: set_default(p, {"cloud": "QUJD" * 300})),
    ("PARAM001", lambda p: set_default(p, {"points": [0.5] * 1001})),
    (
        "PARAM001",
        lambda p: task(p, "ingest")["inputs"]["parameters"]["config"]["runtimeValue"].update(
            constant={"ids": "x y " * 9000}
        ),
    ),
]


def test_every_rule_is_damaged_by_a_test() -> None:
    assert {rule_id for rule_id, _ in DAMAGES} == set(LINT_RULES)


def test_a_placed_pipeline_is_clean(placed: CompiledPipeline, gpu_profile: ClusterProfile) -> None:
    assert lint(placed, gpu_profile.gpu_steps()) == []


@pytest.mark.parametrize(("rule_id", "damage"), DAMAGES)
def test_damage_fires_exactly_its_rule(
    rule_id: str, damage: Damage, placed: CompiledPipeline, gpu_profile: ClusterProfile
) -> None:
    damage(placed)
    findings = lint(placed, gpu_profile.gpu_steps())
    assert [finding.rule.rule_id for finding in findings] == [rule_id]


def test_without_a_cluster_no_step_is_a_gpu_step(small_pipeline: CompiledPipeline) -> None:
    assert lint(small_pipeline) == []


def test_a_step_that_asks_for_an_accelerator_is_always_a_gpu_step(
    small_pipeline: CompiledPipeline,
) -> None:
    container(small_pipeline, "exec-count")["resources"] = {
        "accelerator": {"type": "nvidia.com/gpu", "count": "1"}
    }
    fired = {finding.rule.rule_id for finding in lint(small_pipeline)}
    assert fired == {"GPU001", "GPU002", "GPU004", "GPU005", "GPU006"}


@pytest.mark.parametrize(
    "value",
    [
        {"num_tokens": 5, "secret": "", "secret_name": "admlops-s3", "token_file": "/run/token"},
        {"uri": "s3://bucket/lake/kitti@3", "digest": "a" * 64},
        {"range_m": [0.0] * 100, "text": "{not json", "nothing": None, "on": True},
    ],
)
def test_references_and_settings_pass(placed: CompiledPipeline, value: object) -> None:
    set_default(placed, value)
    assert lint(placed) == []


def test_all_findings_are_listed_with_what_to_do(placed: CompiledPipeline) -> None:
    platform(placed).pop("tolerations")
    container(placed).update(image="a:latest")
    with pytest.raises(ConfigError) as raised:
        refuse(lint(placed), "small")
    lines = str(raised.value).splitlines()
    assert lines[0] == "small: 2 lint finding(s)"
    assert "IMAGE001 error exec-train: the image is a:latest. Name a version" in lines[1]
    assert "GPU002 error exec-train: it has no toleration. Give the pool `toler" in lines[2]
    refuse([], "small")


def test_what_is_the_same_in_many_places_is_said_once(placed: CompiledPipeline) -> None:
    for executor in placed.executors():
        executor.container.update(image="a:latest")
    with pytest.raises(ConfigError) as raised:
        refuse(lint(placed), "small")
    first, *others = str(raised.value).splitlines()
    assert first == f"small: {len(list(placed.executors()))} lint finding(s)"
    assert len(others) == 1
    for executor in placed.executors():
        assert executor.label in others[0]
