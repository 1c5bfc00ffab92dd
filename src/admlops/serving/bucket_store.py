"""Releases that are kept in an S3 bucket, behind the same methods as those in a folder."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from admlops.errors import DataError
from admlops.files import write_atomically, write_folder_atomically
from admlops.serving.inventory import FILES_FILE, RELEASE_FILE, Inventory
from admlops.serving.loader import download_files
from admlops.serving.object_store import ObjectFolder
from admlops.serving.release import require_intact
from admlops.serving.store import POINTER_FILE, Pointer, ReleaseStore
from admlops.serving.upload import upload_release
from admlops.structures.manifest import Manifest

_MAX_PAPER_BYTES = 16 << 20
_RELEASES = "releases"


def open_store(uri: str) -> ReleaseStore:
    """Return the releases below a folder or ``s3://bucket/folder``; there need not be any yet.

    Raises:
        ConfigError: the URI is of a kind that is not supported, or S3's settings are wrong.
        ServiceError: the bucket cannot be reached.
    """
    return BucketStore(uri) if uri.startswith("s3://") else ReleaseStore(uri)


def find_release(uri: str, release_id: str = "") -> Path:
    """Return the folder of a published release, the current one by default, verified.

    Raises:
        ConfigError: the URI is of a kind that is not supported, or S3's settings are wrong.
        DataError: there is no such release, or its files were changed.
        ServiceError: the bucket cannot be reached.
    """
    store = open_store(uri)
    folder = store.path(release_id) if release_id else store.current_path()
    require_intact(folder)
    return folder


class BucketStore(ReleaseStore):
    """A working copy of a bucket's releases: papers at once, whole releases when asked for.

    What is adopted and activated here is in the bucket when the method returns; the release's
    files come before the pointer. The copy lives as long as the process.
    """

    def __init__(self, uri: str) -> None:
        """Connect, and fetch the papers.

        Raises:
            ConfigError: the URI or a setting of S3 is wrong.
            ServiceError: the bucket cannot be reached.
        """
        self._remote = ObjectFolder(uri, os.environ)
        copy = tempfile.mkdtemp(prefix="admlops-releases-")
        atexit.register(shutil.rmtree, copy, ignore_errors=True)
        super().__init__(copy)
        self._fetch_paper(POINTER_FILE)
        for release_id in self._remote.folders(_RELEASES):
            papers = f"{_RELEASES}/{release_id}"
            if self._exists(f"{papers}/{FILES_FILE}"):  # else its upload was broken off
                self._fetch_paper(f"{papers}/{RELEASE_FILE}")
                self._fetch_paper(self._manifest_name(release_id))

    def uri_of(self, release_id: str) -> str:
        """Return where a release lies, for those who come after this process."""
        return f"{self._remote.uri}/{_RELEASES}/{release_id}"

    def path(self, release_id: str) -> Path:
        """Return a release's folder, downloaded and verified.

        Raises:
            DataError: there is no such release, or it is damaged.
            ServiceError: the bucket cannot be reached.
        """
        path = super().path(release_id)
        if not (path / FILES_FILE).is_file():
            source = self._remote.within(f"{_RELEASES}/{release_id}")
            content = source.read(FILES_FILE, _MAX_PAPER_BYTES)
            inventory = Inventory.parse(content, f"{source.uri}/{FILES_FILE}")
            with write_folder_atomically(path) as draft:
                download_files(source, inventory, sorted(inventory.digests), draft)
                (draft / FILES_FILE).write_bytes(content)
        return path

    def adopt(self, draft: Path, release_id: str) -> Path:
        """Turn a draft into a release, and put it into the bucket.

        Raises:
            DataError: another process made a release of this id meanwhile.
            ServiceError: the bucket cannot be reached.
        """
        path = super().adopt(draft, release_id)
        upload_release(path, self._remote.within(f"{_RELEASES}/{release_id}"))
        return path

    def activate(self, release_id: str) -> Pointer:
        """Make a release the current one, here and in the bucket.

        Raises:
            DataError: there is no such release, or its files were changed.
            ServiceError: the bucket cannot be reached.
        """
        pointer = super().activate(release_id)
        self._remote.upload(POINTER_FILE, self.root / POINTER_FILE)
        return pointer

    def keep_manifest(self, release_id: str, manifest: Manifest) -> None:
        """Keep the manifest of a published release, here and in the bucket.

        Raises:
            ServiceError: the bucket cannot be reached.
        """
        super().keep_manifest(release_id, manifest)
        self._remote.upload(self._manifest_name(release_id), self.manifest_path(release_id))

    def _manifest_name(self, release_id: str) -> str:
        return self.manifest_path(release_id).relative_to(self.root).as_posix()

    def _exists(self, name: str) -> bool:
        try:
            self._remote.read(name, _MAX_PAPER_BYTES)
        except DataError:  # missing
            return False
        return True

    def _fetch_paper(self, name: str) -> None:
        """Copy one small file, if it is there."""
        try:
            write_atomically(self.root / name, self._remote.read(name, _MAX_PAPER_BYTES))
        except DataError:  # missing: nothing was published, or not by this version
            return
