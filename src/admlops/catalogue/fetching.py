"""Fetches a dataset of the catalogue: accepts its terms, downloads, unpacks, keeps account."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from admlops.catalogue.acceptance import require_acceptance
from admlops.catalogue.archives import UnpackHaltError, UnpackLimits, merge_into, unpack
from admlops.catalogue.download import Surroundings, WantedFile, download
from admlops.catalogue.entry import DatasetEntry, RemoteFile
from admlops.catalogue.transfer import Connection
from admlops.errors import ConfigError, DataError
from admlops.files import OWN_FOLDER, write_atomically

FETCHED_FILE = "fetched.json"
_DOWNLOADS, _DRAFTS, _LOCK_FILE = "downloads", "unpacking", "lock"


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """What to fetch, and how.

    Attributes:
        parts: of the dataset, or names of files; all where empty.
        accept: whether the terms are accepted now.
        accepted_by: by whom; the current user where empty.
        token: sent to the servers named in the catalogue; "" for none.
        mirror: folder URL that holds files of the same names; "" for the catalogue's own URLs.
        keep_archives: whether archives stay after they are unpacked.
        limits: of unpacking.
    """

    parts: tuple[str, ...] = ()
    accept: bool = False
    accepted_by: str = ""
    token: str = ""
    mirror: str = ""
    keep_archives: bool = False
    limits: UnpackLimits = field(default_factory=UnpackLimits)


@dataclass(frozen=True, slots=True)
class FetchReport:
    """What came of it.

    Attributes:
        num_files: that the request asks for.
        num_fetched: of them, downloaded now; the others were there.
        num_bytes: of the files downloaded now.
        unverified: names of files without a public checksum.
    """

    num_files: int
    num_fetched: int
    num_bytes: int
    unverified: tuple[str, ...]


def fetch(
    entry: DatasetEntry, destination: Path, request: FetchRequest, around: Surroundings
) -> FetchReport:
    """Bring a dataset's files into a folder, unpacked; what is there already is left alone.

    Killed at any moment and run again, it ends with the same files.

    Raises:
        ConfigError: the terms are not accepted, a part is unknown, the dataset must be downloaded
            by hand, or another fetch is at work in the folder.
        DataError: a file is not what was published, cannot be unpacked, or finds no room.
        ServiceError: a server refuses or does not answer.
    """
    wanted = choose_files(entry, request.parts)
    _require_own(destination)
    require_acceptance(entry, destination, request.accepted_by, accept=request.accept)
    own = destination / OWN_FOLDER
    connection = Connection(around.retry, request.token)
    num_fetched = num_bytes = 0
    with _locked(own):
        journal = _Journal(own / FETCHED_FILE, entry.name)
        _require_room(wanted, journal, destination, around)
        try:
            for file in wanted:
                if file.name in journal:
                    continue
                num_bytes += _fetch_file(file, destination, journal, request, connection, around)
                num_fetched += 1
        finally:
            connection.close()
        for name in (_DOWNLOADS, _DRAFTS):
            if (own / name).is_dir() and not any((own / name).iterdir()):
                (own / name).rmdir()
    unverified = tuple(file.name for file in wanted if file.checksum is None)
    return FetchReport(len(wanted), num_fetched, num_bytes, unverified)


def choose_files(entry: DatasetEntry, parts: Sequence[str]) -> list[RemoteFile]:
    """Return the files of some parts of a dataset, or of all.

    Raises:
        ConfigError: no such part, or nothing can be fetched without a person.
    """
    if not entry.fetchable:
        raise ConfigError(
            f"{entry.name}: cannot be fetched, its publisher wants a person: {entry.instructions} "
            f"Then: admlops collect register DIR --dataset {entry.name}"
        )
    known = {file.part for file in entry.files} | {file.name for file in entry.files}
    for part in parts:
        if part not in known:
            raise ConfigError(f"{entry.name}: no part {part!r}; it has {', '.join(sorted(known))}")
    return [f for f in entry.files if not parts or f.part in parts or f.name in parts]


class _Journal:
    """Which files of a dataset are in place, by name; written when one is."""

    def __init__(self, path: Path, dataset: str) -> None:
        self._path, self._dataset = path, dataset
        try:
            content: Any = json.loads(path.read_bytes())
            known, self._files = content["dataset"], dict(content["files"])
        except FileNotFoundError:
            known, self._files = dataset, {}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: cannot be read ({error}); remove it to start anew") from error
        if known != dataset:
            raise ConfigError(f"{path.parent.parent}: holds {known}; choose another destination")

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def enter(self, name: str, facts: dict[str, Any]) -> None:
        self._files[name] = facts
        content = {"dataset": self._dataset, "files": self._files}
        write_atomically(self._path, json.dumps(content, indent=2, sort_keys=True) + "\n")


def _fetch_file(
    file: RemoteFile,
    destination: Path,
    journal: _Journal,
    request: FetchRequest,
    connection: Connection,
    around: Surroundings,
) -> int:
    url = f"{request.mirror.rstrip('/')}/{file.name}" if request.mirror else file.url
    archive = destination / OWN_FOLDER / _DOWNLOADS / file.name
    checksum = file.checksum
    sha256 = download(
        WantedFile(
            url=url,
            path=archive,
            num_bytes=file.num_bytes,
            algorithm=checksum.algorithm if checksum else "",
            digest=checksum.value if checksum else "",
        ),
        connection,
        around,
    )
    num_bytes = archive.stat().st_size
    target = destination / file.into
    num_files = 1
    if file.unpack:
        num_files = _unpack_into(archive, target, destination, request, around)
        if not request.keep_archives:
            archive.unlink()
    else:
        target.mkdir(parents=True, exist_ok=True)
        os.replace(archive, target / file.name)
    facts = {"url": url, "num_bytes": num_bytes, "sha256": sha256, "num_files": num_files}
    journal.enter(file.name, facts | {"verified": checksum is not None})
    return num_bytes


def _unpack_into(
    archive: Path, target: Path, destination: Path, request: FetchRequest, around: Surroundings
) -> int:
    draft = destination / OWN_FOLDER / _DRAFTS / archive.name
    if draft.exists():
        shutil.rmtree(draft)  # of a run that was killed
    try:
        num_files = unpack(archive, draft, request.limits, around.free_bytes)
    except UnpackHaltError:
        raise
    except DataError:
        archive.unlink()  # else it would be found broken again
        raise
    merge_into(draft, target)
    return num_files


def _require_own(destination: Path) -> None:
    """Refuse a folder that holds something else: files of the same names would be replaced."""
    if not destination.exists() or (destination / OWN_FOLDER).is_dir():
        return
    if not destination.is_dir() or any(destination.iterdir()):
        raise ConfigError(
            f"{destination}: holds something that was not fetched; choose an empty or new folder, "
            "or use `admlops collect register` on what is there"
        )


def _require_room(
    wanted: Sequence[RemoteFile], journal: _Journal, destination: Path, around: Surroundings
) -> None:
    """Refuse before the first byte what the known sizes say will not fit."""
    needed = 0
    for file in wanted:
        if file.name not in journal and file.num_bytes is not None:
            part = destination / OWN_FOLDER / _DOWNLOADS / f"{file.name}.part"
            needed += file.num_bytes - (part.stat().st_size if part.is_file() else 0)
    free = around.free_bytes(destination)
    if needed > free:
        raise DataError(f"{destination}: {needed:,} bytes are to come, {free:,} are free")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK_FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"{folder.parent}: another fetch is at work there") from error
        yield
