"""CI says nothing that a desk cannot repeat, and may do as little as it needs."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
MAX_MINUTES = 120
ALLOWED_ACTIONS = {
    "actions/checkout",
    "actions/setup-python",
    "actions/upload-artifact",
    "docker/login-action",
}
DANGEROUS_EVENTS = {"pull_request_target", "workflow_run", "issue_comment"}


def load(text: str) -> dict[str, Any]:
    """Return a workflow; YAML reads its key `on` as a truth."""
    values = yaml.safe_load(text)
    values["on"] = values.pop(True)
    return values


def steps(workflow: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, job in workflow["jobs"].items():
        for step in job["steps"]:
            yield name, step


def violations(text: str) -> list[str]:
    """Return every rule that a workflow breaks."""
    workflow = load(text)
    found = []
    if workflow.get("permissions") != {"contents": "read"}:
        found.append("permissions are not contents: read")
    if not workflow.get("concurrency", {}).get("group"):
        found.append("no concurrency group")
    events = {workflow["on"]} if isinstance(workflow["on"], str) else set(workflow["on"])
    found += [f"event {event}" for event in sorted(events & DANGEROUS_EVENTS)]
    for name, job in workflow["jobs"].items():
        if not 0 < job.get("timeout-minutes", 0) <= MAX_MINUTES:
            found.append(f"{name}: no timeout of at most {MAX_MINUTES} minutes")
        if "permissions" in job:
            found.append(f"{name}: permissions of its own")
    for name, step in steps(workflow):
        found += [f"{name}: {problem}" for problem in step_violations(step)]
    pins = re.findall(r"uses: (\S+)(.*)", text)
    found += [f"{use} says no version" for use, rest in pins if not re.match(r" # v\d+\.\d+", rest)]
    return found


def step_violations(step: dict[str, Any]) -> Iterator[str]:
    if "run" in step:
        words = step["run"].split()
        if "${{" in step["run"]:
            yield f"{step['run']!r} has an expression in a command"
        if (
            words[0] != "make"
            or len(step["run"].splitlines()) > 1
            or re.search(r"[;&|`]", step["run"])
        ):
            yield f"{step['run']!r} is more than make"
        unknown = [w for w in words[1:] if "=" not in w and w not in TARGETS]
        yield from (f"no make target {word!r}" for word in unknown)
        return
    action, _, version = step["uses"].partition("@")
    if action not in ALLOWED_ACTIONS:
        yield f"action {action} is not on the list"
    if not re.fullmatch(r"[0-9a-f]{40}", version):
        yield f"{action} is not pinned by commit"
    if (
        action == "actions/checkout"
        and step.get("with", {}).get("persist-credentials") is not False
    ):
        yield "checkout leaves its token behind"
    if "secrets." in str(step) and action != "docker/login-action":
        yield f"{action} is given a secret"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_keeps_the_rules(path: Path) -> None:
    assert violations(path.read_text()) == []


def test_the_workflows_cover_what_is_asked() -> None:
    assert [path.stem for path in WORKFLOWS] == ["check", "images", "release"]
    called = {
        path.stem: " ".join(step.get("run", "") for _, step in steps(load(path.read_text())))
        for path in WORKFLOWS
    }
    for target in ("check", "test", "compile", "unchanged", "manifests"):
        assert f" {target}" in called["check"]
    assert "images-push" not in called["check"] + called["images"]
    assert "images-push" in called["release"]


GOOD = (REPOSITORY / ".github" / "workflows" / "check.yml").read_text()


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("contents: read", "contents: write", "permissions are not contents: read"),
        ("permissions:\n  contents: read\n", "", "permissions are not contents: read"),
        ("concurrency:\n", "env0:\n", "no concurrency group"),
        ("pull_request:", "pull_request_target:", "event pull_request_target"),
        ("    timeout-minutes: 90\n", "", "test: no timeout of at most 120 minutes"),
        ("run: make test", "run: make tests", "test: no make target 'tests'"),
        ("run: make test", "run: pytest -q", "test: 'pytest -q' is more than make"),
        ("run: make test", "run: make test; ls", "test: 'make test; ls' is more than make"),
        (
            "run: make test",
            "run: make test ARGS=${{ github.head_ref }}",
            "test: 'make test ARGS=${{ github.head_ref }}' has an expression in a command",
        ),
        (
            "actions/setup-python@a26af69be951a213d495a4c3e4e4022e16d87065 # v5.6.0",
            "actions/setup-python@v5 # v5.6",
            "actions/setup-python is not pinned by commit",
        ),
        (
            "          persist-credentials: false\n",
            "          depth: 1\n",
            "leaves its token behind",
        ),
        (" # v5.0.0", "", "says no version"),
        (
            "actions/setup-python@",
            "someone/setup-python@",
            "someone/setup-python is not on the list",
        ),
        ("cache: pip", "token: ${{ secrets.X }}", "actions/setup-python is given a secret"),
    ],
)
def test_a_damaged_workflow_is_told(old: str, new: str, problem: str) -> None:
    assert old in GOOD
    assert any(problem in line for line in violations(GOOD.replace(old, new)))
