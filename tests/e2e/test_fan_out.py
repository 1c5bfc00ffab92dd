"""A pipeline whose work is cut into shards leaves what one task for each step would leave."""

import sys
from pathlib import Path

import pytest
import torch
from kfp import dsl, local
from kfp.dsl import Artifact, Model

from admlops.detection.config import (
    DETECTOR_FILE,
    WEIGHTS_FILE,
    detector_config_json,
)
from admlops.detection.presets import small_detector
from admlops.kubeflow.local import find_artifact, own_print
from admlops.lake.store import Dataset
from admlops.models.detector import build_detector
from admlops.simulation.config import LidarConfig, SceneGroup, WorldConfig
from admlops.steps.collect import CollectConfig, SimulationOrigin
from admlops.steps.ingest import IngestConfig, IngestInputs, IngestOutputs, ingest
from admlops.steps.predict import PredictConfig, PredictInputs, PredictOutputs, predict
from admlops.steps.shards import list_shards
from admlops.structures.manifest import Manifest
from admlops_components.collect import collect
from admlops_pipelines.fan_out import ingest_in_shards, predict_in_shards

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

GROUP = SceneGroup(num_scenes=1, frames_per_scene=3)
WORLD = WorldConfig(
    train=GROUP,
    val=GROUP,
    pool=SceneGroup(num_scenes=0),
    images=False,
    lidar=LidarConfig(num_beams=16, azimuth_step_deg=0.5),
)
NUM_FRAMES = 6


@dsl.pipeline(name="fan-out")
def fan_out(
    collect_config: dict,
    ingest_config: dict,
    ingest_shards: list,
    predict_config: dict,
    predict_shards: list,
    model_uri: str,
) -> Artifact:
    source = collect(config=collect_config).outputs["source"]
    dataset = ingest_in_shards(ingest_config, ingest_shards, source).outputs["dataset"]
    model = dsl.importer(artifact_uri=model_uri, artifact_class=Model).output
    return predict_in_shards(predict_config, predict_shards, dataset, model)


def write_model(folder: Path) -> Path:
    """Write a detector whose random weights find boxes."""
    torch.manual_seed(3)
    detector = build_detector(small_detector())
    folder.mkdir()
    (folder / DETECTOR_FILE).write_text(detector_config_json(detector.config))
    torch.save(detector.state_dict(), folder / WEIGHTS_FILE)
    Manifest(kind="model", uri=str(folder), digest="0" * 64).write(folder / "manifest.json")
    return folder


def test_shards_leave_what_one_task_leaves(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    local.init(
        runner=local.SubprocessRunner(use_venv=False),
        pipeline_root=str(tmp_path / "runs"),
        enable_caching=False,
    )
    origin = SimulationOrigin(world=WORLD, destination=tmp_path / "world")
    chosen = PredictConfig(split="", score_threshold=0.05)
    with own_print():
        fan_out(
            collect_config=CollectConfig(origin=origin).model_dump(mode="json", exclude_none=True),
            ingest_config=IngestConfig(lake_uri=str(tmp_path / "lake")).model_dump(
                mode="json", exclude_none=True
            ),
            ingest_shards=list_shards(3),
            predict_config=chosen.model_dump(mode="json", exclude={"shard"}),
            predict_shards=list_shards(2),
            model_uri=str(write_model(tmp_path / "model")),
        )
    (run,) = (tmp_path / "runs").iterdir()
    assert len(list(run.glob("*/read/part/part.json"))) == 3
    assert len(list(run.glob("*/predict/predictions/predictions.parquet"))) == 2

    whole = tmp_path / "whole"
    source = find_artifact(tmp_path, "fan_out", "collect", "source")
    config = IngestConfig(lake_uri=str(whole / "lake"))
    ingest(IngestInputs(source), IngestOutputs(whole / "d.json", whole / "findings"), config)
    lakes = [Dataset.open(str(folder / "lake")) for folder in (tmp_path, whole)]
    assert lakes[0].num_frames == NUM_FRAMES
    assert lakes[0].keys() == lakes[1].keys()
    assert lakes[0].digest == lakes[1].digest
    found = find_artifact(tmp_path, "fan_out", "ingest", "findings") / "findings.json"
    assert found.read_text() == (whole / "findings" / "findings.json").read_text()

    dataset = find_artifact(tmp_path, "fan_out", "ingest", "dataset")
    outputs = PredictOutputs(whole / "predictions")
    scores = predict(PredictInputs(dataset, tmp_path / "model"), outputs, chosen)
    assert scores["predict_frames"] == NUM_FRAMES
    joined = find_artifact(tmp_path, "fan_out", "join", "joined") / "predictions.parquet"
    alone = whole / "predictions" / "predictions.parquet"
    assert joined.read_bytes() == alone.read_bytes()
