"""Files of one folder in an S3 bucket: read whole, streamed to disk, or written.

The settings come from the environment, under the names that every S3 client knows:
AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN; without
keys, the web identity of the pod (AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_ARN).
"""

import copy
import hashlib
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from admlops.errors import ConfigError, DataError, ServiceError

if TYPE_CHECKING:
    from minio import Minio

_DEFAULT_ENDPOINT = "https://s3.amazonaws.com"
_CHUNK_BYTES = 1 << 20
_ABSENT = ("NoSuchKey", "NoSuchBucket", "NoSuchObject")
_REFUSED = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken")
_CONNECT_TIMEOUT_S = 10.0
_READ_TIMEOUT_S = 60.0


class ObjectFolder:
    """A folder in a bucket; its files are named by their paths below it."""

    def __init__(
        self, uri: str, environment: Mapping[str, str], *, attempts: int = 3, pause_s: float = 1.0
    ) -> None:
        """Prepare a connection; nothing is sent yet.

        Args:
            uri: ``s3://bucket/folder``.
            environment: see the module's text.
            attempts: how often a file is asked for before giving up.
            pause_s: between attempts; doubles each time.

        Raises:
            ConfigError: the URI or a setting is wrong.
        """
        address = urlsplit(uri)
        if address.scheme != "s3" or not address.netloc or ".." in address.path.split("/"):
            raise ConfigError(f"{uri!r}: expected s3://bucket/folder")
        self.uri = uri.rstrip("/")
        self._bucket = address.netloc
        self._prefix = address.path.strip("/")
        self._endpoint = environment.get("AWS_ENDPOINT_URL") or _DEFAULT_ENDPOINT
        self._client = _connect(self._endpoint, environment)
        self._attempts = attempts
        self._pause_s = pause_s

    def within(self, folder: str) -> Self:
        """Return one of its folders."""
        inner = copy.copy(self)
        inner.uri = f"{self.uri}/{folder}"
        inner._prefix = self._key(folder)
        return inner

    def read(self, name: str, max_bytes: int) -> bytes:
        """Return a small file's bytes.

        Raises:
            DataError: there is no such file, or it is larger than allowed.
            ServiceError: the store cannot be reached or refuses.
        """
        parts: list[bytes] = []

        def take(chunk: bytes) -> None:
            parts.append(chunk)
            if sum(map(len, parts)) > max_bytes:
                raise DataError(f"{self.uri}/{name}: is larger than {max_bytes} bytes")

        self._stream(name, parts.clear, take)
        return b"".join(parts)

    def download(self, name: str, path: Path) -> tuple[int, str]:
        """Write a file to disk; return its number of bytes and its SHA-256.

        Raises:
            DataError: there is no such file.
            ServiceError: the store cannot be reached, refuses, or breaks off each time.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            digest = hashlib.sha256()

            def begin() -> None:
                nonlocal digest
                digest = hashlib.sha256()
                file.seek(0)
                file.truncate()

            def take(chunk: bytes) -> None:
                digest.update(chunk)
                file.write(chunk)

            self._stream(name, begin, take)
            return file.tell(), digest.hexdigest()

    def upload(self, name: str, path: Path) -> None:
        """Write a file into the bucket.

        Raises:
            ServiceError: the store cannot be reached or refuses.
        """

        def put() -> None:
            self._client.fput_object(self._bucket, self._key(name), str(path))

        self._call("writing", name, put)

    def folders(self, below: str = "") -> list[str]:
        """Return the names of the folders right below this one, or right below one of its folders.

        Raises:
            ServiceError: the store cannot be reached or refuses.
        """
        found: list[str] = []
        prefix = self._key(f"{below}/" if below else "")

        def ask() -> None:
            entries = self._client.list_objects(self._bucket, prefix=prefix)
            names = [str(entry.object_name).removeprefix(prefix) for entry in entries]
            found[:] = sorted(name.rstrip("/") for name in names if name.endswith("/"))

        self._call("listing", below, ask)
        return found

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name

    def _stream(self, name: str, begin: Callable[[], None], take: Callable[[bytes], None]) -> None:
        def get() -> None:
            begin()
            answer = self._client.get_object(self._bucket, self._key(name))
            try:
                for chunk in answer.stream(_CHUNK_BYTES):
                    take(chunk)
            finally:
                answer.close()
                answer.release_conn()

        self._call("reading", name, get)

    def _call(self, doing: str, name: str, call: Callable[[], None]) -> None:
        """Call the store, again where that may help.

        Raises:
            DataError: what is asked for is not there.
            ServiceError: the store cannot be reached, refuses, or fails each time.
        """
        from minio.error import MinioException
        from urllib3.exceptions import HTTPError

        what = f"{self.uri}/{name}"
        for attempt in range(1, self._attempts + 1):
            try:
                call()
            except (MinioException, HTTPError, ConnectionError, TimeoutError) as error:
                code = _code_of(error)
                if code in _ABSENT:
                    raise DataError(f"{what}: is missing ({code})") from error
                if code in _REFUSED or attempt == self._attempts:
                    raise ServiceError(
                        f"object store at {self._endpoint}: {doing} {what} failed after {attempt} "
                        f"attempt(s): {code or ' '.join(str(error).split())}. Check "
                        "AWS_ENDPOINT_URL, the keys and their rights, and the network policy"
                    ) from error
                time.sleep(self._pause_s * 2 ** (attempt - 1))
            else:
                return


def _code_of(error: Exception) -> str:
    """Return S3's code of an error; some servers' answers reach us as text only."""
    found = re.search(r"<Code>(\w+)</Code>", str(error))
    return found[1] if found else str(getattr(error, "code", "") or "")


def _connect(endpoint: str, environment: Mapping[str, str]) -> "Minio":
    try:
        from minio import Minio
        from minio.credentials import IamAwsProvider, Provider, StaticProvider
        from urllib3 import PoolManager, Retry, Timeout
    except ImportError as error:
        raise ServiceError(
            "object store: the client is not installed; install admlops with the extra [serve]"
        ) from error
    address = urlsplit(endpoint)
    if address.scheme not in ("http", "https") or not address.netloc or address.path.strip("/"):
        raise ConfigError(f"AWS_ENDPOINT_URL {endpoint!r}: expected http(s)://host[:port]")
    key, secret = (environment.get(f"AWS_{n}") for n in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"))
    credentials: Provider
    if key and secret:
        credentials = StaticProvider(key, secret, environment.get("AWS_SESSION_TOKEN"))
    elif environment.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
        credentials = IamAwsProvider()
    else:
        raise ConfigError(
            "object store: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (the "
            "secret admlops-s3 holds them on a cluster), or give the pod a web identity"
        )
    options: dict[str, Any] = {"retries": Retry(total=0)}
    return Minio(
        address.netloc,
        credentials=credentials,
        secure=address.scheme == "https",
        region=environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or None,
        http_client=PoolManager(
            timeout=Timeout(connect=_CONNECT_TIMEOUT_S, read=_READ_TIMEOUT_S), maxsize=8, **options
        ),
    )
