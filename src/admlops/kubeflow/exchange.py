"""A folder that goes from one pod to another through the store: one archive, there whole or not."""

import os
import tarfile
import tempfile
from pathlib import Path

from admlops.errors import DataError
from admlops.files import write_folder_atomically
from admlops.serving.object_store import ObjectFolder

_ARCHIVE = "folder.tar"


def send_folder(folder: Path, uri: str) -> None:
    """Put a folder where another pod fetches it.

    Args:
        folder: what is sent.
        uri: ``s3://bucket/folder``, or a folder of a volume that both pods mount.

    Raises:
        ServiceError: the store cannot be reached or refuses.
    """
    with tempfile.TemporaryDirectory() as draft:
        archive = Path(draft) / _ARCHIVE
        with tarfile.open(archive, "w") as file:
            file.add(folder, arcname=".")
        if "://" in uri:
            ObjectFolder(uri, os.environ).upload(_ARCHIVE, archive)
            return
        with write_folder_atomically(Path(uri)) as target:
            (target / _ARCHIVE).write_bytes(archive.read_bytes())


def fetch_folder(uri: str, folder: Path) -> None:
    """Write what was sent to `uri` as a folder, whole or not at all.

    Raises:
        DataError: nothing was sent, or it is damaged or leads out of the folder.
        ServiceError: the store cannot be reached or refuses.
    """
    with tempfile.TemporaryDirectory() as draft:
        archive = Path(uri) / _ARCHIVE
        if "://" in uri:
            archive = Path(draft) / _ARCHIVE
            ObjectFolder(uri, os.environ).download(_ARCHIVE, archive)
        try:
            with tarfile.open(archive) as file, write_folder_atomically(folder) as target:
                file.extractall(target, filter="data")
        except (OSError, tarfile.TarError) as error:
            raise DataError(f"{uri}: no folder came back whole ({error})") from error
