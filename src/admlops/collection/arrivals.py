"""Which recordings below a folder are complete: the rule of each format."""

import re
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from admlops.errors import DataError
from admlops.files import digest_file, digest_folder
from admlops.recordings.bag_metadata import METADATA_FILE, read_metadata
from admlops.recordings.mcap_file import MAGIC
from admlops.recordings.recording import find_recordings
from admlops.recordings.source import find_mapping

DONE_SUFFIX = ".done"
"""An empty file of the recording's name and this says that the recording is complete."""

_NUMBERED = re.compile(r"_\d+$")
_INDEX_FIELD = b"index_pos="

Signature = tuple[tuple[str, int, int], ...]
"""Name, size and time of change in nanoseconds of each file of a recording."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A recording that is complete.

    Attributes:
        path: its file or folder.
        signature: what it, and the mapping beside it, looked like.
    """

    path: Path
    signature: Signature

    def is_unchanged(self) -> bool:
        """Return whether it still looks the same."""
        return sign(self.path) + _sign_mapping(self.path) == self.signature

    def digest(self) -> str:
        """Return the SHA-256 of its content."""
        return digest_file(self.path) if self.path.is_file() else digest_folder(self.path)


@dataclass
class Arrivals:
    """Looks at a folder again and again.

    A recording is complete when its format says so: an MCAP file ends with its magic, a ROS 1 bag
    has an index, a rosbag2 folder has metadata.yaml and all files that it names; or when a file
    "<name>.done" lies beside it. What never says so, as one whose recorder was killed, is
    complete when nothing of it has changed for `settle_s`. Numbered parts without metadata.yaml
    are complete when nothing in their folder has changed for so long, since another may follow.

    Attributes:
        root: the folder.
        settle_s: how long nothing changes.
        looks_once: whether there is no second look: times of change alone must then be old enough.
    """

    root: Path
    settle_s: float
    looks_once: bool = False
    _first_seen: dict[Path, tuple[Signature, float]] = field(default_factory=dict)

    def complete(self) -> Iterator[Arrival]:
        """Yield the recordings that are complete now, by path."""
        for path in sorted(find_recordings(self.root)):
            signature = sign(path)
            if signature and (says_complete(path) or self._is_settled(path, signature)):
                yield Arrival(path, signature + _sign_mapping(path))

    def _is_settled(self, path: Path, signature: Signature) -> bool:
        watched = sign(path.parent) if is_numbered(path) else signature
        known, since_s = self._first_seen.get(path, ((), 0.0))
        if known != watched:
            since_s = time.monotonic()
            self._first_seen[path] = (watched, since_s)
        latest_s = max(changed_ns for _, _, changed_ns in watched) * 1e-9
        if time.time() - latest_s < self.settle_s:
            return False
        return self.looks_once or time.monotonic() - since_s >= self.settle_s


def sign(path: Path) -> Signature:
    """Return the signature of a file, or of the files in a folder; empty if it has gone."""
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
    except FileNotFoundError:
        return ()
    rows = []
    for file in files:
        try:
            status = file.stat()
        except FileNotFoundError:
            continue
        if not file.is_dir():
            rows.append((file.name, status.st_size, status.st_mtime_ns))
    return tuple(rows)


def _sign_mapping(path: Path) -> Signature:
    mapping = find_mapping(path)
    return () if mapping is None or mapping.parent == path else sign(mapping)


def is_numbered(path: Path) -> bool:
    """Return whether a file is a numbered part, which others may follow."""
    return path.is_file() and _NUMBERED.search(path.name.split(".")[0]) is not None


def says_complete(path: Path) -> bool:
    """Return whether a recording, or a marker beside it, says that it is complete."""
    if path.with_name(path.name + DONE_SUFFIX).is_file():
        return True
    if path.is_dir():
        return (path / METADATA_FILE).is_file() and _has_all_files(path)
    if is_numbered(path):
        return False
    try:
        return _ends_well(path)
    except OSError:  # it has gone, or cannot be read: that shows when it has settled
        return False


def _ends_well(path: Path) -> bool:
    with path.open("rb") as file:
        if path.suffix == ".mcap":
            size = path.stat().st_size
            file.seek(max(0, size - len(MAGIC)))
            return size > 2 * len(MAGIC) and file.read() == MAGIC
        return path.suffix == ".bag" and _has_index(file.read(4096))


def _has_all_files(folder: Path) -> bool:
    try:
        return all(file.is_file() for file in read_metadata(folder).files)
    except DataError:  # half written, or damaged for good: it settles
        return False


def _has_index(start: bytes) -> bool:
    """Return whether a ROS 1 bag was closed: its header then says where the index is."""
    at = start.find(_INDEX_FIELD) + len(_INDEX_FIELD)
    if at < len(_INDEX_FIELD) or len(start) < at + 8:
        return False
    return int(struct.unpack_from("<Q", start, at)[0]) > 0
