"""The few calls to the Kubernetes API that following a TrainJob takes, and what refusals mean."""

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import urllib3
from kubernetes import client, config

from admlops.errors import ConfigError, ServiceError
from admlops.kubeflow.train_job import CONTAINER, GROUP, JOB_LABEL, PLURAL, VERSION

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_TIMEOUT_S = (5, 30)
_NO_SUCH, _CONFLICT, _TOO_MANY = 404, 409, 429
_LOG_LINES = 2000
"""At most so many new lines of a log are read at a time."""
_HINTS = {
    401: "the pod's token is not accepted",
    403: "the service account needs create, get and delete on trainjobs, list on pods and get on "
    "pods/log (manifests/base/pipelines)",
    404: "is Kubeflow Trainer installed?",
    422: "the cluster's Kubeflow Trainer has another version of the API",
}


class AwayError(ServiceError):
    """The API does not answer now; it may in a moment."""


class JobApi:
    """TrainJobs of one namespace, and their pods."""

    def __init__(self, api: client.ApiClient, namespace: str) -> None:
        self.namespace = namespace
        self._objects = client.CustomObjectsApi(api)
        self._core = client.CoreV1Api(api)
        self._last_read: dict[str, tuple[float, str]] = {}

    @classmethod
    def in_cluster(cls) -> Self:
        """Return the API as the pod's service account sees it.

        Raises:
            ConfigError: this is no pod with a token.
        """
        configuration = client.Configuration()
        try:
            config.load_incluster_config(client_configuration=configuration)
            namespace = _NAMESPACE_FILE.read_text().strip()
        except (config.ConfigException, OSError) as error:
            raise ConfigError(
                f"TrainJobs are started from a pod whose service account has a token: {error}"
            ) from error
        configuration.retries = False
        return cls(client.ApiClient(configuration), namespace)

    def create(self, job: Mapping[str, Any]) -> None:
        """Create a job; one of its name that is already there is taken for the same.

        Raises:
            ServiceError: the API refuses or does not answer.
        """
        name = job["metadata"]["name"]
        with self._explain(f"create TrainJob {name}"):
            try:
                self._objects.create_namespaced_custom_object(
                    GROUP, VERSION, self.namespace, PLURAL, dict(job), _request_timeout=_TIMEOUT_S
                )
            except client.ApiException as error:
                if error.status != _CONFLICT:
                    raise

    def get(self, name: str) -> dict[str, Any] | None:
        """Return a job, or None where there is none of that name.

        Raises:
            ServiceError: the API refuses or does not answer.
        """
        with self._explain(f"get TrainJob {name}"):
            try:
                job: dict[str, Any] = self._objects.get_namespaced_custom_object(
                    GROUP, VERSION, self.namespace, PLURAL, name, _request_timeout=_TIMEOUT_S
                )
            except client.ApiException as error:
                if error.status != _NO_SUCH:
                    raise
                return None
            return job

    def delete(self, name: str) -> None:
        """Delete a job and its pods; one that is gone is no error.

        Raises:
            ServiceError: the API refuses or does not answer.
        """
        with self._explain(f"delete TrainJob {name}"):
            try:
                self._objects.delete_namespaced_custom_object(
                    GROUP,
                    VERSION,
                    self.namespace,
                    PLURAL,
                    name,
                    propagation_policy="Background",
                    _request_timeout=_TIMEOUT_S,
                )
            except client.ApiException as error:
                if error.status != _NO_SUCH:
                    raise

    def pods(self, name: str) -> list[dict[str, Any]]:
        """Return the pods of a job, in the order of their names.

        Raises:
            ServiceError: the API refuses or does not answer.
        """
        with self._explain(f"list the pods of TrainJob {name}"):
            answer = self._core.list_namespaced_pod(
                self.namespace,
                label_selector=f"{JOB_LABEL}={name}",
                _preload_content=False,
                _request_timeout=_TIMEOUT_S,
            )
            pods: list[dict[str, Any]] = json.loads(answer.data)["items"]
        return sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))

    def pod_owner(self) -> dict[str, str]:
        """Return name and uid of the pod that this process runs in.

        Raises:
            ServiceError: the API refuses or does not answer.
        """
        name = os.environ.get("HOSTNAME", "")
        with self._explain(f"get pod {name}"):
            answer = self._core.read_namespaced_pod(
                name, self.namespace, _preload_content=False, _request_timeout=_TIMEOUT_S
            )
            return {"name": name, "uid": str(json.loads(answer.data)["metadata"]["uid"])}

    def new_lines(self, pod: str) -> list[str]:
        """Return what a pod has printed since the last call; nothing while it has not started.

        Raises:
            ServiceError: the API refuses or does not answer.
        """
        read_at, last = self._last_read.get(pod, (0.0, ""))
        now = time.monotonic()
        since = {"since_seconds": math.ceil(now - read_at) + 1} if last else {}
        lines = [line.partition(" ") for line in self._log(pod, timestamps=True, **since)]
        fresh = [(stamp, text) for stamp, _, text in lines if stamp > last]
        if fresh:
            self._last_read[pod] = (now, fresh[-1][0])
        return [text for _, text in fresh]

    def last_lines(self, pod: str, count: int) -> list[str]:
        """Return the end of a pod's log.

        Raises:
            ServiceError: the API refuses or does not answer.
        """
        return self._log(pod, tail_lines=count)

    def _log(self, pod: str, **options: Any) -> list[str]:  # noqa: ANN401 - the API's options
        options = {"tail_lines": _LOG_LINES} | options
        with self._explain(f"read the log of pod {pod}"):
            try:
                answer = self._core.read_namespaced_pod_log(
                    pod,
                    self.namespace,
                    container=CONTAINER,
                    _preload_content=False,
                    _request_timeout=_TIMEOUT_S,
                    **options,
                )
            except client.ApiException as error:
                if error.status not in (400, _NO_SUCH):  # not started yet, or gone already
                    raise
                return []
            return str(answer.data.decode(errors="replace")).splitlines()

    @contextmanager
    def _explain(self, what: str) -> Iterator[None]:
        where = f"Kubernetes, namespace {self.namespace}: {what}"
        try:
            yield
        except client.ApiException as error:
            kind = AwayError if _may_pass(error.status) else ServiceError
            raise kind(f"{where}: {_reason(error)}") from error
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise AwayError(f"{where}: no answer ({error})") from error


def _may_pass(status: int | None) -> bool:
    return not status or status == _TOO_MANY or status >= 500


def _reason(error: Any) -> str:  # noqa: ANN401 - untyped
    try:
        message = str(json.loads(error.body or "{}").get("message", ""))
    except (ValueError, AttributeError):
        message = ""
    reason = f"refused, {error.status} {error.reason}" + (f" ({message[:300]})" if message else "")
    if "quota" in message.lower():
        return f"{reason}; wait until other jobs end, or ask for a larger quota"
    hint = _HINTS.get(error.status, "")
    return f"{reason}; {hint}" if hint else reason
