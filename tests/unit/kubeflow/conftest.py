"""A small real pipeline that the tests of placement, lint and submission share."""

from pathlib import Path

import pytest
from kfp import compiler, dsl

from admlops.kubeflow.compiled import CompiledPipeline
from admlops.kubeflow.profile import ClusterProfile
from admlops_components.collect import collect
from admlops_components.gate import gate
from admlops_components.ingest import ingest
from admlops_components.train import train

PROFILES = Path(__file__).resolve().parents[3] / "manifests" / "profiles"


@dsl.component(base_image="registry.example.com/other-python:1")
def count(number: int) -> int:
    """Count; a component that is no step."""
    return number + 1


@dsl.pipeline(name="small")
def small(collect_config: dict, gate_config: dict, ready: bool = True):
    collected = collect(config=collect_config)
    data = ingest(config={"dataset_uri": "/x"}, source=collected.outputs["source"])
    counted = count(number=1)
    with dsl.If(ready == True):  # noqa: E712 - KFP overloads the operator
        trained = train(config={}, dataset=data.outputs["dataset"])
        trained.after(counted)
    decided = gate(config=gate_config, evaluation=data.outputs["findings"])
    decided.set_caching_options(False)


@pytest.fixture(scope="session")
def small_text(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("small") / "small.yaml"
    compiler.Compiler().compile(
        small, str(path), pipeline_parameters={"collect_config": {"seed": 1}, "gate_config": {}}
    )
    return path.read_text()


@pytest.fixture
def small_pipeline(small_text: str) -> CompiledPipeline:
    return CompiledPipeline.parse(small_text)


@pytest.fixture
def gpu_profile() -> ClusterProfile:
    return ClusterProfile.load(PROFILES / "gpu.yaml")
