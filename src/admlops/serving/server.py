"""A release in the embedded Triton server."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from admlops.errors import ServiceError
from admlops.files import digest_folder
from admlops.serving.bucket_store import find_release
from admlops.serving.embedded import EmbeddedTriton
from admlops.serving.inventory import MODELS_FOLDER
from admlops.serving.release import SOURCE_FOLDER, read_record
from admlops.serving.repository import ENSEMBLE

SOURCE_VARIABLE = "ADMLOPS_RELEASE_SOURCE"
"""Tells the models (`triton_model.py`) where their source lies."""
_ALIVE_CHECK_S = 0.5


def embed_release(release: Path, log_file: Path | None = None) -> EmbeddedTriton:
    """Return a server for a release, not started yet.

    Its models import a copy of the release's source from a cache that is named by the source's
    digest: functions that numba compiled once are kept there, for all releases of the same code.
    """
    variables = {SOURCE_VARIABLE: str(stage_source(release / SOURCE_FOLDER))}
    return EmbeddedTriton(
        release / MODELS_FOLDER, (ENSEMBLE,), variables=variables, log_file=log_file
    )


def open_release(releases_uri: str, release_id: str | None = None) -> EmbeddedTriton:
    """Return a server for a release, the current one by default, not started yet.

    Raises:
        DataError: there is no such release, or its files were changed.
    """
    folder = find_release(releases_uri, release_id or "")
    record = read_record(folder)
    print(f"release  {record.release_id} ({', '.join(record.categories)}; {record.runtime})")
    return embed_release(folder, folder.parents[1] / "triton.log")


@contextmanager
def running_release(
    releases_uri: str, release_id: str | None, ports: tuple[int, int, int]
) -> Iterator[EmbeddedTriton]:
    """Yield a server that answers for a release, and stop it at the end.

    Args:
        releases_uri: where releases are kept.
        release_id: which one; None means the current one.
        ports: HTTP, gRPC and metrics; 0 takes a free one.

    Raises:
        DataError: there is no such release, or its files were changed.
        ServiceError: the server did not start.
    """
    server = open_release(releases_uri, release_id)
    try:
        server.start(ports)
        yield server
    finally:
        server.stop()


def serve_release(
    releases_uri: str, release_id: str | None = None, ports: tuple[int, int, int] = (0, 0, 0)
) -> None:
    """Serve a release, the current one by default, until interrupted.

    Args:
        releases_uri: where releases are kept.
        release_id: which one; None means the current one.
        ports: HTTP, gRPC and metrics; 0 takes a free one.

    Raises:
        DataError: there is no such release, or its files were changed.
        ServiceError: the server did not start, or ended by itself.
    """
    try:
        with running_release(releases_uri, release_id, ports) as server:
            url = server.grpc_url
            print(f"gRPC     {url}    admlops predict --url {url} --cloud FILE")
            print(f"HTTP     {server.http_url}\nmetrics  {server.metrics_url}")
            print(f"log      {server.log_file}\nCtrl-C stops it.", flush=True)
            while server.is_running():
                time.sleep(_ALIVE_CHECK_S)
            tail = server.log_tail()
            raise ServiceError(f"Triton: the server ended by itself. Its log says\n{tail}")
    except KeyboardInterrupt:
        print("stopping", file=sys.stderr)


def stage_source(source: Path) -> Path:
    """Return a copy of a release's source in the cache, made whole or not at all."""
    target = _cache_folder() / digest_folder(source)
    if not target.exists():
        draft = Path(tempfile.mkdtemp(dir=target.parent))
        try:
            shutil.copytree(source, draft, dirs_exist_ok=True)
            draft.rename(target)
        except OSError:
            shutil.rmtree(draft, ignore_errors=True)
            if not target.exists():  # another process was not first: the copy failed
                raise
    return target


def _cache_folder() -> Path:
    """Return a writable folder that outlives this process where the machine allows it."""
    named = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(named) if named else Path.home() / ".cache") / "admlops" / "source"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.mkdtemp(prefix="admlops-source-"))
    return folder
