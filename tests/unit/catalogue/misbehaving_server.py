"""A real HTTP server that misbehaves on request."""

from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

Reply = Callable[[BaseHTTPRequestHandler, bytes, int], None]


@dataclass
class Served:
    """What the server holds and does.

    Attributes:
        files: content by path.
        etags: ETag by path; a path without one gets none.
        script: replies to the next requests, in turn; after them every request is served well.
        ranges: whether Range is honoured.
        asked: the headers of every request, with the path under ":path".
    """

    files: dict[str, bytes] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)
    script: list[Reply] = field(default_factory=list)
    ranges: bool = True
    asked: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    def put(self, path: str, content: bytes, etag: str = '"v1"') -> str:
        self.files[path], self.etags[path] = content, etag
        return self.url + path


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Served

    def do_GET(self) -> None:
        served = self.served
        served.asked.append({**dict(self.headers), ":path": self.path})
        content = served.files.get(self.path, b"")
        start = self._start()
        if served.script:
            served.script.pop(0)(self, content, start)
            return
        if self.path not in served.files:
            send(self, 404, b"")
        elif start and start >= len(content):
            send(self, 416, b"", {"Content-Range": f"bytes */{len(content)}"})
        else:
            give(self, content, start)

    def _start(self) -> int:
        asked = self.headers.get("Range", "")
        condition = self.headers.get("If-Range", "")
        if not asked or not self.served.ranges:
            return 0
        if condition and condition != self.served.etags.get(self.path):
            return 0
        return int(asked.removeprefix("bytes=").rstrip("-"))

    def log_message(self, *_: object) -> None:
        """Stay silent."""


def head(handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str]) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()


def send(
    handler: BaseHTTPRequestHandler,
    status: int,
    body: bytes,
    headers: dict[str, str] | None = None,
) -> None:
    head(handler, status, {"Content-Length": str(len(body)), **(headers or {})})
    handler.wfile.write(body)


def give(
    handler: BaseHTTPRequestHandler,
    content: bytes,
    start: int,
    num_bytes: int | None = None,
    **changed: str,
) -> None:
    """Serve `content` from `start` on; after `num_bytes` the connection is cut."""
    headers = {"Content-Length": str(len(content) - start)}
    etag = handler.served.etags.get(handler.path)  # type: ignore[attr-defined]
    if etag:
        headers["ETag"] = etag
    if start:
        headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
    headers |= {name.replace("_", "-"): value for name, value in changed.items()}
    head(handler, 206 if start else 200, {k: v for k, v in headers.items() if v})
    end = len(content) if num_bytes is None else start + num_bytes
    handler.wfile.write(content[start:end])
    if num_bytes is not None:
        handler.close_connection = True


def cut(num_bytes: int, **changed: str) -> Reply:
    return lambda handler, content, start: give(handler, content, start, num_bytes, **changed)


def status(code: int, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, _content, _start: send(handler, code, b"", named)
