"""Downloads of one file that survive anything: whole and checked, or not there.

Bytes go to `NAME.part`; `NAME.part.json` holds what tells whether the file on the server is still
the same. A download that is killed continues where it stopped, and starts anew when the server's
file has changed, when the server cannot continue, or when the digest of the whole is wrong.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

from admlops.catalogue.transfer import (
    Answer,
    Connection,
    InterruptedTransferError,
    RetryConfig,
    Validators,
)
from admlops.errors import DataError, ServiceError
from admlops.files import write_atomically

SPARE_BYTES = 64 << 20
"""Stays free on the disk."""


class Progress(Protocol):
    """Is told how far a file has come."""

    def show(self, name: str, num_bytes: int, total: int | None) -> None:
        """Show that `num_bytes` of `total` are there."""

    def wait(self, name: str, reason: str, wait_s: float) -> None:
        """Show why a file is asked for again in `wait_s` seconds."""


class Silent:
    """Shows nothing."""

    def show(self, name: str, num_bytes: int, total: int | None) -> None:
        """Do nothing."""

    def wait(self, name: str, reason: str, wait_s: float) -> None:
        """Do nothing."""


def free_bytes(folder: Path) -> int:
    """Return how many bytes can be written below a folder."""
    return shutil.disk_usage(folder).free


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a download needs of the world around it.

    Attributes:
        retry: how patiently servers are asked.
        progress: is told how far it has come.
        sleep: waits for some seconds.
        free_bytes: tells the space left below a folder.
    """

    retry: RetryConfig = field(default_factory=RetryConfig)
    progress: Progress = field(default_factory=Silent)
    sleep: Callable[[float], None] = time.sleep
    free_bytes: Callable[[Path], int] = free_bytes


@dataclass(frozen=True, slots=True)
class WantedFile:
    """A file to download.

    Attributes:
        url: where it is.
        path: where it goes.
        num_bytes: its exact size, if that is known beforehand.
        algorithm: of the published digest; "" where there is none.
        digest: published, in hexadecimal.
    """

    url: str
    path: Path
    num_bytes: int | None = None
    algorithm: str = ""
    digest: str = ""


def download(wanted: WantedFile, connection: Connection, around: Surroundings) -> str:
    """Bring a file to its path and return its SHA-256; nothing is asked if it is there and right.

    Raises:
        DataError: size or digest are not what they should be, twice; or the disk has no room.
        ServiceError: the server refuses, or brings nothing new in `max_tries` tries.
    """
    wanted.path.parent.mkdir(parents=True, exist_ok=True)
    if wanted.path.is_file():
        digests = _digest(wanted.path, wanted)
        if not _complaint(wanted, digests, wanted.path.stat().st_size):
            return digests["sha256"]
        wanted.path.unlink()
    while True:
        with _PartFile(wanted) as part:
            _receive_all(wanted, part, connection, around)
            digests = part.digests()
        complaint = _complaint(wanted, digests, part.num_bytes)
        if not complaint:
            os.replace(part.path, wanted.path)
            part.note.unlink(missing_ok=True)
            return digests["sha256"]
        part.discard()
        if part.num_pieces == 1:  # else pieces may not have belonged together: once more
            raise DataError(f"{wanted.url}: {complaint}; what came was thrown away")


def _complaint(wanted: WantedFile, digests: dict[str, str], num_bytes: int) -> str:
    if wanted.num_bytes not in (None, num_bytes):
        return f"{num_bytes} bytes came, {wanted.num_bytes} are expected"
    if wanted.digest and digests[wanted.algorithm] != wanted.digest:
        return (
            f"its {wanted.algorithm} is {digests[wanted.algorithm]}, published is {wanted.digest}"
        )
    return ""


def _receive_all(
    wanted: WantedFile, part: "_PartFile", connection: Connection, around: Surroundings
) -> None:
    """Ask until all bytes are there; give up when `max_tries` in a row bring nothing new."""
    num_failures, furthest = 0, part.num_bytes
    while True:
        try:
            _receive(wanted, part, connection, around)
            return
        except InterruptedTransferError as stop:
            num_failures = 0 if part.num_bytes > furthest else num_failures + 1
            furthest = max(furthest, part.num_bytes)
            if num_failures >= around.retry.max_tries:
                raise ServiceError(
                    f"{wanted.url}: gave up after {num_failures} tries that brought nothing new, "
                    f"at byte {part.num_bytes}; the last: {stop}. Run it again to continue"
                ) from stop
            wait_s = around.retry.wait_s(num_failures, stop.asked_s)
            around.progress.wait(wanted.path.name, str(stop), wait_s)
            around.sleep(wait_s)


def _receive(
    wanted: WantedFile, part: "_PartFile", connection: Connection, around: Surroundings
) -> None:
    if part.num_bytes and not (part.validators.condition or wanted.digest):
        part.restart(Validators())  # nothing would tell a changed file from the same
    asked_from = part.num_bytes
    with connection.ask(wanted.url, asked_from, part.validators.condition) as answer:
        if answer.response.status_code == 416:
            _settle_past_end(part, answer)
            return
        if answer.start == 0:
            part.restart(answer.validators)
        elif part.validators.contradicts(answer.validators):
            part.restart(Validators())
            raise InterruptedTransferError(f"{wanted.url}: the file changed; starting anew")
        _check_size(wanted, part, around)
        _append(wanted, part, answer, around)


