"""References to datasets, access to object stores, and what their errors mean."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from admlops.errors import DataError, ServiceError

StorageOptions = Mapping[str, str]

_REFERENCE = re.compile(r"^(?P<uri>.+)@(?P<version>[A-Za-z0-9][A-Za-z0-9._-]*)$")

_ENVIRONMENT = {
    "AWS_ENDPOINT_URL": "aws_endpoint",
    "AWS_ACCESS_KEY_ID": "aws_access_key_id",
    "AWS_SECRET_ACCESS_KEY": "aws_secret_access_key",
    "AWS_SESSION_TOKEN": "aws_session_token",
    "AWS_DEFAULT_REGION": "aws_region",
    "AWS_REGION": "aws_region",
}
"""Variables that are read for s3:// references, and the storage option that each one sets."""

_RETRIES = {"client_max_retries": "2", "client_retry_timeout": "20", "connect_timeout": "5s"}


def split_reference(reference: str) -> tuple[str, str]:
    """Return the URI and the version or tag ("" where none is named) of ``uri@version``.

    >>> split_reference("s3://bucket/lake.lance@v1")
    ('s3://bucket/lake.lance', 'v1')
    """
    match = _REFERENCE.match(reference)
    return (match["uri"], match["version"]) if match else (reference, "")


def is_remote(uri: str) -> bool:
    """Return whether the URI leads to an object store and not to a local folder."""
    return "://" in uri and not uri.startswith("file://")


def absolute_uri(uri: str) -> str:
    """Return a local folder's absolute path, so that a reference holds in any folder."""
    return uri if "://" in uri else os.path.abspath(uri)  # noqa: PTH100 - resolves no links


def resolve_options(uri: str, given: StorageOptions | None) -> dict[str, str]:
    """Return the options to reach `uri`: those given, else those of the environment.

    For ``s3://``: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
    and AWS_REGION (or AWS_DEFAULT_REGION). An endpoint that starts with ``http://`` allows plain
    HTTP and path-style requests.
    """
    if not uri.startswith("s3://"):
        return dict(given or {})
    options = dict(_RETRIES)
    for variable, name in _ENVIRONMENT.items():
        if os.environ.get(variable):
            options[name] = os.environ[variable]
    options |= {name.lower(): value for name, value in (given or {}).items()}
    endpoint = options.get("aws_endpoint") or options.get("endpoint", "")
    if endpoint.startswith("http://"):
        options.setdefault("allow_http", "true")
    options.setdefault("aws_region", "us-east-1")
    return options


@contextmanager
def explain_errors(uri: str, doing: str) -> Iterator[None]:
    """Turn what the store raises inside the block into errors that say what to do.

    Raises:
        DataError: a local dataset is corrupt or cannot be written.
        ServiceError: an object store failed or cannot be reached.
    """
    try:
        yield
    except (OSError, ValueError, RuntimeError, pa.ArrowException) as error:
        what = str(error).split(", /home/")[0].splitlines()[0][:400]
        if is_remote(uri):
            service = os.environ.get("AWS_ENDPOINT_URL", "the object store")
            raise ServiceError(
                f"{uri}: {doing} failed at {service}: {what}. Check the endpoint and the "
                "credentials (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)"
            ) from error
        raise DataError(
            f"{uri}: {doing} failed: {what}. If files of the dataset were removed or changed, "
            "open an older version (uri@version) or ingest the source again"
        ) from error


def datasets_beside(uri: str) -> list[str]:
    """Return the local datasets in the folder that would hold `uri`, for messages."""
    folder = Path(uri).parent
    if is_remote(uri) or not folder.is_dir():
        return []
    return sorted(str(path.parent) for path in folder.glob("*/_versions"))
