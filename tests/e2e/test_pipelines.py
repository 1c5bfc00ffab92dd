"""Pipelines under KFP's local runner, a real Triton server at their end, and notebooks about them.

All in one home, with the recipe of the notebook: what one run made, the next takes from the cache.
"""

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from notebook_runs import execute, read_notebook, shown, without_tags

from admlops.kubeflow.local import LocalRun, run_locally
from admlops.lake.store import Dataset
from admlops.recipes import Recipe

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

NUM_STEPS = 4


def notebook_recipe(home: Path) -> Recipe:
    """Return what the notebook's own cell makes of the same parameters."""
    cells = read_notebook("02_run_locally").cells
    (source,) = [cell.source for cell in cells if "\nrecipe = " in cell.source]
    names: dict[str, Any] = {"home": home, "num_steps": NUM_STEPS}
    exec(source, names)  # noqa: S102 - ours
    recipe: Recipe = names["recipe"]
    return recipe


def current(home: Path) -> str:
    return str(json.loads((home / "serving" / "current.json").read_text())["release_id"])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def first_run(home: Path) -> LocalRun:
    return run_locally("train_and_publish", notebook_recipe(home), home)


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


def test_a_repeated_run_in_a_notebook_takes_everything_from_the_cache(
    first_run: LocalRun, home: Path
) -> None:
    before = current(home)
    again = execute("02_run_locally", home=f"Path({str(home)!r})", num_steps=str(NUM_STEPS))
    page = shown(again)
    assert "stepz" in page
    assert "<iframe" in page
    words = without_tags(page)
    log = Path(re.findall(r"log: (\S+)", words)[0]).read_text()
    assert re.findall(r"Executing task \S*?'([^']+)'", log) == ["gate", "publish", "report"]
    assert current(home) == before
    assert len(list((home / "serving" / "releases").iterdir())) == 1
    figures = {name: f"{value:.4g}" for name, value in first_run.outputs["Output"].metadata.items()}
    assert figures["gate_passed"] == "1"
    assert dict(re.findall(r"│ (\w+) +│ +(\S+) │", words)) == figures


def test_results_of_the_run_are_inspected_in_a_notebook(first_run: LocalRun, home: Path) -> None:
    assert first_run.report is not None
    words = shown(execute("04_inspect_results", home=f"Path({str(home)!r})"))
    assert words.count("<img src=") == 5
    assert "changed since it was published: nothing" in words
    assert "models/network/config.pbtxt" in words
    assert "nothing to draw" not in words


def test_a_changed_setting_runs_what_depends_on_it_and_leaves_no_temporary_files(
    first_run: LocalRun, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    changed = notebook_recipe(home).override({"evaluate": {"failure_score": 0.4}})
    again = run_locally("train_and_publish", changed, home)
    assert set(again.seconds_by_task) == {"evaluate", "gate", "publish", "report"}
    assert first_run.report is not None
    assert list(tmp_path.iterdir()) == []


def test_the_loop_labels_what_was_mined_and_keeps_what_the_gate_keeps(
    first_run: LocalRun, home: Path, tmp_path: Path
) -> None:
    recipe = notebook_recipe(home)
    changes = {
        "annotate": {"annotator": {"world": recipe.config("collect")["origin"]["world"]}},
        "mine": {"num_frames": 2},
        "gate": {"min_scores": {"car_bev_ap50": 1.01}},  # impossible
        "publish": {"releases_uri": str(tmp_path)},
        "report": {"releases_uri": str(tmp_path)},
    }
    run = run_locally("closed_loop", recipe.override(changes), home)
    assert {"mine", "annotate", "train-2", "gate-2", "report"} < set(run.seconds_by_task)
    assert not {"collect", "train", "evaluate", "verify"} & set(run.seconds_by_task)
    assert {"train", "verify"} < set(first_run.seconds_by_task)
    assert not {"publish", "publish-2"} & set(run.seconds_by_task)
    assert not (tmp_path / "current.json").exists()
    dataset = Dataset.open(f"{home}/lake")
    splits = "SELECT split, count(*) AS n FROM frames GROUP BY split ORDER BY n DESC"
    assert dataset.query(splits).to_pylist() == [
        {"split": "train", "n": 10},
        {"split": "val", "n": 8},
        {"split": "pool", "n": 6},
    ]
    assert run.report is not None
    assert "nothing was published" in run.report.read_text()
