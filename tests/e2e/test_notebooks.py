"""The notebooks that run no pipeline show what they promise; test_pipelines.py has the others."""

from pathlib import Path

import pytest
from notebook_runs import execute, shown

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def test_a_dataset_is_explored(tmp_path: Path) -> None:
    words = shown(execute("01_explore_dataset", home=f"Path({str(tmp_path)!r})"))
    assert words.count("<img src=") > 10
    assert "<td" in words
    assert "num_added=36" in words
    assert "nothing to draw" not in words


def test_submission_is_skipped_without_a_cluster(tmp_path: Path) -> None:
    home = f"Path({str(tmp_path)!r})"
    words = shown(execute("03_submit_to_cluster", home=home, endpoint="''"))
    assert "findings of the pipeline above: []" in words
    assert "IMAGE001" in words
    assert "GPU001" in words
    assert "condition-1/publish" in words
    assert "skipped: no cluster; set KF_PIPELINES_ENDPOINT" in words


def test_an_unreachable_cluster_is_told_and_stops_nothing(tmp_path: Path) -> None:
    home = f"Path({str(tmp_path)!r})"
    address = "'http://127.0.0.1:9'"  # discard: nothing listens there
    words = shown(execute("03_submit_to_cluster", home=home, endpoint=address))
    assert "not submitted: KFP at http://127.0.0.1:9" in words
