"""Submission of pipelines to a Kubeflow Pipelines server."""

import re
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from admlops.errors import ConfigError, ServiceError
from admlops.kubeflow.artifacts import download_report
from admlops.kubeflow.compile import compile_pipeline
from admlops.kubeflow.compiled import CompiledPipeline
from admlops.kubeflow.connection import Access, Connection, connect
from admlops.kubeflow.profile import ClusterProfile
from admlops.recipes import Recipe

_FINAL_STATES = ("SUCCEEDED", "SKIPPED", "FAILED", "CANCELED")
_NUM_LOST_POLLS = 5


@dataclass(frozen=True, slots=True)
class Submission:
    """What to do with a compiled pipeline.

    Attributes:
        experiment: name of the experiment.
        create_experiment: whether to make it where it does not exist.
        profile: the cluster; its service account and artifact root are used.
        cron: schedule of a recurring run; one run at once where empty.
        wait: whether to follow the run to its end.
        cache: whether outputs of unchanged tasks are reused.
        poll_s: time between two looks at the run, s.
        folder: where a report is put.
    """

    experiment: str = "admlops"
    create_experiment: bool = False
    profile: ClusterProfile | None = None
    cron: str = ""
    wait: bool = True
    cache: bool = True
    poll_s: float = 5.0
    folder: Path = Path(".admlops/reports")


def submit_run(name: str, recipe: Recipe, access: Access, submission: Submission) -> str:
    """Compile a pipeline for the submission's cluster, submit it, and return the run's id.

    Raises:
        ConfigError: the pipeline breaks a lint rule, or a setting is wrong.
        ServiceError: the server cannot be reached or refuses, or the run did not succeed.
    """
    with tempfile.TemporaryDirectory() as folder:
        package = compile_pipeline(name, recipe, Path(folder), submission.profile)
        return submit_package(package, f"{name}-{recipe.name}", access, submission)


def submit_package(package: Path, title: str, access: Access, submission: Submission) -> str:
    """Submit compiled YAML as a run, or as a recurring one; return its id.

    Args:
        package: KFP YAML.
        title: the run's display name.
        access: the server.
        submission: what to do.

    Raises:
        ConfigError: a setting is wrong.
        ServiceError: the server cannot be reached or refuses, or the run did not succeed.
    """
    console = Console(stderr=True)
    cron = parse_cron(submission.cron) if submission.cron else ""
    with connect(access) as connection:
        arguments = _run_arguments(connection, package, title, submission)
        if cron:
            return _schedule(connection, arguments, cron, console)
        run = connection.call("create run", lambda client: client.run_pipeline(**arguments))
        link = f"{connection.host}/#/runs/details/{run.run_id}"
        console.print(f"run {run.run_id}: {link}", soft_wrap=True, highlight=False)
        if submission.wait:
            pipeline = CompiledPipeline.parse(package.read_text())
            tasks = container_tasks(pipeline)
            last = follow_run(connection, run.run_id, tasks, submission.poll_s)
            if last.state != "SUCCEEDED":
                failures = "".join(f"; {line}" for line in _failures(last))
                raise ServiceError(f"run {run.run_id} ended {last.state}{failures}; see {link}")
            _fetch_report(pipeline, str(run.run_id), submission, console)
    return str(run.run_id)


def parse_cron(text: str) -> str:
    """Return a schedule in KFP's six fields (seconds first); five fields start at second 0.

    Raises:
        ConfigError: there are neither five nor six fields of cron's characters.
    """
    fields = text.split()
    if len(fields) not in (5, 6) or not all(re.fullmatch(r"[\w*/,?-]+", part) for part in fields):
        raise ConfigError(f"--cron {text!r}: expected five fields, for example '0 3 * * 1-5'")
    return " ".join(["0", *fields][-6:])


def _run_arguments(
    connection: Connection, package: Path, title: str, submission: Submission
) -> dict[str, Any]:
    profile = submission.profile
    return {
        "experiment_id": _experiment_id(connection, submission),
        "job_name": title,
        "pipeline_package_path": str(package),
        "pipeline_root": profile.pipeline_root if profile else None,
        "service_account": profile.service_account if profile else None,
        "enable_caching": None if submission.cache else False,
    }


