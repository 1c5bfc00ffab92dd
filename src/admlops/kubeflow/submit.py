"""Submission of pipelines to a Kubeflow Pipelines server."""

import tempfile
import time
from pathlib import Path
from typing import Any

import kfp
import kfp_server_api
import urllib3
from rich.console import Console

from admlops.errors import ServiceError
from admlops.kubeflow.compile import compile_pipeline
from admlops.recipes import Recipe

_FINAL_STATES = ("SUCCEEDED", "SKIPPED", "FAILED", "CANCELED")
_POLL_S = 5.0


def submit_run(name: str, recipe: Recipe, host: str, experiment: str) -> str:
    """Submit a pipeline, follow the run to its end, and return its id.

    Raises:
        ServiceError: the server cannot be reached or refuses, or the run did not succeed.
    """
    console = Console(stderr=True)
    client = _call(host, "connect", lambda: kfp.Client(host=host))
    with tempfile.TemporaryDirectory() as folder:
        package = compile_pipeline(name, recipe, Path(folder))
        run = _call(
            host,
            "create run",
            lambda: client.create_run_from_pipeline_package(
                str(package), run_name=f"{name}-{recipe.name}", experiment_name=experiment
            ),
        )
    link = f"{host.rstrip('/')}/#/runs/details/{run.run_id}"
    console.print(f"run {run.run_id}: {link}", soft_wrap=True)
    state = _follow(client, host, run.run_id, console)
    if state != "SUCCEEDED":
        raise ServiceError(f"{host}: run {run.run_id} ended {state}; see {link}")
    return str(run.run_id)


def _follow(client: Any, host: str, run_id: str, console: Console) -> str:  # noqa: ANN401
    """Poll until a final state; KFP's own waiting loops on a cancelled run."""
    with console.status(f"{run_id}: waiting") as status:
        while True:
            state = str(_call(host, "get run", lambda: client.get_run(run_id)).state)
            status.update(f"{run_id}: {state.lower()}")
            if state in _FINAL_STATES:
                return state
            time.sleep(_POLL_S)


def _call(host: str, what: str, call: Any) -> Any:  # noqa: ANN401 - kfp is untyped
    try:
        return call()
    except kfp_server_api.ApiException as error:
        hint = {401: "; sign in or pass a token", 403: "; ask for access to the namespace"}
        reason = f"{error.status} {error.reason}{hint.get(error.status, '')}"
        raise ServiceError(f"KFP at {host}: {what} was refused: {reason}") from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        message = f"KFP at {host}: {what} failed: {error}; check the address and the network"
        raise ServiceError(message) from error
