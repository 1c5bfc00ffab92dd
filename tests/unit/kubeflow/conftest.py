"""A small real pipeline that the tests of placement, lint and submission share."""

from pathlib import Path

import pytest
from kfp import compiler, dsl

from admlops.kubeflow.compiled import CompiledPipeline
from admlops.kubeflow.profile import ClusterProfile
from admlops_components.collect import collect
from admlops_components.gate import gate
from admlops_components.ingest import ingest
from admlops_components.predict import predict
from admlops_components.read import read
from admlops_components.train import train

PROFILES = Path(__file__).resolve().parents[3] / "manifests" / "profiles"


@dsl.component(base_image="registry.example.com/other-python:1")
def count(number: int) -> int:
    """Count; a component that is no step."""
    return number + 1


@dsl.pipeline(name="small")
def small(collect_config: dict, gate_config: dict, shards: list, ready: bool = True):
    source = collect(config=collect_config).outputs["source"]
    with dsl.ParallelFor(items=shards) as shard:
        part = read(config={}, shard=shard, source=source).outputs["part"]
    data = ingest(config={"dataset_uri": "/x"}, source=source, parts=dsl.Collected(part))
    counted = count(number=1)
    with dsl.If(ready == True):  # noqa: E712 - KFP overloads the operator
        trained = train(config={}, dataset=data.outputs["dataset"])
        trained.after(counted)
        with dsl.ParallelFor(items=shards) as shard:
            model, dataset = trained.outputs["model"], data.outputs["dataset"]
            predict(config={}, shard=shard, dataset=dataset, model=model)
    decided = gate(config=gate_config, evaluation=data.outputs["findings"])
    decided.set_caching_options(False)


@pytest.fixture(scope="session")
def small_text(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("small") / "small.yaml"
    parameters = {"collect_config": {"seed": 1}, "gate_config": {}, "shards": ["1/1"]}
    compiler.Compiler().compile(small, str(path), pipeline_parameters=parameters)
    return path.read_text()


@pytest.fixture
def small_pipeline(small_text: str) -> CompiledPipeline:
    return CompiledPipeline.parse(small_text)


@pytest.fixture
def gpu_profile() -> ClusterProfile:
    return ClusterProfile.load(PROFILES / "gpu.yaml")
