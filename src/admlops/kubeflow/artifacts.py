"""Artifacts of finished runs, from the object store that KFP writes them to."""

import os
from pathlib import Path

from admlops.errors import ConfigError, DataError, ServiceError
from admlops.files import write_atomically
from admlops.kubeflow.profile import ObjectStore
from admlops.serving.object_store import ObjectFolder

_MAX_REPORT_BYTES = 256 << 20
_OUTPUT = "report"


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
        ServiceError: the store cannot be reached, refuses, or no credentials are given.
    """
    scheme, _, path = prefix.partition("://")
    if scheme not in ("s3", "minio"):
        return None
    environment = dict(os.environ)
    if store:
        environment.setdefault("AWS_REGION", store.region)
        if store.endpoint:
            environment.setdefault("AWS_ENDPOINT_URL", store.endpoint)
    try:
        run = ObjectFolder(f"s3://{path}", environment, attempts=2)
        for task in run.folders():
            for execution in run.folders(task) if task.startswith(_OUTPUT) else []:
                content = run.read(f"{task}/{execution}/{_OUTPUT}", _MAX_REPORT_BYTES)
                write_atomically(folder / "report.html", content)
                return folder / "report.html"
    except (ConfigError, DataError) as error:
        raise ServiceError(f"reading the report failed: {error}") from error
    return None
