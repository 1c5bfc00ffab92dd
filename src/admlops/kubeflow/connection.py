"""A connection to a Kubeflow Pipelines server, and what its refusals mean."""

import json
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

import kfp
import kfp_server_api
import urllib3
from kfp.client import ServiceAccountTokenVolumeCredentials

from admlops.errors import ConfigError, ServiceError

TOKEN_VARIABLE = "KF_PIPELINES_TOKEN"  # noqa: S105 - a variable's name
_IN_CLUSTER_VARIABLE = "KUBERNETES_SERVICE_HOST"
_IN_CLUSTER_HOST = "http://ml-pipeline.{namespace}.svc.cluster.local:8888"
_IN_CLUSTER_TOKEN = Path("/var/run/secrets/kubeflow/pipelines/token")
_TIMEOUT_S = (5, 30)
_HINTS = {
    401: "sign in, or give a token with KF_PIPELINES_TOKEN or --token-file",
    403: "ask for access to the namespace, or name another one",
    404: "check the address and the name",
    429: "wait, or ask for a larger quota",
}
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach a server.

    Attributes:
        host: its address; inside a cluster the service's own where empty.
        namespace: the user's namespace on a multi-user server.
        token_file: file with a bearer token, read again when it expires; before it counts the
            variable KF_PIPELINES_TOKEN, after it the projected token of the pod.
        ca_file: certificates to trust instead of the public ones.
    """

    host: str = ""
    namespace: str = ""
    token_file: Path | None = None
    ca_file: Path | None = None

    def address(self) -> str:
        """Return the server's address with its scheme.

        Raises:
            ConfigError: none is given and this is no cluster.
        """
        if self.host:
            host = self.host.rstrip("/")
            return host if "://" in host else f"https://{host}"
        if _IN_CLUSTER_VARIABLE in os.environ:
            return _IN_CLUSTER_HOST.format(namespace="kubeflow")
        raise ConfigError("no KFP server: give --host or KF_PIPELINES_ENDPOINT")

    def client_arguments(self) -> dict[str, Any]:
        """Return the arguments of kfp.Client that say as whom and how to connect.

        Raises:
            ConfigError: a file is absent.
        """
        for file in (self.token_file, self.ca_file):
            if file and not file.is_file():
                raise ConfigError(f"{file}: no such file")
        arguments: dict[str, Any] = {"host": self.address()}
        if self.ca_file:
            arguments["ssl_ca_cert"] = str(self.ca_file)
        token_file = self.token_file or (_IN_CLUSTER_TOKEN if _IN_CLUSTER_TOKEN.is_file() else None)
        if os.environ.get(TOKEN_VARIABLE):
            arguments["existing_token"] = os.environ[TOKEN_VARIABLE]
        elif token_file:
            arguments["credentials"] = ServiceAccountTokenVolumeCredentials(str(token_file))
        return arguments


class Connection:
    """An open connection; every call either answers or raises a ServiceError that explains."""

    def __init__(self, host: str, client: Any, namespace: str) -> None:  # noqa: ANN401 - untyped
        self.host = host
        self.namespace = namespace
        self._client = client

    def call(self, what: str, function: Callable[[Any], _Result]) -> _Result:
        """Return what `function` gets from the kfp.Client.

        Raises:
            ServiceError: the server refused or could not be reached; names `what`.
        """
        with explain(self.host, what), redirect_stdout(StringIO()):
            return function(self._client)


@contextmanager
def connect(access: Access) -> Iterator[Connection]:
    """Yield a connection to a server that was seen to answer.

    Raises:
        ServiceError: it does not answer, not as KFP does, or refuses.
        ConfigError: it serves many users and no namespace is given.
    """
    arguments = access.client_arguments()
    host = arguments["host"]
    health = _check_health(host, arguments)
    if health.multi_user and not access.namespace:
        raise ConfigError(f"KFP at {host} serves many users: give --namespace or --profile")
    namespace = access.namespace if health.multi_user else ""
    if namespace:
        arguments["namespace"] = namespace
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # "only works with v2": so do we
        with explain(host, "connect"):
            client = kfp.Client(**arguments)
    pool = client.runs.run_service_get_run.__self__.api_client.rest_client.pool_manager
    try:
        yield Connection(host, client, namespace)
    finally:
        pool.clear()


def _check_health(host: str, arguments: dict[str, Any]) -> Any:  # noqa: ANN401 - untyped
    """Ask once, with a timeout; kfp.Client would ask for half a minute and hide the reason."""
    configuration = kfp_server_api.Configuration(host=host)
    configuration.ssl_ca_cert = arguments.get("ssl_ca_cert")
    configuration.retries = False
    if "existing_token" in arguments:
        configuration.api_key["authorization"] = arguments["existing_token"]
    if "credentials" in arguments:
        configuration.api_key["authorization"] = "read by the hook"
        configuration.refresh_api_key_hook = arguments["credentials"].refresh_api_key_hook
    configuration.api_key_prefix["authorization"] = "Bearer"
    api = kfp_server_api.ApiClient(configuration)
    service = kfp_server_api.HealthzServiceApi(api)
    try:
        with explain(host, "connect"):
            health, _, headers = service.healthz_service_get_healthz_with_http_info(
                _request_timeout=_TIMEOUT_S
            )
    finally:
        api.rest_client.pool_manager.clear()
    if "json" not in headers.get("Content-Type", ""):
        hint = "a login page may be in front of it: give a token, or the address of the API"
        raise ServiceError(f"KFP at {host}: connect: the answer is not KFP's; {hint}")
    return health


@contextmanager
def explain(host: str, what: str) -> Iterator[None]:
    """Turn what the client raises into a ServiceError that names the server and the call."""
    try:
        yield
    except kfp_server_api.ApiException as error:
        raise ServiceError(f"KFP at {host}: {what}: {_reason(error)}") from error
    except AttributeError as error:
        # the generated client decodes the body of every ApiException, also where there is none
        if not isinstance(error.__context__, kfp_server_api.ApiException):
            raise
        raise ServiceError(f"KFP at {host}: {what}: {_reason(error.__context__)}") from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise ServiceError(f"KFP at {host}: {what}: {_network_reason(error)}") from error


def _reason(error: Any) -> str:  # noqa: ANN401 - untyped
    if not error.status:  # the client wraps TLS failures so
        return _tls_reason(str(error.reason).splitlines()[-1])
    message = _server_message(error.body)
    reason = f"refused, {error.status} {error.reason}" + (f" ({message})" if message else "")
    if "quota" in message.lower() or "resourceexhausted" in message.lower().replace(" ", ""):
        return f"{reason}; {_HINTS[429]}"
    hint = _HINTS.get(error.status, "see the server's log" if error.status >= 500 else "")
    return f"{reason}; {hint}" if hint else reason


def _server_message(body: str | bytes | None) -> str:
    """Return the first line of the server's own words, at most 300 characters."""
    try:
        words = json.loads(body or "{}")
    except json.JSONDecodeError:
        return ""
    if not isinstance(words, dict):
        return ""
    text = str(words.get("message") or words.get("error_message") or words.get("error") or "")
    return text.splitlines()[0][:300] if text else ""


def _network_reason(error: BaseException) -> str:
    cause = getattr(error, "reason", None) or error
    if isinstance(cause, urllib3.exceptions.SSLError):
        return _tls_reason(str(cause))
    refused = isinstance(cause, urllib3.exceptions.NewConnectionError)
    if isinstance(cause, urllib3.exceptions.TimeoutError) and not refused:
        return f"no answer within {_TIMEOUT_S[0]} s; check the address, VPN and firewall"
    return f"cannot be reached ({cause}); check the address and the network"


def _tls_reason(detail: str) -> str:
    hint = "give the authority's certificate with --ca-file, or check http against https"
    return f"TLS failed ({detail}); {hint}"
