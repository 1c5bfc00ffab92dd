"""A real Triton server on this machine's CPU: for laptops, tests and the check of a release."""

import http.client
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from admlops.errors import ServiceError
from admlops.serving import supervisor
from admlops.serving.triton_environment import TritonEnvironment, find_triton

_LOCALHOST = "127.0.0.1"
_READY_TIMEOUT_S = 180.0
_STOP_GRACE_S = 15.0
_POLL_S = 0.1
_NUM_LOG_LINES_SHOWN = 15
_FAILURE = re.compile(r"failed to load|Failed to|^E\d+ .*(ERROR|rror:)")


class EmbeddedTriton:
    """A server that runs as long as this object's `with` block; it never outlives its owner.

    It loads the models that it is given and no others (explicit model control).
    """

    def __init__(
        self,
        repository: Path,
        models: tuple[str, ...] = (),
        *,
        variables: Mapping[str, str] | None = None,
        log_file: Path | None = None,
    ) -> None:
        """Prepare a server; `start` or the `with` block starts it.

        Args:
            repository: a Triton model repository.
            models: loaded at the start; an ensemble brings its parts.
            variables: added to the environment of the server and its models.
            log_file: where the server's output goes; kept. None: a file that is removed.
        """
        self.repository = repository
        self.models = models
        self._variables = dict(variables or {})
        self._folder = tempfile.TemporaryDirectory(prefix="admlops-triton-")
        self.log_file = log_file or Path(self._folder.name) / "triton.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._ports = (0, 0, 0)

    @property
    def http_url(self) -> str:
        """Return the address of the HTTP endpoint."""
        return f"http://{_LOCALHOST}:{self._ports[0]}"

    @property
    def grpc_url(self) -> str:
        """Return host and port of the gRPC endpoint, the form that Triton's client takes."""
        return f"{_LOCALHOST}:{self._ports[1]}"

    @property
    def metrics_url(self) -> str:
        """Return the address of the Prometheus metrics."""
        return f"http://{_LOCALHOST}:{self._ports[2]}/metrics"

    def __enter__(self) -> Self:
        """Start the server."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the server."""
        self.stop()

    def start(self, ports: tuple[int, int, int] = (0, 0, 0)) -> None:
        """Start the server and wait until it and its models are ready.

        Args:
            ports: HTTP, gRPC and metrics; 0 takes a free one.

        Raises:
            ServiceError: there is no installation, or the server did not become ready; the message
                holds the end of its log.
        """
        environment = find_triton()
        backends = Path(self._folder.name) / "backends"
        environment.write_backend_directory(backends)
        self._ports = _free_ports(ports)
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        prefix = f"admlops_triton_{os.getpid()}_{self._ports[1]}_"
        with self.log_file.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-I", supervisor.__file__, prefix, str(_STOP_GRACE_S)),
                    self._folder.name,
                    *self._command(environment, backends, prefix),
                ],
                env=environment.variables() | self._variables,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in a terminal reaches the owner alone
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server and wait for it; does nothing when it does not run."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
            process.wait()
        self._folder.cleanup()

    def is_running(self) -> bool:
        """Return whether the server's process lives."""
        return self._process is not None and self._process.poll() is None

    def log_tail(self) -> str:
        """Return the errors in the server's log, else its last lines."""
        lines = self.log_file.read_text(errors="replace").splitlines()
        first = next((n for n, line in enumerate(lines) if _FAILURE.search(line)), None)
        start = len(lines) - _NUM_LOG_LINES_SHOWN if first is None else first
        return "\n".join(lines[max(start, 0) :][:_NUM_LOG_LINES_SHOWN])

    def _command(self, environment: TritonEnvironment, backends: Path, prefix: str) -> list[str]:
        http, grpc, metrics = self._ports
        return [
            str(environment.program),
            f"--model-repository={self.repository}",
            f"--backend-directory={backends}",
            f"--backend-config=python,shm-region-prefix-name={prefix}",
            "--model-control-mode=explicit",
            *(f"--load-model={model}" for model in self.models),
            *(f"--http-address={_LOCALHOST}", f"--http-port={http}"),
            *(f"--grpc-address={_LOCALHOST}", f"--grpc-port={grpc}"),
            *(f"--metrics-address={_LOCALHOST}", f"--metrics-port={metrics}"),
            "--allow-gpu-metrics=false",
            "--disable-auto-complete-config",
            "--exit-timeout-secs=5",
        ]

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while time.monotonic() < deadline:
            if not self.is_running():
                raise ServiceError(
                    f"Triton: the server for {self.repository} ended while it started. "
                    f"Its log says\n{self.log_tail()}"
                )
            if self._is_ready():
                return
            time.sleep(_POLL_S)
        raise ServiceError(
            f"Triton: the server for {self.repository} was not ready within "
            f"{_READY_TIMEOUT_S:.0f} s. Its log says\n{self.log_tail()}"
        )

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection(
            _LOCALHOST, self._ports[0], timeout=_READY_TIMEOUT_S
        )
        try:
            connection.request("GET", "/v2/health/ready")
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:  # refused: the server does not listen yet
            return False
        finally:
            connection.close()


def _free_ports(wanted: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the wanted ports, each 0 replaced by a free one.

    Raises:
        ServiceError: a wanted port is taken.
    """
    holders = []
    try:
        for port in wanted:
            holder = socket.socket()
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holders.append(holder)
            try:
                holder.bind((_LOCALHOST, port))
            except OSError as error:
                raise ServiceError(
                    f"Triton: port {port} of {_LOCALHOST} is taken ({error.strerror}); "
                    "choose another, or 0 for a free one"
                ) from error
        http, grpc, metrics = (int(holder.getsockname()[1]) for holder in holders)
    finally:
        for holder in holders:
            holder.close()
    return http, grpc, metrics
