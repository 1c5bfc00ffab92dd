"""Opens recordings: MCAP files, ROS 1 bags and rosbag2 folders, whatever is inside."""

import os
import re
import tempfile
import weakref
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from admlops.checks.findings import FindingLog
from admlops.errors import DataError
from admlops.recordings import mcap_file, ros1_bag, sqlite_bag
from admlops.recordings.bag_metadata import METADATA_FILE, BagMetadata, read_metadata
from admlops.recordings.messages import Container, Place, RawMessage
from admlops.recordings.unpacking import unpack_file, unpack_message

SUFFIXES = (".mcap", ".db3", ".bag")
ENCODINGS = ("cdr", "ros1")

_PACKED_SUFFIX = ".zstd"


class Recording:
    """One recorded drive, read as a stream; use it in a `with` statement.

    Attributes:
        path: the file or folder.
        name: what its log is called in the lake.
        files: its files, in order.
        metadata: what metadata.yaml says, or None.
        log: what was found wrong with the files while they were read.
    """

    def __init__(self, path: Path, files: tuple[Path, ...], metadata: BagMetadata | None) -> None:
        """Take a recording of known files; `open_recording` finds them."""
        self.path = path
        self.name = recording_name(path)
        self.files = files
        self.metadata = metadata
        self.log = FindingLog()
        self._is_packed_by_message = metadata is not None and metadata.compression_mode == "message"
        self._open: dict[int, Container] = {}
        self._unpacked: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        """Return the recording."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close all files."""
        self.close()

    def __getstate__(self) -> dict[str, object]:
        """Return what another process needs to open the files by itself."""
        return self.__dict__ | {"_open": {}, "_unpacked": None}

    def close(self) -> None:
        """Close all files; the recording may be read again and opens them anew."""
        for container in self._open.values():
            container.close()
        self._open.clear()
        if self._unpacked is not None:
            self._unpacked.cleanup()
            self._unpacked = None

    def messages(self) -> Iterator[RawMessage]:
        """Yield every message, file by file in the order of writing; memory stays bounded.

        Damage is noted in `log`; what lies behind it is read where that can be.
        """
        self.log = FindingLog()
        counts: Counter[str] = Counter()
        for index, file in enumerate(self.files):
            try:
                container = self._container(index)
            except DataError as error:
                self._note_damage(str(error))
                continue
            for message in container.messages(self._note_damage):
                counts[message.topic.name] += 1
                if not self._is_packed_by_message:
                    yield message
                    continue
                try:
                    data = unpack_message(message.data)
                except DataError as error:
                    self._note_damage(f"{file.name}: {error}")
                    continue
                yield RawMessage(message.topic, message.log_time_ns, data, message.place)
        self._compare_counts(counts)

    def read(self, place: Place) -> bytes | memoryview:
        """Return the data of one message again.

        Raises:
            DataError: the file is damaged there.
        """
        if not 0 <= place.file < len(self.files):
            raise DataError(f"{self.path}: has no file {place.file}")
        data = self._container(place.file).read(place)
        return unpack_message(data) if self._is_packed_by_message else data

    def _note_damage(self, what: str) -> None:
        self.log.add("REC002", str(self.path), what)

    def _compare_counts(self, counts: Counter[str]) -> None:
        expected = self.metadata.num_messages if self.metadata else {}
        for topic, count in sorted(expected.items()):
            if counts[topic] != count:
                what = f"{counts[topic]} messages, {METADATA_FILE} says {count}"
                self.log.add("REC003", f"{self.path.name} {topic}", what)

    def _container(self, index: int) -> Container:
        if index not in self._open:
            path = self.files[index]
            if path.suffix == _PACKED_SUFFIX:
                path = self._unpack(path)
            self._open[index] = open_container(path, index)
        return self._open[index]

    def _unpack(self, packed: Path) -> Path:
        if self._unpacked is None:
            self._unpacked = tempfile.TemporaryDirectory(prefix="admlops-recording-")
            weakref.finalize(self, self._unpacked.cleanup)
        target = Path(self._unpacked.name) / packed.stem
        with target.open("wb") as file:
            unpack_file(packed, file)
        return target


def open_container(path: Path, file_index: int = 0) -> Container:
    """Open one file by its first bytes.

    Raises:
        DataError: it is empty, or of no known kind.
    """
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    if not start:
        raise DataError(f"{path}: is empty")
    if start.startswith(ros1_bag.MAGIC):
        return ros1_bag.Ros1Bag(path, file_index)
    if start.startswith(sqlite_bag.MAGIC):
        return sqlite_bag.SqliteBag(path, file_index)
    return mcap_file.McapFile(path, file_index)


