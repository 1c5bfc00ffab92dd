"""What KFP's local runner adds to a step: the same step called directly and as a pipeline's task.

Run: python -m bench.local_runner
"""

import contextlib
import io
import tempfile
import time
from pathlib import Path

from kfp import dsl, local
from rich.console import Console
from rich.table import Table

from admlops.steps.step import run_step
from admlops_components.collect import collect

ROUNDS = 5


@dsl.pipeline(name="one-task")
def one_task(config: dict):
    collect(config=config)


@dsl.pipeline(name="two-tasks")
def two_tasks(config: dict):
    collect(config=config)
    collect(config=config)


def seconds(call, rounds: int = ROUNDS) -> float:
    """Return the shortest of several runs."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            call()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "raw").mkdir()
        config = {"origin": {"kind": "folder", "path": f"{folder}/raw"}}
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=f"{folder}/runs")
        direct = seconds(lambda: run_step("collect", {}, {"source": f"{folder}/source"}, config))
        one = seconds(lambda: one_task(config=config))
        two = seconds(lambda: two_tasks(config=config))
    table = Table(title="KFP local runner, step `collect` on an empty folder")
    for name in ("", "seconds"):
        table.add_column(name)
    table.add_row("called directly, imports done", f"{direct:.3f}")
    table.add_row("pipeline of one task", f"{one:.3f}")
    table.add_row("added by each further task", f"{two - one:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
