"""One HTTP answer: what its headers say of a file, and its bytes."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from pydantic import Field
from requests.auth import AuthBase

from admlops.config import Config
from admlops.errors import ConfigError, DataError, ServiceError

_CHUNK_BYTES = 1 << 20
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")
_LOCAL_HOSTS = {"localhost", "127.0.0.1", "::1"}


class RetryConfig(Config):
    """How patiently a server is asked."""

    max_tries: int = Field(default=8, ge=1)
    """Tries in a row that bring nothing new before giving up."""
    first_wait_s: float = Field(default=1.0, ge=0)
    """Wait after the first failure; it doubles with each."""
    longest_wait_s: float = Field(default=120.0, ge=0)
    """Longest wait, also where the server asks for more."""
    connect_timeout_s: float = Field(default=15.0, gt=0)
    """Longest wait for a connection."""
    read_timeout_s: float = Field(default=60.0, gt=0)
    """Longest silence within an answer."""

    def wait_s(self, num_failures: int, asked_s: float) -> float:
        """Return the wait after some failures in a row, at least what the server asks for."""
        doubled = self.first_wait_s * 2.0 ** min(max(num_failures - 1, 0), 30)
        return min(max(doubled, asked_s), self.longest_wait_s)


class InterruptedTransferError(ServiceError):
    """A transfer broke off and may succeed when it is tried again.

    Attributes:
        asked_s: seconds that the server asked to wait.
    """

    def __init__(self, message: str, asked_s: float = 0.0) -> None:
        super().__init__(message)
        self.asked_s = asked_s


@dataclass(frozen=True, slots=True)
class Validators:
    """What tells whether two answers are parts of the same file.

    Attributes:
        etag: of the answer; "" where the server gives none.
        last_modified: of the answer; "" likewise.
        num_bytes: of the whole file; None where the server does not say.
    """

    etag: str = ""
    last_modified: str = ""
    num_bytes: int | None = None

    @property
    def condition(self) -> str:
        """Return what If-Range may hold: a strong ETag, or else the date; "" for neither."""
        return self.etag if self.etag.startswith('"') else self.last_modified

    def contradicts(self, other: "Validators") -> bool:
        """Return whether something that both know differs."""
        mine = (self.etag, self.last_modified, self.num_bytes)
        theirs = (other.etag, other.last_modified, other.num_bytes)
        pairs = zip(mine, theirs, strict=True)
        return any(a not in ("", None) and b not in ("", None) and a != b for a, b in pairs)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that brings bytes, or says that none are left.

    Attributes:
        start: offset of its first byte in the file.
        validators: of the file.
        response: the open answer.
    """

    start: int
    validators: Validators
    response: requests.Response

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes as they were sent, without undoing a Content-Encoding.

        Raises:
            InterruptedTransferError: the connection broke, or ended before the announced length.
        """
        try:
            # read1 hands over what has come; a read of a whole chunk would lose it when cut
            while chunk := self.response.raw.read1(_CHUNK_BYTES, decode_content=False):
                yield chunk
        except urllib3.exceptions.HTTPError as error:
            raise InterruptedTransferError(f"the connection broke ({error})") from error


class _BearerToken(AuthBase):
    def __init__(self, token: str) -> None:
        self.token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request


class _Session(requests.Session):
    def get_redirect_target(self, resp: Any) -> str | None:  # noqa: ANN401 - as in the base class
        target: str | None = super().get_redirect_target(resp)
        if target and urlsplit(resp.url).scheme == "https" and target.startswith("http:"):
            raise ServiceError(f"{resp.url}: redirects from https to plain http; not followed")
        return target


class Connection:
    """Asks servers for files; redirects lose the token when they lead to another host."""

    def __init__(self, retry: RetryConfig, token: str = "") -> None:
        self._retry = retry
        self._token = token
        self._session = _Session()
        self._session.max_redirects = 10

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    @contextmanager
    def ask(self, url: str, start: int, condition: str) -> Iterator[Answer]:
        """Yield the answer to a request for a file from the byte `start` on.

        Raises:
            InterruptedTransferError: worth another try: no connection, 429, 5xx.
            ServiceError: another try will bring the same.
        """
        try:
            response = self._session.get(
                url,
                headers=_headers(start, condition),
                stream=True,
                timeout=(self._retry.connect_timeout_s, self._retry.read_timeout_s),
                auth=self._auth(url),
            )
        except (requests.exceptions.SSLError, requests.exceptions.TooManyRedirects) as error:
            raise ServiceError(f"{url}: {error}") from error
        except (requests.ConnectionError, requests.Timeout) as error:
            raise InterruptedTransferError(f"{url}: no answer ({error})") from error
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise ServiceError(f"{url}: cannot be asked for ({error})") from error
        with response:
            yield _read_head(response, url, start)

    def _auth(self, url: str) -> _BearerToken | None:
        parts = urlsplit(url)
        if not self._token:
            return None
        if parts.scheme != "https" and parts.hostname not in _LOCAL_HOSTS:
            raise ConfigError(f"{url}: a token is not sent over plain http; unset its variable")
        return _BearerToken(self._token)


def _headers(start: int, condition: str) -> dict[str, str]:
    headers = {"Accept-Encoding": "identity", "User-Agent": "admlops"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if condition:
            headers["If-Range"] = condition
    return headers


def _read_head(response: requests.Response, url: str, start: int) -> Answer:
    etag = response.headers.get("ETag", "")
    modified = response.headers.get("Last-Modified", "")
    status = response.status_code
    if status == 416:
        _, num_bytes = _read_range(response)
        return Answer(start, Validators(etag, modified, num_bytes), response)
    if status not in (200, 206):
        _refuse(response, url)
    _refuse_pages(response, url)
    if status == 200:
        length = response.headers.get("Content-Length", "")
        num_bytes = int(length) if length.isdecimal() and length.isascii() else None
        return Answer(0, Validators(etag, modified, num_bytes), response)
    first, num_bytes = _read_range(response)
    if first != start:
        raise ServiceError(f"{url}: asked for the bytes from {start} on, got those from {first} on")
    return Answer(start, Validators(etag, modified, num_bytes), response)


def _read_range(response: requests.Response) -> tuple[int | None, int | None]:
    """Return the first byte and the size of the whole that Content-Range states."""
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if match is None:
        return None, None
    return (
        int(match[1]) if match[1] else None,
        int(match[3]) if match[3] != "*" else None,
    )


def _refuse(response: requests.Response, url: str) -> None:
    status = response.status_code
    if status in _TRANSIENT:
        asked_s = _retry_after_s(response.headers.get("Retry-After", ""))
        raise InterruptedTransferError(f"{url}: the server answered {status}", asked_s)
    if status in (401, 403):
        raise ServiceError(
            f"{url}: the server answered {status}; register with the publisher, and put the token "
            "it gives you, if any, into the variable that token_variable names"
        )
    raise ServiceError(f"{url}: the server answered {status}; look the file up on its home page")


def _refuse_pages(response: requests.Response, url: str) -> None:
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml"):
        raise DataError(
            f"{url}: a page came instead of a file, most likely one to sign in; download by hand "
            "and use `admlops collect register`"
        )


def _retry_after_s(text: str) -> float:
    if text.isdecimal() and text.isascii():
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return max((when - datetime.now(tz=when.tzinfo)).total_seconds(), 0.0)
