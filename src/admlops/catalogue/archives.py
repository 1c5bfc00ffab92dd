"""Unpacks archives from strangers: nothing gets out of the folder, and nothing fills the disk.

Only files and folders are taken. A link, a device, an absolute path, a path with "..", an entry
that comes twice, a cut or damaged archive, or one that grows beyond its limits is refused as a
whole, with nothing left behind.
"""

import bz2
import gzip
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, NoReturn, cast

from pydantic import Field

from admlops.config import Config
from admlops.errors import DataError
from admlops.files import OWN_FOLDER

_CHUNK_BYTES = 1 << 20
_BLOCK_BYTES = 512
_HEADER_ALLOWANCE = 128 << 10
_MAX_PATH_BYTES, _MAX_NAME_BYTES, _MAX_DEPTH = 1024, 255, 64
_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    gzip.BadGzipFile,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
    IndexError,
    KeyError,
    struct.error,
)
_TAR_OPENERS: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
}
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)


class UnpackHaltError(DataError):
    """The archive may be good, but the disk cannot take it."""


class UnpackLimits(Config):
    """How much may come out of an archive."""

    max_entries: int = Field(default=5_000_000, ge=1)
    """Files and folders."""
    max_bytes: int = Field(default=4 << 40, ge=1)
    """Of all files together."""
    max_ratio: float = Field(default=200.0, ge=1)
    """Unpacked bytes per packed byte, beyond the first 16 MiB."""
    spare_bytes: int = Field(default=64 << 20, ge=0)
    """Stays free on the disk."""


@dataclass
class _Meter:
    """Counts what comes out of one archive, and stops it at its limits."""

    path: Path
    limits: UnpackLimits
    free_bytes: Callable[[Path], int]
    num_entries: int = 0
    num_bytes: int = 0

    def enter(self, name: str) -> PurePosixPath:
        """Return the safe path of an entry."""
        self.num_entries += 1
        if self.num_entries > self.limits.max_entries:
            self.refuse(f"it has more than {self.limits.max_entries} entries")
        path = _safe_path(name)
        if path is None:
            self.refuse(f"the entry {name[:200]!r} has a path that is not taken")
        return path

    def add(self, num_bytes: int) -> None:
        """Count bytes that are about to be written, or announced to be."""
        self.num_bytes += num_bytes
        packed = self.path.stat().st_size
        most = min(self.limits.max_bytes, (16 << 20) + int(packed * self.limits.max_ratio))
        if self.num_bytes > most:
            self.refuse(f"more than {most:,} bytes come out of its {packed:,}")

    def take_room(self, folder: Path, num_bytes: int) -> None:
        """Insist that the disk has room for some bytes."""
        if self.free_bytes(folder) < num_bytes + self.limits.spare_bytes:
            raise UnpackHaltError(
                f"{self.path}: not unpacked: {num_bytes:,} bytes do not fit on the disk of "
                f"{folder}; make room and run it again"
            )

    def refuse(self, why: str) -> NoReturn:
        """Refuse the archive."""
        raise DataError(f"{self.path}: not unpacked: {why}")


def unpack(
    archive: Path,
    folder: Path,
    limits: UnpackLimits,
    free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
) -> int:
    """Unpack a zip or a tar (plain, gz, bz2) into a new folder; return the number of files.

    Raises:
        DataError: the archive is broken, holds what is not taken, is too large, or the disk has
            no room; the folder is removed.
    """
    meter = _Meter(archive, limits, free_bytes)
    folder.mkdir(parents=True)
    try:
        with _explained(archive):
            is_zip = _first_bytes(archive).startswith(b"PK")
            num_files = _unpack_zip(meter, folder) if is_zip else _unpack_tar(meter, folder)
        if meter.num_entries == 0:
            meter.refuse("it is empty")
        return num_files
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def merge_into(folder: Path, destination: Path) -> None:
    """Move everything below `folder` to `destination`, replacing files of the same path.

    Raises:
        DataError: a file is in the way of a folder, or a folder in the way of a file.
    """
    destination.mkdir(parents=True, exist_ok=True)
    for item in sorted(folder.iterdir()):
        target = destination / item.name
        if item.is_dir() and target.is_dir():
            merge_into(item, target)
        elif target.exists() and item.is_dir() != target.is_dir():
            raise DataError(f"{target}: in the way of what is unpacked; move it away")
        else:
            os.replace(item, target)
    if not any(folder.iterdir()):
        folder.rmdir()


@contextmanager
def _explained(archive: Path) -> Iterator[None]:
    try:
        yield
    except _BROKEN as error:
        what = f"{type(error).__name__}: {error}"
        raise DataError(f"{archive}: not unpacked: it is cut or damaged ({what[:300]})") from error
    except OSError as error:
        kind = DataError if error.errno is None else UnpackHaltError  # bz2 has no errno
        raise kind(f"{archive}: not unpacked: {error}") from error


