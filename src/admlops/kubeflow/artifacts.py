"""Artifacts of finished runs, from the object store that KFP writes them to."""

import os
from pathlib import Path
from urllib.parse import urlsplit

from minio import Minio
from minio.credentials import EnvAWSProvider
from minio.error import MinioException
from urllib3 import PoolManager, Retry, Timeout
from urllib3.exceptions import HTTPError

from admlops.errors import ServiceError
from admlops.files import write_atomically
from admlops.kubeflow.profile import ObjectStore

_SCHEMES = ("s3", "minio")
_DEFAULT_ENDPOINT = "https://s3.amazonaws.com"


def download_report(prefix: str, store: ObjectStore | None, folder: Path) -> Path | None:
    """Fetch the page that the step `report` made in a run.

    KFP keeps an artifact under ``<root>/<pipeline>/<run>/<task>/<execution>/<output>``.

    Args:
        prefix: ``s3://bucket/root/pipeline/run``.
        store: the S3 service; AWS_ENDPOINT_URL comes before it, since a cluster's inner address
            cannot be reached from outside. Credentials come from AWS_ACCESS_KEY_ID and
            AWS_SECRET_ACCESS_KEY.
        folder: where the page is put, as ``report.html``.

    Returns:
        The file, or None where the run made no report or its store is no S3 service.

    Raises:
        ServiceError: the store cannot be reached or refuses.
    """
    address = urlsplit(prefix)
    if address.scheme not in _SCHEMES:
        return None
    named = store.endpoint if store else None
    endpoint = os.environ.get("AWS_ENDPOINT_URL") or named or _DEFAULT_ENDPOINT
    region = store.region if store else None
    pool = PoolManager(timeout=Timeout(connect=5, read=60), retries=Retry(total=2))
    client = Minio(
        urlsplit(endpoint).netloc,
        credentials=EnvAWSProvider(),
        secure=endpoint.startswith("https://"),
        region=region,
        http_client=pool,
    )
    try:
        path = f"{address.path.strip('/')}/"
        names = [
            str(item.object_name)
            for item in client.list_objects(address.netloc, prefix=path, recursive=True)
        ]
        name = next((name for name in names if _is_report(name.removeprefix(path))), None)
        if name is None:
            return None
        with client.get_object(address.netloc, name) as answer:
            content = answer.read()
            answer.release_conn()
    except (MinioException, HTTPError, ValueError) as error:
        message = f"object store at {endpoint}: reading {prefix} failed: {error}"
        raise ServiceError(message) from error
    finally:
        pool.clear()
    write_atomically(folder / "report.html", content)
    return folder / "report.html"


def _is_report(path: str) -> bool:
    task, *_, output = path.split("/")
    return task.startswith("report") and output in ("report", "report.html")
