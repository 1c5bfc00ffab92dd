"""Runs of whole pipelines on this machine, through KFP's own local runner."""

import builtins
import io
import logging
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from kfp import local
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from admlops.errors import DataError, ServiceError
from admlops.files import write_atomically
from admlops.kubeflow.compile import load_pipeline, pipeline_arguments
from admlops.recipes import Recipe

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_STARTED = re.compile(r"Executing task '([^']+)'")
_ENDED = re.compile(r"Task '([^']+)' finished with status (\w+)")
_CHANNEL = "pipelinechannel--"
EARLIER = "baseline_"
"""Begins the names of a report's figures that are of the first of two rounds."""
_CACHED = re.compile(r"Task \S+ cache hit")
_NOISE = re.compile(r"^\s*(\{|\}|\"|\]|\[KFP Executor|Cleaned up workspace|$)")


@dataclass(frozen=True, slots=True)
class LocalRun:
    """What a run on this machine left behind.

    Attributes:
        outputs: artifacts and parameters that the pipeline returns, by name.
        seconds_by_task: wall time of each task that ran (not of those taken from the cache), s;
            shards of one task add up.
        log: the file with everything that the tasks printed.
        report: the page about the run, where the pipeline makes one.
    """

    outputs: dict[str, Any]
    seconds_by_task: dict[str, float]
    log: Path
    report: Path | None


def run_locally(name: str, recipe: Recipe, home: Path, *, cache: bool = True) -> LocalRun:
    """Run a pipeline with KFP's SubprocessRunner and show its progress.

    Args:
        name: the pipeline.
        recipe: its configs.
        home: folder for run artifacts, cache and logs; kept.
        cache: whether outputs of unchanged tasks are reused.

    Raises:
        ServiceError: a task failed; names the task, its error line and the log.
    """
    pipeline = load_pipeline(name)
    log_path = home / "logs" / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    arguments = pipeline_arguments(pipeline, recipe)
    num_tasks = count_tasks(pipeline, arguments)
    # lines, also in a notebook: Rich's own display there warns and repeats itself
    console = Console(file=sys.stderr, force_jupyter=False)
    with log_path.open("w") as log, make_progress(name, num_tasks, console) as progress:
        relay = Relay(log, progress)
        try:
            with redirect_stdout(relay), _logging_to(relay), _runner(home, cache), own_print():
                task = pipeline(**arguments)
        except RuntimeError as error:
            message = f"{name}: {relay.explain()}; the whole log is {log_path}"
            raise ServiceError(message) from error
    report = _keep_report(task.outputs.get("Output"), home / f"{name}.html")
    _print_summary(relay, dict(getattr(task.outputs.get("Output"), "metadata", {})))
    for what, path in (("log", log_path), ("report", report)):
        print(f"{what}: {path}")
    return LocalRun(dict(task.outputs), relay.seconds, log_path, report)


def count_tasks(pipeline: Any, arguments: Mapping[str, Any]) -> int:  # noqa: ANN401 - kfp is untyped
    """Return how many tasks a pipeline runs where no condition leaves one out."""
    spec = pipeline.pipeline_spec
    total = len(spec.deployment_spec["executors"])
    for task in spec.root.dag.tasks.values():
        items = task.parameter_iterator.items.input_parameter.removeprefix(_CHANNEL)
        if items in arguments:
            inside = len(spec.components[task.component_ref.name].dag.tasks)
            total += inside * (len(arguments[items]) - 1)
    return total


def find_artifact(home: Path, pipeline: str, task: str, output: str) -> Path:
    """Return the newest artifact of a task in the runs of a home; for looking at results.

    A task whose outputs came from the cache wrote none in that run, so an earlier run's is found.

    Args:
        home: the folder given to `run_locally`.
        pipeline: the pipeline's name.
        task: for example "evaluate"; "evaluate-2" in the second round of a loop.
        output: the task's output, for example "evaluation".

    Raises:
        DataError: no run left one; the message lists the artifacts that there are.
    """
    runs = sorted((home / "runs").glob(f"{pipeline.replace('_', '-')}-[0-9]*"), reverse=True)
    found = [run / task / output for run in runs if (run / task / output).exists()]
    if found:
        return found[0]
    others = sorted(
        f"{path.parent.name}/{path.name}"
        for path in (runs[0].glob("*/*") if runs else ())
        if path.name != "executor_output.json"
    )
    raise DataError(
        f"{home}: no run of {pipeline} left {task}/{output}; "
        f"the last one left {', '.join(others) or 'nothing: run the pipeline first'}"
    )


def _keep_report(artifact: Any, target: Path) -> Path | None:  # noqa: ANN401 - kfp is untyped
    """Copy the page out of the run's folder, under a name that a browser knows."""
    if artifact is None or not Path(artifact.path).is_file():
        return None
    write_atomically(target, Path(artifact.path).read_bytes())
    return target


