"""Whole pipelines on what a car recorded: a vendor's labels of drives, and real frames."""

import json
from pathlib import Path

import pytest

from admlops.kubeflow.local import run_locally
from admlops.lake.store import Dataset
from admlops.recipes import load_recipe

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

TINY_TRAINING = {"num_steps": 3, "batch_size": 2, "progress": False}


def test_drives_become_accepted_labels_after_a_rejection(tmp_path: Path) -> None:
    labelled = {"num_scenes": 1, "frames_per_scene": 3}
    drives = {"num_scenes": 1, "frames_per_scene": 8, "night_share": 1.0}
    lidar = {"azimuth_step_deg": 0.5}
    base = {"train": labelled, "val": labelled, "lidar": lidar}
    recorded = {"pool": drives, "lidar": lidar}
    vendor = {"annotator": {"simulated": {"world": recorded}}}
    changes = {
        "collect": {"origin": {"world": base}},
        "collect_drives": {"origin": {"world": recorded}},
        "train": TINY_TRAINING,
        "mine": {"num_frames": 6},
        "annotate": vendor,
        "annotate_again": vendor,
    }
    recipe = load_recipe("iterate", store=str(tmp_path)).override(changes)
    run = run_locally("iterate_dataset", recipe, tmp_path)
    dataset = Dataset.open(f"{tmp_path}/lake")
    split = "SELECT split, count(*) AS n FROM frames WHERE is_keyframe GROUP BY split ORDER BY 1"
    assert dataset.query(split).to_pylist() == [
        {"split": "train", "n": 9},
        {"split": "val", "n": 3},
    ]
    night = "SELECT count(*) AS n FROM boxes WHERE list_contains(tags, 'night')"
    assert dataset.query(night)["n"][0].as_py() > 0
    assert run.report is not None
    page = run.report.read_text()
    assert page.index(">rejected<") < page.index(">accepted<", page.index(">rejected<"))
    assert "1 of 1 recording was good enough" in page


def test_real_frames_go_through_all_stages(real_data: Path, tmp_path: Path) -> None:
    recipe = load_recipe("kitti", store=str(tmp_path), source=str(real_data / "kitti_object"))
    run = run_locally("train_and_publish", recipe.override({"train": TINY_TRAINING}), tmp_path)
    assert "publish" in run.seconds_by_task
    assert run.outputs["Output"].metadata["num_frames"] == 2
    serving = tmp_path / "serving"
    release_id = json.loads((serving / "current.json").read_text())["release_id"]
    record = json.loads((serving / "releases" / release_id / "release.json").read_text())
    assert record["licences"] == ["CC-BY-NC-SA-3.0"]
