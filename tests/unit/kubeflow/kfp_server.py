"""A small real HTTP server that speaks the part of KFP's REST API (v2beta1) which submission uses.

It keeps what it is given, and parses every pipeline with KFP's own schema, as the server does.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

PREFIX = "/apis/v2beta1"


@dataclass
class Behaviour:
    """How the server answers, and what it was asked."""

    token: str = ""
    multi_user: bool = False
    experiments: list[str] = field(default_factory=lambda: ["admlops"])
    states: list[str] = field(default_factory=lambda: ["PENDING", "RUNNING", "SUCCEEDED"])
    tasks: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""
    failures: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    web_page: bool = False
    asked: list[str] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    recurring_runs: list[dict[str, Any]] = field(default_factory=list)
    address: str = ""


class RefusedError(Exception):
    """An answer other than 200."""


class _Handler(BaseHTTPRequestHandler):
    behaviour: Behaviour

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length)) if length else {}
        url = urlsplit(self.path)
        what = f"{self.command} {url.path.removeprefix(PREFIX)}"
        self.behaviour.asked.append(f"{what}?{url.query}" if url.query else what)
        if self.behaviour.web_page:
            self._answer(200, b"<html>Log in</html>", "text/html")
            return
        try:
            answer = self._route(what, parse_qs(url.query), body)
        except RefusedError as refused:
            status, message = refused.args
            self._answer(status, json.dumps({"code": status, "message": message}).encode())
        else:
            self._answer(200, json.dumps(answer).encode())

    do_GET = do_POST = _handle  # noqa: N815

    def _route(self, what: str, query: dict[str, list[str]], body: dict[str, Any]) -> Any:
        behaviour = self.behaviour
        given = self.headers.get("Authorization", "")
        if behaviour.token and given != f"Bearer {behaviour.token}":
            raise RefusedError(401, "no valid token")
        if planned := behaviour.failures.get(what):
            raise RefusedError(*planned.pop(0))
        if what == "GET /healthz":
            return {"multi_user": behaviour.multi_user}
        if what == "GET /experiments":
            return self._experiments(query)
        if what == "POST /experiments":
            behaviour.experiments.append(body["display_name"])
            return self._experiment(body["display_name"])
        if what in ("POST /runs", "POST /recurringruns"):
            return self._create(what, body)
        if what == "POST /runs/run-1:terminate":
            behaviour.states = ["CANCELING", "CANCELED"]
            return {}
        if what == "GET /runs/run-1":
            return self._run()
        raise RefusedError(404, f"no route {what}")

    def _experiments(self, query: dict[str, list[str]]) -> Any:
        names = self.behaviour.experiments
        if self.behaviour.multi_user and "namespace" not in query:
            raise RefusedError(400, "namespace is missing")
        if "filter" in query:
            (predicate,) = json.loads(query["filter"][0])["predicates"]
            names = [name for name in names if name == predicate["stringValue"]]
        return {"experiments": [self._experiment(name) for name in names]}

    def _experiment(self, name: str) -> dict[str, str]:
        return {"experiment_id": f"experiment-{name}", "display_name": name}

    def _create(self, what: str, body: dict[str, Any]) -> Any:
        documents = body["pipeline_spec"]
        spec = documents.get("pipeline_spec", documents)
        json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
        json_format.ParseDict(documents.get("platform_spec", {}), pipeline_spec_pb2.PlatformSpec())
        if what == "POST /runs":
            self.behaviour.runs.append(body)
            return {"run_id": "run-1", "display_name": body["display_name"]}
        self.behaviour.recurring_runs.append(body)
        return {"recurring_run_id": "recurring-1", "display_name": body["display_name"]}

    def _run(self) -> Any:
        states = self.behaviour.states
        state = states.pop(0) if len(states) > 1 else states[0]
        run = {"run_id": "run-1", "state": state}
        if self.behaviour.tasks:
            run["run_details"] = {"task_details": self.behaviour.tasks}
        if self.behaviour.error:
            run["error"] = {"code": 13, "message": self.behaviour.error}
        return run

    def _answer(self, status: int, content: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def serve_kfp(behaviour: Behaviour) -> Iterator[Behaviour]:
    handler = type("Handler", (_Handler,), {"behaviour": behaviour})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    behaviour.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield behaviour
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
