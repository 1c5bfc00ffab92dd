"""The journal of a watch: what became of each recording, by its content."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pydantic import Field

from admlops.collection.arrivals import Signature
from admlops.config import Config
from admlops.errors import ConfigError, DataError
from admlops.files import write_atomically


class Entry(Config):
    """What became of one recording."""

    digest: str
    """SHA-256 of its content."""
    path: str
    """Where it was, below the watched folder."""
    signature: Signature
    """What its files looked like."""
    outcome: Literal["ingested", "refused", "repeated"]
    """"repeated": another recording had the same content."""
    log: str
    """Its name in the lake."""
    num_frames: int = 0
    """Frames that can be made of it."""
    num_outside: int = 0
    """Frames that no trigger asked for."""
    num_dropped: int = 0
    """Frames that screening dropped."""
    num_refused: int = 0
    """Frames that could not be read or blurred."""
    num_kept: int = 0
    """Frames of it that the dataset holds."""
    version: int = 0
    """The dataset's version that holds them."""
    clips: tuple[str, ...] = ()
    """Files of its clips; the ledger of clips says which are still there."""
    privacy: str = ""
    """What was blurred, and by which detector."""
    detector: str = ""
    """What triggers asked what sweeps show."""
    rules: dict[str, int] = Field(default_factory=dict)
    """How often each rule fired."""
    findings: tuple[str, ...] = ()
    """The first findings of each rule."""


class Journal:
    """One file per content, each written as a whole; nothing else is remembered."""

    def __init__(self, folder: Path) -> None:
        """Read a journal, or start one.

        Raises:
            DataError: an entry cannot be read.
        """
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._by_digest: dict[str, Entry] = {}
        self._by_path: dict[tuple[str, Signature], Entry] = {}
        for file in sorted(folder.glob("*.json")):
            self._remember(_read(file))

    def knows(self, path: str, signature: Signature) -> bool:
        """Return whether a recording was dealt with, by its looks."""
        return (path, signature) in self._by_path

    def find(self, digest: str) -> Entry | None:
        """Return what became of a content, if it was dealt with."""
        return self._by_digest.get(digest)

    def write(self, entry: Entry) -> None:
        """Remember what became of a recording."""
        name = entry.digest
        if entry.outcome == "repeated":
            count = sum(known.digest == entry.digest for known in self._by_path.values())
            name = f"{entry.digest}.{count}"
        text = json.dumps(entry.to_json_dict(), indent=2)
        write_atomically(self.folder / f"{name}.json", text + "\n")
        self._remember(entry)

    def _remember(self, entry: Entry) -> None:
        self._by_path[entry.path, entry.signature] = entry
        if entry.outcome != "repeated":
            self._by_digest[entry.digest] = entry

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other watches out; the lock goes with the process, however it ends.

        Raises:
            ConfigError: another process holds it.
        """
        with (self.folder / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ConfigError(
                    f"{self.folder}: another process watches with this journal; end it first"
                ) from error
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield


def _read(file: Path) -> Entry:
    try:
        return Entry.parse(json.loads(file.read_bytes()), where=str(file))
    except (OSError, ValueError, ConfigError) as error:
        raise DataError(f"{file}: not an entry of a journal ({error}); remove it") from error