def _experiment_id(connection: Connection, submission: Submission) -> str:
    name, namespace = submission.experiment, connection.namespace or None

    def find(client: Any) -> str | None:  # noqa: ANN401 - kfp is untyped
        try:
            found = client.get_experiment(experiment_name=name, namespace=namespace)
        except ValueError:
            return None
        return str(found.experiment_id)

    experiment_id = connection.call(f"look up experiment {name!r}", find)
    if experiment_id:
        return experiment_id
    if submission.create_experiment:
        return connection.call(
            f"create experiment {name!r}",
            lambda client: str(client.create_experiment(name, namespace=namespace).experiment_id),
        )
    listed = connection.call(
        "list experiments",
        lambda client: client.list_experiments(page_size=20, namespace=namespace).experiments,
    )
    known = ", ".join(experiment.display_name for experiment in listed or []) or "none"
    raise ServiceError(
        f"KFP at {connection.host}: no experiment is called {name!r}; "
        f"there are: {known}; name one of them or add --create-experiment"
    )


def _schedule(
    connection: Connection, arguments: Mapping[str, Any], cron: str, console: Console
) -> str:
    recurring = connection.call(
        "create recurring run",
        lambda client: client.create_recurring_run(
            **arguments, cron_expression=cron, max_concurrency=1, no_catchup=True
        ),
    )
    link = f"{connection.host}/#/recurringrun/details/{recurring.recurring_run_id}"
    console.print(f"recurring run, {cron!r}: {link}", soft_wrap=True, highlight=False)
    return str(recurring.recurring_run_id)


def container_tasks(pipeline: CompiledPipeline) -> set[str]:
    """Return the names of the tasks that run a container, as the server displays them."""
    labels = {executor.label for executor in pipeline.executors()}
    return {path.rpartition("/")[2] for path, _, label in pipeline.tasks() if label in labels}


def follow_run(connection: Connection, run_id: str, tasks: set[str], poll_s: float) -> Any:  # noqa: ANN401
    """Poll until a final state and return the run; KFP's own waiting loops on a cancelled one.

    Args:
        connection: the server.
        run_id: the run.
        tasks: names of the tasks to count in the progress display.
        poll_s: time between two looks, s.

    Raises:
        ServiceError: the server refuses, or is away for several polls.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[line]}", markup=False, style="dim"),
    )
    with Progress(*columns, console=Console(stderr=True, force_jupyter=False)) as progress:
        bar = progress.add_task("waiting", total=len(tasks), line="")
        while True:
            run = _poll(connection, run_id, poll_s)
            states = _states(run, tasks)
            running = [name for name, state in states.items() if state == "RUNNING"]
            progress.update(
                bar,
                description=str(run.state).lower(),
                completed=sum(state in ("SUCCEEDED", "SKIPPED") for state in states.values()),
                line=", ".join(running),
            )
            if run.state in _FINAL_STATES:
                return run
            time.sleep(poll_s)


def _poll(connection: Connection, run_id: str, poll_s: float) -> Any:  # noqa: ANN401
    """Return the run; a server that is away for a few polls does not end the wait."""
    for attempt in range(_NUM_LOST_POLLS):
        try:
            return connection.call("get run", lambda client: client.get_run(run_id))
        except ServiceError as error:
            refused = re.search(r"refused, 4(?!29)", str(error))
            if refused or attempt == _NUM_LOST_POLLS - 1:
                raise
            time.sleep(poll_s * 2**attempt)
    raise AssertionError("unreachable: the last attempt raises")


def _states(run: Any, tasks: set[str]) -> dict[str, str]:  # noqa: ANN401
    details = run.run_details.task_details if run.run_details else None
    return {
        task.display_name: str(task.state) for task in details or [] if task.display_name in tasks
    }


def _failures(run: Any) -> list[str]:  # noqa: ANN401
    """Return what the failed tasks and the run say, one line each."""
    details = (run.run_details.task_details if run.run_details else None) or []
    lines = [
        f"task {task.display_name!r} failed" + (f": {task.error.message}" if task.error else "")
        for task in details
        if task.state == "FAILED"
    ]
    return lines or ([str(run.error.message)] if run.error else [])


def _fetch_report(
    pipeline: CompiledPipeline, run_id: str, submission: Submission, console: Console
) -> None:
    profile = submission.profile
    if not profile or not profile.pipeline_root:
        return
    prefix = f"{profile.pipeline_root}/{pipeline.spec['pipelineInfo']['name']}/{run_id}"
    try:
        report = download_report(prefix, profile.object_store, submission.folder / run_id)
    except ServiceError as error:  # the run succeeded all the same
        console.print(f"the report stays in the store: {error}", soft_wrap=True, highlight=False)
        return
    if report:
        console.print(f"report: {report}", soft_wrap=True, highlight=False)
