"""A small real HTTP server that speaks the routes of the Kubernetes API which a launcher uses.

Objects are held to `train_job_schema.yaml`, as the API server holds them to the CRD's.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jsonschema
import yaml
from kubernetes import client

from admlops.kubeflow.job_api import JobApi

SCHEMA = yaml.safe_load(Path(__file__).with_name("train_job_schema.yaml").read_text())
NAMESPACE = "admlops"
JOBS = f"/apis/trainer.kubeflow.org/v1alpha1/namespaces/{NAMESPACE}/trainjobs"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
DROP = "drop the connection"
GONE = "somebody deletes it"
Step = dict[str, Any] | str | int | Callable[[], None] | None


def condition(kind: str, reason: str = "", message: str = "") -> dict[str, Any]:
    """Return a TrainJob's status of one condition."""
    return {"type": kind, "status": "True", "reason": reason, "message": message}


@dataclass
class Cluster:
    """What the server holds, how it answers, and what it was asked.

    Attributes:
        steps: what each look at a job finds, the last one for good: a condition, None while it
            runs, a status code to refuse with, `DROP` or `GONE`; or what happens then to a job
            that runs.
        refusals: status code and message by method and path.
        logs: time and text of each line, by pod.
        on_create: called with each job that is created.
    """

    steps: list[Step] = field(default_factory=lambda: [None, None, condition("Complete")])
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    created: list[dict[str, Any]] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    pods: list[dict[str, Any]] = field(default_factory=list)
    logs: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    on_create: Callable[[dict[str, Any]], None] | None = None
    asked: list[str] = field(default_factory=list)
    address: str = ""

    def print_line(self, pod: str, text: str) -> None:
        """Let a pod print a line now."""
        now = time.time_ns()
        stamp = f"{datetime.fromtimestamp(now // 10**9, UTC):%Y-%m-%dT%H:%M:%S}.{now % 10**9:09d}Z"
        self.logs.setdefault(pod, []).append((stamp, text))

    def add_pod(self, index: int = 0, phase: str = "Running", **status: Any) -> str:
        """Add a pod of whatever job there is, and return its name."""
        name = f"job-node-0-{index}-abcde"
        labels = {"batch.kubernetes.io/job-completion-index": str(index)}
        metadata = {"name": name, "labels": labels}
        self.pods.append({"metadata": metadata, "status": {"phase": phase, **status}})
        return name

    def api(self) -> JobApi:
        """Return a client of this server."""
        configuration = client.Configuration(host=self.address)
        configuration.retries = False
        return JobApi(client.ApiClient(configuration), NAMESPACE)


class _RefusedError(Exception):
    """An answer other than 200."""


class _Handler(BaseHTTPRequestHandler):
    cluster: Cluster

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length)) if length else {}
        url = urlsplit(self.path)
        what = f"{self.command} {url.path}"
        self.cluster.asked.append(what)
        try:
            if what in self.cluster.refusals:
                raise _RefusedError(*self.cluster.refusals[what])
            answer = self._route(url.path, parse_qs(url.query), body)
        except _RefusedError as refused:
            status, message = refused.args
            body = {"kind": "Status", "code": status, "message": message}
            self._answer(status, json.dumps(body).encode())
            return
        if answer is None:
            self.connection.close()
        else:
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self._answer(200, content)

    do_GET = do_POST = do_DELETE = _handle  # noqa: N815

    def _route(self, path: str, query: dict[str, list[str]], body: dict[str, Any]) -> Any:
        if path.startswith(JOBS):
            return self._jobs(path.removeprefix(JOBS).strip("/"), body)
        if path == PODS:
            (selector,) = query["labelSelector"]
            assert selector.startswith("jobset.sigs.k8s.io/jobset-name=train-")
            return {"items": self.cluster.pods}
        if path == f"{PODS}/launcher":
            return {"metadata": {"name": "launcher", "uid": "0123-uid"}}
        if path.startswith(PODS) and path.endswith("/log"):
            return self._log(path.split("/")[-2], query)
        raise _RefusedError(404, f"no route {path}")

    def _jobs(self, name: str, body: dict[str, Any]) -> Any:
        cluster = self.cluster
        if self.command == "POST":
            name = body["metadata"]["name"]
            if name in cluster.jobs:
                raise _RefusedError(409, f"trainjobs {name!r} already exists")
            try:
                jsonschema.validate(body, SCHEMA)
            except jsonschema.ValidationError as error:
                raise _RefusedError(422, error.message) from error
            cluster.jobs[name] = body
            cluster.created.append(body)
            if cluster.on_create:
                cluster.on_create(body)
            return body
        if name not in cluster.jobs:
            raise _RefusedError(404, f"trainjobs {name!r} not found")
        if self.command == "DELETE":
            cluster.deleted.append(name)
            return cluster.jobs.pop(name)
        return self._look(name)

    def _look(self, name: str) -> Any:
        steps = self.cluster.steps
        step = steps.pop(0) if len(steps) > 1 else steps[0]
        if step == DROP:
            return None
        if step == GONE:
            del self.cluster.jobs[name]
            raise _RefusedError(404, f"trainjobs {name!r} not found")
        if isinstance(step, int):
            raise _RefusedError(step, "not now")
        if callable(step):
            step = step()
        status = {"conditions": [step]} if step else {}
        return self.cluster.jobs[name] | {"status": status}

    def _log(self, pod: str, query: dict[str, list[str]]) -> bytes:
        assert query["container"] == ["node"]
        if pod not in self.cluster.logs:
            raise _RefusedError(400, "container is waiting to start")
        lines = self.cluster.logs[pod][-int(query["tailLines"][0]) :]
        stamped = "timestamps" in query
        return "".join(
            f"{stamp} {text}\n" if stamped else f"{text}\n" for stamp, text in lines
        ).encode()

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def serve_cluster(cluster: Cluster) -> Iterator[Cluster]:
    """Serve until the block ends."""
    handler = type("Handler", (_Handler,), {"cluster": cluster})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    cluster.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield cluster
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
