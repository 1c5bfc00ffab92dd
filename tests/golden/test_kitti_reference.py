"""The official KITTI evaluator's figures on real labels and disturbed detections."""

import json
from pathlib import Path

import pytest

from admlops.steps.evaluate import EvaluateConfig, EvaluateInputs, EvaluateOutputs, evaluate

OFFICIAL_NAMES = {"2d": "detection", "bev": "detection_ground", "3d": "detection_3d"}


def test_every_figure_equals_the_official_evaluators(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "kitti_eval_reference"
    expected = json.loads((folder / "expected_ap.json").read_text())["AP"]
    inputs = EvaluateInputs(labels=folder / "label_2", predictions=folder / "detections")
    json_file = tmp_path / "ap.json"

    evaluate(inputs, EvaluateOutputs(json=json_file), EvaluateConfig(chunk_frames=100))

    found = json.loads(json_file.read_text())
    compared = 0
    for category in ("car", "pedestrian", "cyclist"):
        for metric in ("2d", "bev", "3d", "aos"):
            official = expected[f"{category}_{OFFICIAL_NAMES.get(metric, 'orientation')}"]
            for recalls in ("R40", "R11"):
                assert found[category][metric][recalls] == pytest.approx(
                    official[recalls], abs=0.01
                ), (category, metric, recalls)
                compared += 3
    assert compared == 72
