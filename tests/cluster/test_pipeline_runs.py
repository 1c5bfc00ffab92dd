"""Runs on a real Kubeflow Pipelines server, on the synthetic world.

KFP_ENDPOINT names the server. ADMLOPS_PROFILE may name a profile other than that of kind; the
images that it leads to must be there. AWS_ENDPOINT_URL and credentials lead to its object store.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from admlops.kubeflow.connection import Access, Connection, connect
from admlops.kubeflow.profile import ClusterProfile
from admlops.kubeflow.submit import Submission, follow_run, submit_run
from admlops.recipes import Recipe, load_recipe
from admlops.serving.object_store import ObjectFolder

REPOSITORY = Path(__file__).resolve().parents[2]
SMALL = {
    "collect": {
        "origin": {
            "world": {
                "train": {"num_scenes": 2},
                "val": {"num_scenes": 1},
                "pool": {"num_scenes": 1},
            }
        }
    },
    "train": {"num_steps": 5},
    "gate": {"min_scores": {"car_bev_ap50": 0.0}},
}
TWO_HOURS_S = 7200

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(TWO_HOURS_S)]


@pytest.fixture(scope="module")
def access() -> Access:
    if "KFP_ENDPOINT" not in os.environ:
        pytest.skip("no Kubeflow Pipelines server; set KFP_ENDPOINT")
    return Access(host=os.environ["KFP_ENDPOINT"])


@pytest.fixture(scope="module")
def submission() -> Submission:
    default = REPOSITORY / "manifests" / "profiles" / "kind.yaml"
    profile = ClusterProfile.load(Path(os.environ.get("ADMLOPS_PROFILE", default)))
    return Submission("admlops-cluster-test", create_experiment=True, profile=profile)


@pytest.fixture(scope="module")
def connection(access: Access) -> Iterator[Connection]:
    with connect(access) as open_connection:
        yield open_connection


def recipe_for(submission: Submission) -> Recipe:
    assert submission.profile is not None
    return load_recipe("demo", store=submission.profile.store).override(SMALL)


def get_run(connection: Connection, run_id: str) -> Any:
    return connection.call("get run", lambda client: client.get_run(run_id))


@pytest.fixture(scope="module")
def finished(access: Access, submission: Submission) -> str:
    return submit_run("train_and_publish", recipe_for(submission), access, submission)


def test_artifacts_of_a_run_are_in_the_object_store(finished: str, submission: Submission) -> None:
    if "AWS_ACCESS_KEY_ID" not in os.environ:
        pytest.skip("no way to the object store; set AWS_ENDPOINT_URL and credentials")
    assert submission.profile is not None
    root = f"{submission.profile.pipeline_root}/train-and-publish/{finished}"
    assert {"collect", "ingest", "train"} <= set(ObjectFolder(root, os.environ).folders())


def test_a_second_submission_hits_the_cache(
    finished: str, access: Access, submission: Submission, connection: Connection
) -> None:
    again = submit_run("train_and_publish", recipe_for(submission), access, submission)
    assert again != finished
    details = get_run(connection, again).run_details.task_details
    states = {task.display_name: task.state for task in details}
    assert states["train"] == "SKIPPED"
    assert states["gate"] == "SUCCEEDED"


def test_a_terminated_run_ends_the_wait(
    access: Access, submission: Submission, connection: Connection
) -> None:
    fresh = recipe_for(submission).override({"train": {"num_steps": 7}})
    run_id = submit_run(
        "train_and_publish", fresh, access, replace(submission, wait=False, cache=False)
    )
    connection.call("terminate run", lambda client: client.terminate_run(run_id))
    assert follow_run(connection, run_id, set(), 2.0).state in ("CANCELED", "FAILED")
