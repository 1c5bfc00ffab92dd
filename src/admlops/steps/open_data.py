"""The origins of `collect` that are open datasets of the catalogue."""

import contextlib
import hashlib
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from admlops.catalogue.archives import UnpackLimits
from admlops.catalogue.entry import DatasetEntry
from admlops.catalogue.layout import require_layout
from admlops.catalogue.reading import find_entry
from admlops.catalogue.transfer import RetryConfig
from admlops.config import Config
from admlops.errors import DataError
from admlops.files import OWN_FOLDER, digest_folder, write_atomically
from admlops.steps.step import Scores

DIGEST_FILE = "digest.json"
TOKEN_VARIABLE = "ADMLOPS_DOWNLOAD_TOKEN"  # noqa: S105 - the variable's name


class CatalogueOrigin(Config):
    """Fetch an open dataset of the catalogue: accept its terms, download, unpack, check."""

    kind: Literal["catalogue"] = "catalogue"
    """Tells the origins apart."""
    dataset: str
    """Name in the catalogue; `admlops collect list` shows them."""
    parts: tuple[str, ...] = ()
    """Parts of the dataset, or names of its files; all when empty."""
    destination: Path | None = None
    """Folder to fill; what is there already is not fetched again. Without one the output itself is
    the folder, for pods that share no volume."""
    accept_licence: bool = False
    """Whether the dataset's terms are accepted; without it nothing is fetched."""
    accepted_by: str = ""
    """Who accepts them, for the record beside the data; the current user when empty."""
    token_variable: str = TOKEN_VARIABLE
    """Environment variable with the publisher's token, where one is needed; on a cluster a Secret
    fills it, by name. The token itself is never a setting."""
    mirror: str = ""
    """URL of a folder that holds the same files, as a mirror of your own; the publisher's own when
    empty."""
    keep_archives: bool = False
    """Whether archives stay beside what came out of them."""
    retry: RetryConfig = RetryConfig()
    """How patiently servers are asked."""
    limits: UnpackLimits = UnpackLimits()
    """How much may come out of an archive."""

    @property
    def entry(self) -> DatasetEntry:
        """Return what the catalogue says of the dataset."""
        return find_entry(self.dataset)


def fetch_dataset(origin: CatalogueOrigin, folder: Path) -> Scores:
    """Bring an open dataset into a folder.

    Raises:
        ConfigError: the terms are not accepted, or the dataset must be downloaded by hand.
        DataError: a file is not what was published, or what came lacks something.
        ServiceError: a server refuses or does not answer.
    """
    from admlops.catalogue.download import Surroundings
    from admlops.catalogue.fetching import FETCHED_FILE, FetchRequest, fetch

    request = FetchRequest(
        parts=origin.parts,
        accept=origin.accept_licence,
        accepted_by=origin.accepted_by,
        token=os.environ.get(origin.token_variable, ""),
        mirror=origin.mirror,
        keep_archives=origin.keep_archives,
        limits=origin.limits,
    )
    with _Bars() as bars:
        report = fetch(origin.entry, folder, request, Surroundings(origin.retry, bars))
    if not origin.parts:
        try:
            require_layout(origin.entry, folder)
        except DataError as error:
            note = folder / OWN_FOLDER / FETCHED_FILE
            raise DataError(f"{error}\nTo fetch everything anew, remove {note}") from error
    return {
        "num_files": float(report.num_files),
        "num_fetched": float(report.num_fetched),
        "num_bytes_fetched": float(report.num_bytes),
        "num_unverified": float(len(report.unverified)),
    }


def describe_terms(entry: DatasetEntry) -> dict[str, str]:
    """Return what a source manifest records of where an open dataset comes from."""
    facts = {"dataset": entry.name, "terms": entry.terms_url}
    facts |= {f"terms_digest.{name}": value for name, value in entry.terms_digests().items()}
    return facts | ({"format": entry.format} if entry.format else {})


def fingerprint(folder: Path) -> str:
    """Return a digest of the names, sizes and times of all files below a folder, without notes."""
    whole = hashlib.sha256()
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        status, name = file.stat(), file.relative_to(folder)
        if name.parts[0] != OWN_FOLDER:
            whole.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return whole.hexdigest()


def digest_fetched(folder: Path) -> str:
    """Return the digest of a fetched folder; hundreds of gigabytes are read again only if changed.

    The digest is noted beside the data, with the fingerprint that it belongs to.
    """
    note = folder / OWN_FOLDER / DIGEST_FILE
    present = fingerprint(folder)
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(note.read_bytes())
        if known["fingerprint"] == present:
            return str(known["digest"])
    digest = digest_folder(folder)
    write_atomically(note, json.dumps({"fingerprint": present, "digest": digest}) + "\n")
    return digest


class _Bars:
    """A bar per file on standard error."""

    def __init__(self) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def show(self, name: str, num_bytes: int, total: int | None) -> None:
        """Show that `num_bytes` of `total` are there."""
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total)
        self._bars.update(self._tasks[name], completed=num_bytes, total=total)

    def wait(self, name: str, reason: str, wait_s: float) -> None:
        """Show why a file is asked for again in `wait_s` seconds."""
        text = f"{name}: {reason}; again in {wait_s:.0f} s"
        self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)