def _settle_past_end(part: "_PartFile", answer: Answer) -> None:
    """Judge an answer that says there is nothing from our byte on: all is here, or it shrank."""
    whole = answer.validators.num_bytes == part.num_bytes
    if whole and not part.validators.contradicts(answer.validators):
        return
    part.restart(Validators())
    raise InterruptedTransferError("the file is shorter than what came before; starting anew")


def _check_size(wanted: WantedFile, part: "_PartFile", around: Surroundings) -> None:
    offered = part.validators.num_bytes
    if None not in (offered, wanted.num_bytes) and offered != wanted.num_bytes:
        part.restart(Validators())
        raise DataError(
            f"{wanted.url}: the server offers {offered} bytes, {wanted.num_bytes} are expected; "
            "the published file is another one by now"
        )
    missing = (offered or wanted.num_bytes or 0) - part.num_bytes
    free = around.free_bytes(part.path.parent)
    if missing + SPARE_BYTES > free:
        raise DataError(
            f"{part.path.parent}: {missing:,} bytes are missing and {free:,} are free; make room"
        )


def _append(wanted: WantedFile, part: "_PartFile", answer: Answer, around: Surroundings) -> None:
    total = wanted.num_bytes or part.validators.num_bytes
    room = around.free_bytes(part.path.parent) - SPARE_BYTES
    limit = total if total is not None else part.num_bytes + room
    part.num_pieces += 1
    for chunk in answer.chunks():
        if part.num_bytes + len(chunk) > limit:
            part.restart(Validators())
            raise DataError(f"{wanted.url}: more than the {limit:,} bytes came that it may have")
        part.append(chunk)
        around.progress.show(wanted.path.name, part.num_bytes, total)
    if total is not None and part.num_bytes < total:
        raise InterruptedTransferError(f"the connection ended at byte {part.num_bytes} of {total}")


class _PartFile:
    """What has come of a file, with running digests; opened with what came before."""

    def __init__(self, wanted: WantedFile) -> None:
        self.path = wanted.path.with_name(wanted.path.name + ".part")
        self.note = wanted.path.with_name(wanted.path.name + ".part.json")
        self.validators = Validators()
        self.num_bytes = 0
        self.num_pieces = 0
        self._wanted = wanted
        self._hashes = _hashes(wanted)

    def __enter__(self) -> Self:
        if not self._read_note():
            self.path.unlink(missing_ok=True)
        self._file = self.path.open("ab", buffering=0)
        with self.path.open("rb") as file:
            while chunk := file.read(1 << 20):
                self._count(chunk)
        self.num_pieces = int(self.num_bytes > 0)
        return self

    def __exit__(self, *_: object) -> None:
        os.fsync(self._file.fileno())
        self._file.close()

    def restart(self, validators: Validators) -> None:
        """Forget all bytes; those to come are of the file that `validators` describe."""
        self._file.truncate(0)
        self.num_bytes, self.num_pieces = 0, 0
        self._hashes = _hashes(self._wanted)
        self.validators = validators
        note = {
            "url": self._wanted.url,
            "etag": validators.etag,
            "last_modified": validators.last_modified,
            "num_bytes": validators.num_bytes,
        }
        write_atomically(self.note, json.dumps(note) + "\n")

    def append(self, chunk: bytes) -> None:
        """Add bytes.

        Raises:
            DataError: the disk is full.
        """
        left = memoryview(chunk)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written ({error.strerror})") from error
        self._count(chunk)

    def digests(self) -> dict[str, str]:
        """Return the digests of what is there, by algorithm."""
        return {name: item.hexdigest() for name, item in self._hashes.items()}

    def discard(self) -> None:
        """Remove all traces."""
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def _count(self, chunk: bytes) -> None:
        self.num_bytes += len(chunk)
        for item in self._hashes.values():
            item.update(chunk)

    def _read_note(self) -> bool:
        """Return whether the note is of this URL, and take its validators up."""
        try:
            note: Any = json.loads(self.note.read_bytes())
            known = Validators(note["etag"], note["last_modified"], note["num_bytes"])
        except (OSError, ValueError, KeyError, TypeError):
            return False
        self.validators = known
        return bool(note["url"] == self._wanted.url)


def _hashes(wanted: WantedFile) -> "dict[str, hashlib._Hash]":
    names = {"sha256", *([wanted.algorithm] if wanted.algorithm else [])}
    return {name: hashlib.new(name, usedforsecurity=False) for name in sorted(names)}


def _digest(path: Path, wanted: WantedFile) -> dict[str, str]:
    hashes = _hashes(wanted)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            for item in hashes.values():
                item.update(chunk)
    return {name: item.hexdigest() for name, item in hashes.items()}
