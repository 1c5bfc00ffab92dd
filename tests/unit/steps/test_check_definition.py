"""The step `check` holds labels against a definition where one is named."""

import json
from pathlib import Path

import numpy as np
import pytest

from admlops.errors import ConfigError
from admlops.lake.store import Dataset
from admlops.steps.check import CheckConfig, CheckInputs, CheckOutputs, check
from admlops.structures.boxes import Boxes
from admlops.structures.frame import CalibratedSensor, Frame, FrameKey, LidarSweep


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    grid = np.stack(np.meshgrid(np.arange(8.0, 12.0, 0.2), np.arange(-0.8, 0.8, 0.2)), -1)
    cloud = np.full((grid.size // 2, 4), 0.5, np.float32)
    cloud[:, :2] = grid.reshape(-1, 2)
    lidar = LidarSweep(CalibratedSensor("lidar_top", "lidar", np.eye(4)), cloud)
    boxes = Boxes.make(
        [[10.0, 0.0, 0.75]], [[4.0, 1.8, 1.5]], [0.0], ["lorry"], num_points=[len(cloud)]
    )
    frame = Frame(FrameKey("log", "scene", 0), "0", np.eye(4), lidar=lidar, boxes=boxes)
    lake = Dataset.create(str(tmp_path / "lake"))
    lake.append([frame])
    lake.manifest().write(tmp_path / "dataset.json")
    return tmp_path / "dataset.json"


def fired(dataset: Path, **config: str) -> set[str]:
    findings = dataset.parent / "findings"
    values = {"fail_on": "never", **config}
    check(CheckInputs(dataset), CheckOutputs(findings), CheckConfig.parse(values))
    return set(json.loads((findings / "findings.json").read_text())["rules"])


def test_findings_of_the_definition_stand_beside_the_others(dataset: Path) -> None:
    without = fired(dataset)
    assert not any(rule_id.startswith("ANNO") for rule_id in without)
    assert fired(dataset, definition="urban_lidar") == without | {"ANNO001", "ANNO010"}


def test_an_unknown_definition_is_refused(dataset: Path) -> None:
    with pytest.raises(ConfigError, match="no definition file here"):
        fired(dataset, definition="rural_lidar")