@contextmanager
def _logging_to(relay: "Relay") -> Iterator[None]:
    """Send KFP's messages between tasks, cache hits among them, to the relay."""
    logger = logging.getLogger()
    level, handler = logger.level, logging.StreamHandler(relay)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


@contextmanager
def own_print() -> Iterator[None]:
    """Bring `print` back as it was: KFP indents it, and tasks of a loop, in threads, leave it so.

    Each puts back what it found, so that of two that overlap the later one keeps the other's.
    """
    before = builtins.print
    try:
        yield
    finally:
        builtins.print = before


@contextmanager
def _runner(home: Path, cache: bool) -> Iterator[None]:
    """Set KFP's runner up; what it and its tasks leave among temporary files goes with the run."""
    scratch = tempfile.TemporaryDirectory(prefix="admlops-run-", ignore_cleanup_errors=True)
    with scratch as folder, _child_environment(folder):
        local.init(
            runner=local.SubprocessRunner(use_venv=False),
            pipeline_root=str(home / "runs"),
            workspace_root=f"{folder}/workspace",
            enable_caching=cache,
            cache_root=str(home / "cache"),
        )
        yield


@contextmanager
def _child_environment(temporary: str) -> Iterator[None]:
    """Make children write progress bars (they see a pipe, not a terminal) and run our Python."""
    wanted = {
        "TMPDIR": temporary,
        "TTY_COMPATIBLE": "1",
        "COLUMNS": "100",
        "PYTHONUNBUFFERED": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def make_progress(name: str, num_tasks: int, console: Console) -> Progress:
    """Return a progress bar with one unit per task and a place for the task's last line."""
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[line]}", markup=False, style="dim"),
        console=console,
    )
    progress.add_task(name, total=num_tasks, line="")
    return progress


class Relay(io.TextIOBase):
    """Takes what KFP prints: all to the log, the telling part to the progress bar."""

    def __init__(self, log: TextIO, progress: Progress) -> None:
        self.seconds: dict[str, float] = {}
        self.num_cached = 0
        self._log = log
        self._progress = progress
        self._started: dict[str, list[float]] = {}
        self._current = ""
        self._rest = ""
        self._errors: dict[str, str] = {}

    def write(self, text: str) -> int:
        """Take text as a file would."""
        self._log.write(text)
        self._log.flush()
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._read(_ANSI.sub("", line).rstrip())
        return len(text)

    def explain(self) -> str:
        """Return which task failed, and its error line; others may have run after it."""
        failed = next((task for task in self._errors if task not in self.seconds), self._current)
        return f"task {failed!r} failed: {self._errors.get(failed) or 'it printed no error line'}"

    def _read(self, line: str) -> None:
        bar = self._progress.task_ids[0]
        if started := _STARTED.search(line):
            self._current = started[1]
            self._started.setdefault(self._current, []).append(time.monotonic())
            self._errors[self._current] = ""
            self._progress.update(bar, description=self._current, line="")
        elif (ended := _ENDED.search(line)) and ended[2] == "SUCCESS":
            seconds = time.monotonic() - self._started[ended[1]].pop(0)
            self.seconds[ended[1]] = self.seconds.get(ended[1], 0.0) + seconds
            self._progress.update(bar, advance=1, line="")
            self._progress.console.print(f"  {ended[1]:<24} {seconds:7.1f} s", highlight=False)
        elif _CACHED.search(line):
            self.num_cached += 1
            self._progress.update(bar, advance=1)
        else:
            if re.match(r"\s*(admlops\.errors\.)?\w+(Error|Exception)\b", line):
                self._errors[self._current] = line.strip()
            if not _NOISE.match(line):
                self._progress.update(bar, line=line.strip()[:70])


def _print_summary(relay: Relay, figures: dict[str, Any]) -> None:
    """Print the report's figures, of both rounds where there were two, and the time taken."""
    earlier = {
        name.removeprefix(EARLIER): value
        for name, value in figures.items()
        if name.startswith(EARLIER)
    }
    last = {name: value for name, value in figures.items() if not name.startswith(EARLIER)}
    table = Table(title="Summary")
    for title in ("figure", "round 1", "round 2") if earlier else ("figure", "value"):
        table.add_column(title, justify="left" if title == "figure" else "right")
    for name in sorted({*last, *earlier}):
        values = [earlier.get(name), last.get(name)] if earlier else [last.get(name)]
        table.add_row(name, *("-" if value is None else f"{value:.4g}" for value in values))
    console = Console()
    console.print(table)
    ran = f"{len(relay.seconds)} tasks ran in {sum(relay.seconds.values()):.1f} s"
    console.print(f"{ran}, {relay.num_cached} came from the cache")