def open_recording(path: Path) -> Recording:
    """Open an MCAP file, a bag, or a folder of rosbag2 with or without metadata.yaml.

    Raises:
        DataError: there is no recording, its first file is of no known kind, or no topic is
            serialised in a known way.
    """
    metadata = None
    if path.is_file():
        files: tuple[Path, ...] = (path,)
    elif path.is_dir():
        if (path / METADATA_FILE).is_file():
            metadata = read_metadata(path)
            _refuse_unknown_encodings(path, metadata)
            files = metadata.files
        else:
            files, _ = _entries(path)
    else:
        raise DataError(f"{path}: no such file or folder")
    if not files:
        raise DataError(f"{path}: holds no recording; expected files {', '.join(SUFFIXES)}")
    if files[0].suffix != _PACKED_SUFFIX:
        open_container(files[0]).close()
    return Recording(path, files, metadata)


def recording_name(path: Path) -> str:
    """Return what a recording is called: its folder, or its file without suffixes."""
    return path.name if path.is_dir() else _stem(path)


def name_below(path: Path, root: Path) -> str:
    """Return a recording's name by its place below a folder, whose parts are joined by "-"."""
    folders = path.relative_to(root).parts[:-1]
    return "-".join((*folders, recording_name(path)))


def find_recordings(root: Path, max_depth: int = 16) -> list[Path]:
    """Return every recording at or below a path: files, and folders of files that go together.

    A folder with rosbag2's metadata.yaml is one recording, and so is one whose files are parts of
    one name, numbered from 0 as rosbag2 does; other files stand for themselves. Links to folders
    are not followed.

    Args:
        root: a file or folder.
        max_depth: how many folders deep to look.

    Raises:
        DataError: a folder cannot be listed.
    """
    if root.is_file():
        return [root] if _kind(root) in SUFFIXES else []
    if _is_bag_folder(root):
        return [root]
    files, folders = _entries(root)
    found = [root] if _are_parts(files) else [*files]
    if max_depth > 0:
        for folder in folders:
            found += find_recordings(folder, max_depth - 1)
    return found


def _is_bag_folder(folder: Path) -> bool:
    try:
        with (folder / METADATA_FILE).open("rb") as file:
            return b"rosbag2_bagfile_information" in file.read(4096)
    except OSError:
        return False


def _refuse_unknown_encodings(path: Path, metadata: BagMetadata) -> None:
    names = set(metadata.encodings.values())
    if names and not names & set(ENCODINGS):
        raise DataError(
            f"{path}: messages are serialised as {', '.join(sorted(names))}; "
            f"{' and '.join(ENCODINGS)} are read: record with a usual middleware (RMW)"
        )


def _entries(folder: Path) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Return the files of recordings in a folder, in the order of their parts, and its folders."""
    try:
        with os.scandir(folder) as found:
            entries = [(Path(item.path), item.is_dir(follow_symlinks=False)) for item in found]
    except FileNotFoundError:  # it has gone since its parent was listed
        return (), ()
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror})") from error
    files = [path for path, is_dir in entries if _kind(path) in SUFFIXES and path.is_file()]
    folders = sorted(path for path, is_dir in entries if is_dir)
    return tuple(sorted(files, key=_natural_order)), tuple(folders)


def _are_parts(files: tuple[Path, ...]) -> bool:
    """Return whether files are numbered parts, from 0 on, of one recording."""
    parts = [re.fullmatch(r"(.*)_(\d+)", _stem(file)) for file in files]
    found = [(part[1], int(part[2])) for part in parts if part]
    is_one = len({name for name, _ in found}) == 1 and len({_kind(file) for file in files}) == 1
    return len(files) > 1 and is_one and [number for _, number in found] == [*range(len(files))]


def _kind(file: Path) -> str:
    return Path(file.stem).suffix if file.suffix == _PACKED_SUFFIX else file.suffix


def _stem(file: Path) -> str:
    return Path(file.stem).stem if file.suffix == _PACKED_SUFFIX else file.stem


def _natural_order(file: Path) -> list[tuple[int, str]]:
    """Sort "part_10" behind "part_9"."""
    parts = re.split(r"(\d+)", file.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