def _safe_path(name: str) -> PurePosixPath | None:
    """Return a relative path without surprises, or None."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or not parts or ".." in parts or "\\" in name:
        return None
    if any(ord(letter) < 32 or 0xD800 <= ord(letter) < 0xE000 for letter in name):
        return None
    if parts[0].lower() == OWN_FOLDER or (len(parts[0]) == 2 and parts[0][1] == ":"):
        return None
    if len(parts) > _MAX_DEPTH or any(len(part.encode()) > _MAX_NAME_BYTES for part in parts):
        return None
    return PurePosixPath(*parts) if len(name.encode()) <= _MAX_PATH_BYTES else None


def _write(meter: _Meter, source: IO[bytes], target: Path, *, counted: bool) -> None:
    """Copy one file to a path where nothing is yet, watching limits and disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        file = target.open("xb")
    except FileExistsError:
        meter.refuse(f"the entry {target.name!r} comes twice, or as file and folder")
    with file:
        while chunk := source.read(_CHUNK_BYTES):
            if not counted:
                meter.add(len(chunk))
            meter.take_room(target.parent, len(chunk))
            file.write(chunk)


def _unpack_zip(meter: _Meter, folder: Path) -> int:
    with zipfile.ZipFile(meter.path) as archive:
        members = archive.infolist()
        for member in members:
            meter.add(member.file_size)  # announced; zipfile never reads more than that
        meter.take_room(folder, meter.num_bytes)
        num_files = 0
        for member in members:
            kind = stat.S_IFMT(member.external_attr >> 16)
            target = folder / meter.enter(member.filename)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or member.flag_bits & 1:
                meter.refuse(f"the entry {member.filename[:200]!r} is encrypted or no file")
            if member.compress_type not in _ZIP_METHODS:
                meter.refuse(f"the entry {member.filename[:200]!r} is packed in an unusual way")
            if member.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            with archive.open(member) as source:
                _write(meter, source, target, counted=True)
            num_files += 1
    return num_files


def _unpack_tar(meter: _Meter, folder: Path) -> int:
    num_files = 0
    with _open_stream(meter.path) as raw:
        stream = _TarStream(raw, meter)
        stream.allow(_HEADER_ALLOWANCE)  # opening reads the first header
        with tarfile.open(fileobj=cast("BinaryIO", stream), mode="r|") as archive:
            while True:
                stream.allow(_HEADER_ALLOWANCE)
                member = archive.next()
                if member is None:
                    break
                archive.members = []  # type: ignore[attr-defined] # else it keeps every entry
                stream.allow(None)
                num_files += _unpack_member(meter, archive, member, folder)
            stream.require_end(archive.offset)
        while rest := raw.read(_CHUNK_BYTES):  # padding; what is packed has its checksum behind it
            meter.add(len(rest))
    return num_files


def _unpack_member(
    meter: _Meter, archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path
) -> int:
    if member.isdir() and set(member.name.split("/")) <= {"", "."}:
        return 0  # the folder itself, as "./"
    target = folder / meter.enter(member.name)
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return 0
    if not member.isreg() or member.issparse() or member.size < 0:
        meter.refuse(f"the entry {member.name[:200]!r} is a link, a device or sparse")
    source = archive.extractfile(member)
    if source is None:
        meter.refuse(f"the entry {member.name[:200]!r} cannot be read")
    _write(meter, source, target, counted=False)
    if target.stat().st_size != member.size:
        meter.refuse(f"the entry {member.name[:200]!r} is cut")
    return 1


def _open_stream(path: Path) -> IO[bytes]:
    start = _first_bytes(path)
    for magic, opener in _TAR_OPENERS.items():
        if start.startswith(magic):
            return cast("IO[bytes]", opener(path))
    return path.open("rb")


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(8)


class _TarStream:
    """A tar's bytes, read in full blocks, with a bound on what one header may take.

    tarfile reads a long name or an extended header of any size into memory, and takes a damaged
    header or the end of the file for the end of the archive; both are caught here.
    """

    def __init__(self, raw: IO[bytes], meter: _Meter) -> None:
        self._raw = raw
        self._meter = meter
        self._left: int | None = None
        self._position = 0
        self._last = b""

    def allow(self, num_bytes: int | None) -> None:
        """Bound the bytes that may be read from here on; None lifts the bound."""
        self._left = num_bytes

    def read(self, num_bytes: int) -> bytes:
        """Return exactly so many bytes, fewer only at the end."""
        parts: list[bytes] = []
        missing = num_bytes
        while missing and (part := self._raw.read(missing)):
            parts.append(part)
            missing -= len(part)
        self._last = b"".join(parts)
        self._position += len(self._last)
        if self._left is not None:
            self._left -= len(self._last)
            if self._left < 0:
                self._meter.refuse("a header is larger than any honest one")
        return self._last

    def require_end(self, offset: int) -> None:
        """Insist that the archive was read up to its end mark, which is at `offset`."""
        start = offset - (self._position - len(self._last))
        block = self._last[start : start + _BLOCK_BYTES] if start >= 0 else b""
        if block != bytes(_BLOCK_BYTES):
            self._meter.refuse("it ends without its end mark; it is cut or damaged")
