"""Where releases are kept, and the pointer that says which one is current.

::

    <releases_uri>/
      current.json          {"release_id": ..., "previous": ..., "changed_at": ...}
      releases/<id>/        immutable
      releases/.draft-*/    under construction
      published/<id>.json   the manifest that publishing handed on
"""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pydantic import Field

from admlops.config import Config
from admlops.errors import ConfigError, DataError
from admlops.files import write_atomically
from admlops.serving.release import read_record, require_intact
from admlops.structures.manifest import Manifest

POINTER_FILE = "current.json"
_NUM_DIGEST_LETTERS = 12


class Pointer(Config):
    """Which release is current."""

    release_id: str = Field(pattern=r"^\d{4,}-[0-9a-f]{12}$")
    """Its id."""
    previous: str = ""
    """The id that was current before; empty for the first."""
    changed_at: str
    """UTC time in ISO 8601."""


def is_newer(release_id: str, other: str) -> bool:
    """Return whether a release was made after another, by their numbers."""
    return _number(release_id) > _number(other)


def _number(release_id: str) -> int:
    return int(release_id.partition("-")[0])


class ReleaseStore:
    """A folder of immutable releases and the pointer to the current one."""

    def __init__(self, uri: str) -> None:
        """Open a store; it need not exist yet.

        Raises:
            ConfigError: the URI is of a kind that is not supported.
        """
        path = uri.removeprefix("file://")
        if "://" in path:
            raise ConfigError(
                f"releases_uri {uri!r}: releases are kept in a folder or in s3://bucket/folder"
            )
        self.root = Path(path).absolute()

    @property
    def folder(self) -> Path:
        """Return the folder that holds the releases."""
        return self.root / "releases"

    def ids(self) -> list[str]:
        """Return the ids of all releases, oldest first."""
        found = (path.name for path in self.folder.glob("[0-9]*-*") if path.is_dir())
        return sorted(found, key=lambda name: (_number(name), name))

    def path(self, release_id: str) -> Path:
        """Return a release's folder.

        Raises:
            DataError: there is no such release; the message lists those that are.
        """
        if release_id not in self.ids():
            raise DataError(
                f"{self.root}: there is no release {release_id!r}; releases are "
                f"{', '.join(self.ids()) or 'none yet: publish one'}"
            )
        return self.folder / release_id

    def current(self) -> Pointer | None:
        """Return the pointer, or None when nothing was published yet.

        Raises:
            DataError: the pointer's file is damaged.
        """
        path = self.root / POINTER_FILE
        if not path.exists():
            return None
        try:
            return Pointer.parse(json.loads(path.read_bytes()), where=str(path))
        except (OSError, ValueError, ConfigError) as error:
            raise DataError(
                f"{path}: the pointer is damaged ({error}); write it anew with a rollback to "
                f"one of {', '.join(self.ids()) or 'no releases'}"
            ) from error

    def current_path(self) -> Path:
        """Return the folder of the current release.

        Raises:
            DataError: nothing was published yet, or the pointer leads nowhere.
        """
        pointer = self.current()
        if pointer is None:
            raise DataError(f"{self.root}: nothing was published yet; run `admlops publish`")
        return self.path(pointer.release_id)

    def manifest_path(self, release_id: str) -> Path:
        """Return where the manifest of a published release is kept."""
        return self.root / "published" / f"{release_id}.json"

    def keep_manifest(self, release_id: str, manifest: Manifest) -> None:
        """Keep the manifest of a published release."""
        manifest.write(self.manifest_path(release_id))

    def uri_of(self, release_id: str) -> str:
        """Return where a release lies."""
        return str(self.folder / release_id)

    def find_model(self, model_digest: str) -> Path | None:
        """Return the manifest of the newest published release of a model, if there is one."""
        for release_id in reversed(self.ids()):
            path = self.manifest_path(release_id)
            if not path.is_file():
                continue
            if Manifest.read(path, "release").provenance.get("model_digest") == model_digest:
                return path
        return None

    def find_digest(self, digest: str) -> str | None:
        """Return the id of the release with this content, if there is one."""
        for release_id in self.ids():
            same_start = release_id.endswith(f"-{digest[:_NUM_DIGEST_LETTERS]}")
            if same_start and read_record(self.folder / release_id).digest == digest:
                return release_id
        return None

    def next_id(self, digest: str) -> str:
        """Return the id for new content: the next number and the digest's beginning."""
        ids = self.ids()
        number = _number(ids[-1]) + 1 if ids else 1
        return f"{number:04d}-{digest[:_NUM_DIGEST_LETTERS]}"

    @contextmanager
    def draft(self) -> Iterator[Path]:
        """Yield an empty folder beside the releases; what is left of it afterwards is removed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".draft-", dir=self.folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def adopt(self, draft: Path, release_id: str) -> Path:
        """Turn a draft into a release, at once.

        Raises:
            DataError: another process made a release of this id meanwhile.
        """
        target = self.folder / release_id
        draft.chmod(0o755)
        try:
            draft.rename(target)
        except OSError as error:
            raise DataError(
                f"{target}: another publication made it meanwhile; publish again"
            ) from error
        return target

    def activate(self, release_id: str) -> Pointer:
        """Make a release the current one; a reader sees the old pointer or the new one.

        Raises:
            DataError: there is no such release, or its files were changed.
        """
        require_intact(self.path(release_id))
        previous = self._previous_of(release_id)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        pointer = Pointer(release_id=release_id, previous=previous, changed_at=now)
        text = json.dumps(pointer.to_json_dict(), indent=2) + "\n"
        write_atomically(self.root / POINTER_FILE, text)
        return pointer

    def _previous_of(self, release_id: str) -> str:
        """Return what the new pointer names as previous; a damaged pointer does not hold it up."""
        try:
            before = self.current()
        except DataError:
            return ""
        if before is None:
            return ""
        return before.previous if before.release_id == release_id else before.release_id
