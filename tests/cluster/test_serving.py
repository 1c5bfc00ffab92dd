"""The manifests on a real cluster: dry runs, rights, and a rolling update under constant load.

KUBECONFIG names the cluster. The rollout needs Triton running from an overlay, the loader's image,
and two releases: ADMLOPS_RELEASES_URI with the store's settings in the environment.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from admlops.serving.bucket_store import open_store
from admlops.serving.rollout import ANNOTATION, find_reference

OVERLAYS = Path(__file__).resolve().parents[2] / "manifests" / "overlays"
SERVING = "admlops-serving"
PIPELINE = "system:serviceaccount:admlops:admlops-pipeline"
CAN_I = [
    ("create", "trainjobs.trainer.kubeflow.org", "admlops", True),
    ("delete", "trainjobs.trainer.kubeflow.org", "admlops", True),
    ("patch", "trainjobs.trainer.kubeflow.org", "admlops", False),
    ("patch", "workflowtaskresults.argoproj.io", "admlops", True),
    ("get", "pods", "admlops", True),
    ("get", "pods/log", "admlops", True),
    ("get", "secrets/admlops-s3", "admlops", True),
    ("get", "configmaps/kfp-launcher", "admlops", True),
    ("get", "secrets/another", "admlops", False),
    ("list", "secrets", "admlops", False),
    ("create", "pods", "admlops", False),
    ("create", "pods/exec", "admlops", False),
    ("create", "rolebindings.rbac.authorization.k8s.io", "admlops", False),
    ("get", "secrets/admlops-s3", SERVING, False),
    ("patch", "deployments.apps", SERVING, False),
    ("get", "nodes", "admlops", False),
]
LOAD = """
import sys, time, numpy as np
from admlops.errors import AdmlopsError
from admlops.serving.client import predict_cloud
random = np.random.default_rng(0)
cloud = random.uniform([0, -20, -2, 0], [50, 20, 1, 1], (5000, 4)).astype(np.float32)
sent = failed = 0
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    sent += 1
    try:
        predict_cloud("triton-grpc.admlops-serving.svc.cluster.local:8001", cloud, timeout_s=10)
    except AdmlopsError as error:
        failed += 1
        print(error, file=sys.stderr)
    time.sleep(0.05)
print(f"sent {sent} failed {failed}")
"""
ONE_HOUR_S = 3600

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(ONE_HOUR_S),
    pytest.mark.skipif(
        "KUBECONFIG" not in os.environ or not shutil.which("kubectl"),
        reason="no cluster; set KUBECONFIG and install kubectl",
    ),
]


def kubectl(*arguments: str, stdin: str | None = None, check: bool = True) -> str:
    done = subprocess.run(
        ["kubectl", *arguments],  # noqa: S607 - the caller's own kubectl
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not check or done.returncode == 0, f"{' '.join(arguments)}: {done.stderr}"
    return done.stdout + ("" if check else done.stderr)


@pytest.fixture(scope="module")
def namespaces() -> None:
    """Make the namespaces, without which nothing in them can be tried."""
    for name in ("admlops", SERVING, "kubeflow"):
        text = kubectl("create", "namespace", name, "--dry-run=client", "-o", "yaml")
        kubectl("apply", "--server-side", "-f", "-", stdin=text)


@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize("overlay", sorted(path.name for path in OVERLAYS.iterdir()))
def test_the_api_server_accepts_every_overlay(overlay: str) -> None:
    answer = kubectl(
        "apply", "--server-side", "--dry-run=server", "-k", str(OVERLAYS / overlay), check=False
    )
    if "no matches for kind" in answer or "ensure CRDs are installed" in answer:
        pytest.skip(f"an operator is not installed: {answer.splitlines()[-1]}")
    wrong = [line for line in answer.splitlines() if "serverside-applied" not in line]
    assert [line for line in wrong if not line.startswith("Warning")] == []


@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize(("verb", "what", "namespace", "allowed"), CAN_I)
def test_the_pipeline_may_do_what_it_needs(
    verb: str, what: str, namespace: str, allowed: bool
) -> None:
    folder = OVERLAYS.parent / "base" / "pipelines"
    kubectl("apply", "--server-side", "-k", str(folder))
    answer = kubectl("auth", "can-i", verb, what, "-n", namespace, "--as", PIPELINE, check=False)
    assert ("yes" in answer.split()) is allowed, answer


@pytest.fixture
def load() -> Iterator[str]:
    """Start a pod that sends clouds for ten minutes from a client's namespace; yield its name."""
    space, name = "admlops-load", "load"
    kubectl("create", "namespace", space, check=False)
    kubectl("label", "namespace", space, "admlops.io/triton-client=true", "--overwrite")
    path = "{.spec.template.spec.initContainers[0].image}"
    image = kubectl("-n", SERVING, "get", "deployment/triton", "-o", f"jsonpath={path}")
    kubectl(
        *("-n", space, "run", name, f"--image={image}", "--restart=Never"),
        *("--command", "--", "python", "-c", LOAD, "600"),
    )
    kubectl("-n", space, "wait", "--for=condition=Ready", f"pod/{name}", "--timeout=300s")
    yield f"{space}/{name}"
    kubectl("delete", "namespace", space, "--wait=false")


def test_a_rollout_and_its_rollback_lose_no_request(load: str) -> None:
    if "ADMLOPS_RELEASES_URI" not in os.environ:
        pytest.skip("no releases; set ADMLOPS_RELEASES_URI and the store's settings")
    uri = os.environ["ADMLOPS_RELEASES_URI"]
    ids = open_store(uri).ids()
    if len(ids) < 2:
        pytest.skip(f"two releases are needed, there are {ids}")
    before = served()
    other = next(i for i in reversed(ids) if not before.startswith(i))
    annotations = {ANNOTATION: str(find_reference(uri, other))}
    change = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
    kubectl("-n", SERVING, "patch", "deployment/triton", "-p", json.dumps(change))
    wait_for_rollout()
    assert served().startswith(other)
    kubectl("-n", SERVING, "rollout", "undo", "deployment/triton")
    wait_for_rollout()
    assert served() == before
    space, _, name = load.partition("/")
    done = "jsonpath={.status.phase}=Succeeded"
    kubectl("-n", space, "wait", f"--for={done}", f"pod/{name}", "--timeout=900s")
    log = kubectl("-n", space, "logs", name)
    assert "failed 0" in log, log[-2000:]


def served() -> str:
    template = json.loads(kubectl("-n", SERVING, "get", "deployment/triton", "-o", "json"))
    return str(template["spec"]["template"]["metadata"]["annotations"][ANNOTATION])


def wait_for_rollout() -> None:
    kubectl("-n", SERVING, "rollout", "status", "deployment/triton", "--timeout=1200s")
