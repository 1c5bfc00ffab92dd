import builtins
import io
import time
from pathlib import Path

import pytest
from kfp.local.logging_utils import indented_print
from rich.console import Console

from admlops.errors import DataError
from admlops.kubeflow.compile import load_pipeline, pipeline_arguments
from admlops.kubeflow.local import Relay, count_tasks, find_artifact, make_progress, own_print
from admlops.recipes import load_recipe


def relay() -> tuple[Relay, io.StringIO, io.StringIO]:
    log, screen = io.StringIO(), io.StringIO()
    return Relay(log, make_progress("p", 2, Console(file=screen))), log, screen


def test_what_tells_nothing_is_logged_and_not_shown_beside_the_bar() -> None:
    log, progress = io.StringIO(), make_progress("p", 2, Console(file=io.StringIO()))
    taken = Relay(log, progress)
    taken.write("epoch 3\nCleaned up workspace: /tmp/kfp-workspace-1\n")
    assert "kfp-workspace-1" in log.getvalue()
    assert progress.tasks[0].fields["line"] == "epoch 3"


def test_tasks_advance_the_bar_and_everything_is_logged() -> None:
    taken, log, screen = relay()
    text = (
        "14:00:00 - INFO - Executing task \x1b[96m'train'\x1b[0m\n    epoch 3\n"
        "- INFO - Task \x1b[96m'train'\x1b[0m finished with status \x1b[92mSUCCESS\x1b[0m\n"
    )
    for part in (text[:30], text[30:]):
        taken.write(part)
    assert list(taken.seconds) == ["train"]
    assert log.getvalue() == text
    assert "train" in screen.getvalue()


def test_shards_of_a_task_add_up() -> None:
    taken, _, screen = relay()
    taken.write("Executing task 'read'\nExecuting task 'read'\n")
    time.sleep(0.02)
    ended = "Task 'read' finished with status SUCCESS\n"
    taken.write(ended + ended)
    assert list(taken.seconds) == ["read"]
    assert taken.seconds["read"] >= 0.04
    assert screen.getvalue().count("read") >= 2


def test_every_shard_is_a_task() -> None:
    pipeline = load_pipeline("closed_loop")
    one = load_recipe("demo", store="store")
    three = one.override({"num_shards": {"ingest": 3, "predict": 2}})
    counts = [count_tasks(pipeline, pipeline_arguments(pipeline, item)) for item in (one, three)]
    assert counts[1] - counts[0] == 2 * 1 + 1 * 3  # read once; predict in two rounds and the pool


def test_failure_names_task_and_error() -> None:
    taken, _, _ = relay()
    taken.write("Executing task 'ingest'\n")
    taken.write("    admlops.errors.DataError: no folder /x\n")
    taken.write("Task 'ingest' finished with status FAILURE\n")
    taken.write("Executing task 'analyze'\nTask 'analyze' finished with status SUCCESS\n")
    assert list(taken.seconds) == ["analyze"]
    assert taken.explain() == "task 'ingest' failed: admlops.errors.DataError: no folder /x"


def test_tasks_from_the_cache_are_counted() -> None:
    taken, _, _ = relay()
    taken.write("INFO - Task collect cache hit (key=abc); reusing outputs\n")
    assert (taken.num_cached, taken.seconds) == (1, {})


def test_the_newest_artifact_is_found_and_a_missing_one_lists_the_others(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="run the pipeline first"):
        find_artifact(tmp_path, "train_and_publish", "train", "model")
    for stamp in ("2026-01-02-00-00-00-000001", "2026-01-10-00-00-00-000001"):
        (tmp_path / "runs" / f"train-and-publish-{stamp}" / "gate" / "verdict").mkdir(parents=True)
    earlier = tmp_path / "runs" / "train-and-publish-2026-01-02-00-00-00-000001" / "train" / "model"
    earlier.mkdir(parents=True)
    (tmp_path / "runs" / "train-and-publish-second-2026-01-11" / "gate" / "verdict").mkdir(
        parents=True
    )
    found = find_artifact(tmp_path, "train_and_publish", "gate", "verdict")
    assert found.parts[-3] == "train-and-publish-2026-01-10-00-00-00-000001"
    assert find_artifact(tmp_path, "train_and_publish", "train", "model") == earlier
    with pytest.raises(DataError, match="left evaluate/evaluation; the last one left gate/verdict"):
        find_artifact(tmp_path, "train_and_publish", "evaluate", "evaluation")


def test_print_is_as_before_after_tasks_in_threads() -> None:
    before = builtins.print
    with own_print():
        first, second = indented_print(), indented_print()
        for step in (first.__enter__, second.__enter__):
            step()
        for indenting in (first, second):  # in the order of threads, not of a stack
            indenting.__exit__(None, None, None)
        assert builtins.print is not before
    assert builtins.print is before
