"""Whole pipelines under KFP's local runner, with a real Triton server at their end."""

import json
from pathlib import Path

import pytest

from admlops.kubeflow.local import LocalRun, run_locally
from admlops.lake.store import Dataset
from admlops.recipes import Recipe, load_recipe

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

TINY_TRAINING = {"num_steps": 3, "batch_size": 2, "progress": False}
ANY_SCORE = {"min_scores": {"car_bev_ap50": 0.0}}


def tiny_world(store: Path) -> Recipe:
    group = {"num_scenes": 2, "frames_per_scene": 3}
    world = {
        "train": group,
        "val": group,
        "pool": group,
        "images": False,
        "lidar": {"azimuth_step_deg": 0.5},
    }
    changes = {
        "collect": {"origin": {"world": world}},
        "annotate": {"annotator": {"world": world}},
        "train": TINY_TRAINING,
        "mine": {"num_frames": 2},
        "gate": ANY_SCORE,
    }
    return load_recipe("demo", store=str(store)).override(changes)


def current(home: Path) -> str:
    return str(json.loads((home / "serving" / "current.json").read_text())["release_id"])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def first_run(home: Path) -> LocalRun:
    return run_locally("train_and_publish", tiny_world(home), home)


def test_every_stage_runs_and_a_release_is_published(first_run: LocalRun, home: Path) -> None:
    assert {"collect", "ingest", "check", "analyze", "train", "predict", "evaluate"} < set(
        first_run.seconds_by_task
    )
    assert {"export", "build", "verify", "gate", "publish", "report"} < set(
        first_run.seconds_by_task
    )
    assert current(home).startswith("0001-")
    figures = first_run.outputs["Output"].metadata
    assert figures["gate_passed"] == 1
    assert figures["golden_max_abs_diff"] <= 1e-3
    assert first_run.report == home / "train_and_publish.html"
    assert "Release 0001" in first_run.report.read_text()


def test_a_repeated_run_takes_everything_from_the_cache(first_run: LocalRun, home: Path) -> None:
    before = current(home)
    again = run_locally("train_and_publish", tiny_world(home), home)
    assert set(again.seconds_by_task) == {"gate", "publish", "report"}
    assert current(home) == before
    assert len(list((home / "serving" / "releases").iterdir())) == 1
    assert again.outputs["Output"].metadata == first_run.outputs["Output"].metadata


def test_a_changed_setting_runs_what_depends_on_it(first_run: LocalRun, home: Path) -> None:
    changed = tiny_world(home).override({"evaluate": {"failure_score": 0.4}})
    again = run_locally("train_and_publish", changed, home)
    assert set(again.seconds_by_task) == {"evaluate", "gate", "publish", "report"}
    assert first_run.report is not None


def test_the_loop_labels_what_was_mined_and_keeps_what_the_gate_keeps(tmp_path: Path) -> None:
    impossible = {"gate": {"min_scores": {"car_bev_ap50": 1.01}}}
    run = run_locally("closed_loop", tiny_world(tmp_path).override(impossible), tmp_path)
    assert {"mine", "annotate", "train-2", "gate-2", "report"} < set(run.seconds_by_task)
    assert not {"publish", "publish-2"} & set(run.seconds_by_task)
    assert not (tmp_path / "serving" / "current.json").exists()
    dataset = Dataset.open(f"{tmp_path}/lake")
    counts = dict(
        dataset.query("SELECT split, count(*) AS n FROM frames GROUP BY split").to_pydict().items()
    )
    assert dict(zip(counts["split"], counts["n"], strict=True)) == {"train": 8, "val": 6, "pool": 4}
    assert run.report is not None
    assert "nothing was published" in run.report.read_text()


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
    assert "1 of 1 recordings are good enough" in page


def test_real_frames_go_through_all_stages(real_data: Path, tmp_path: Path) -> None:
    recipe = load_recipe("kitti", store=str(tmp_path), source=str(real_data / "kitti_object"))
    run = run_locally("train_and_publish", recipe.override({"train": TINY_TRAINING}), tmp_path)
    assert "publish" in run.seconds_by_task
    assert run.outputs["Output"].metadata["num_frames"] == 2
    release = tmp_path / "serving" / "releases" / current(tmp_path)
    record = json.loads((release / "release.json").read_text())
    assert record["licences"] == ["CC-BY-NC-SA-3.0"]
