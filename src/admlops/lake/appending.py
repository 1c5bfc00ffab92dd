"""Streaming frames into a dataset: bounded memory, idempotent, atomic, safe beside others."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import lance
import pyarrow as pa
from lance.fragment import write_fragments

from admlops.lake.encoding import encode_frames
from admlops.lake.schema import COLUMNS, KEY_COLUMNS
from admlops.lake.storage import explain_errors
from admlops.structures.frame import Frame, FrameKey

COMMIT_FRAMES = 1024
"""Frames per commit at most: what a killed append loses, and the rows of a fragment."""
COMMIT_BYTES = 512 << 20
"""Sensor payload per commit at most."""
BATCH_FRAMES = 64
"""Frames that are held in memory at a time, at most."""
BATCH_BYTES = 16 << 20
"""Sensor payload that is held in memory at a time, about."""


@dataclass(slots=True)
class FrameFeed:
    """The frames of a source that a dataset does not hold yet, cut into commits and batches.

    Attributes:
        source: the frames; read once, from the front.
        present: the sensor digest of every frame that the dataset holds; grows with the feed.
        num_added: frames handed on.
        num_present: frames left out because they are in the dataset.
        conflicts: keys left out because they are in the dataset with other sensor data.
        failure: what the source raised, if it did.
    """

    source: Iterator[Frame]
    present: dict[FrameKey, str]
    num_added: int = 0
    num_present: int = 0
    conflicts: list[FrameKey] = field(default_factory=list)
    failure: BaseException | None = None
    _waiting: tuple[Frame, str] | None = None

    def has_more(self) -> bool:
        """Return whether a new frame is left, reading up to it."""
        while self._waiting is None:
            frame = next(self.source, None)
            if frame is None:
                return False
            digest = frame.sensor_digest()
            known = self.present.get(frame.key)
            if known is None:
                self._waiting = (frame, digest)
            elif known == digest:
                self.num_present += 1
            else:
                self.conflicts.append(frame.key)
        return True

    def note_duplicates(self, count: int) -> None:
        """Count frames as present that another writer had added before."""
        self.num_added -= count
        self.num_present += count

    def commit_batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the row batches of the next commit; remember what the source raised."""
        num_frames, num_bytes = 0, 0
        try:
            while num_frames < COMMIT_FRAMES and num_bytes < COMMIT_BYTES:
                frames, digests, batch_bytes = self._next_batch(COMMIT_FRAMES - num_frames)
                if not frames:
                    return
                num_frames += len(frames)
                num_bytes += batch_bytes
                yield encode_frames(frames, digests)
        except BaseException as error:
            self.failure = error
            raise

    def _next_batch(self, limit: int) -> tuple[list[Frame], list[str], int]:
        frames: list[Frame] = []
        digests: list[str] = []
        num_bytes = 0
        while len(frames) < min(limit, BATCH_FRAMES) and num_bytes < BATCH_BYTES:
            if not self.has_more() or self._waiting is None:
                break
            frame, digest = self._waiting
            self._waiting = None
            self.present[frame.key] = digest
            self.num_added += 1
            frames.append(frame)
            digests.append(digest)
            num_bytes += payload_bytes(frame)
        return frames, digests, num_bytes


def payload_bytes(frame: Frame) -> int:
    """Return how many bytes of sensor data a frame holds."""
    lidar = 0 if frame.lidar is None else frame.lidar.points.nbytes
    return lidar + sum(len(image.encoded) for image in frame.cameras)


def append_frames(
    dataset: lance.LanceDataset,
    frames: Iterable[Frame],
    options: Mapping[str, str],
    *,
    whole: bool = False,
) -> tuple[lance.LanceDataset, FrameFeed]:
    """Append what is new among `frames`, one version per commit; return the last one.

    A commit holds only frames that were absent, in the source's order, so a killed append that is
    run again continues where it stopped and ends with the same rows in the same order.

    Args:
        dataset: the latest version.
        frames: read once, from the front.
        options: storage options.
        whole: commit once, when all is written: a reader sees all of it or nothing, and a killed
            append starts anew.

    Raises:
        DataError: the dataset cannot be written.
        ServiceError: the object store failed.
    """
    dataset = remove_duplicates(dataset)
    feed = FrameFeed(iter(frames), load_sensor_digests(dataset))
    fragments: list[lance.FragmentMetadata] = []
    while feed.has_more():
        read_version = dataset.version
        fragments += write_next_fragments(dataset, feed, options)
        if whole and feed.has_more():
            continue
        dataset, num_doubled = commit_fragments(dataset, fragments, options)
        fragments = []
        if dataset.version != read_version + 1:
            feed.note_duplicates(num_doubled)
            feed.present |= load_sensor_digests(dataset)
    return dataset, feed


def commit_fragments(
    dataset: lance.LanceDataset,
    fragments: Sequence[lance.FragmentMetadata],
    options: Mapping[str, str],
) -> tuple[lance.LanceDataset, int]:
    """Make written fragments rows of a new version.

    Returns:
        The version, and how many of the rows were removed because another writer had added the
        same frames in the meantime.
    """
    read_version = dataset.version
    with explain_errors(dataset.uri, "committing frames"):
        dataset = lance.LanceDataset.commit(
            dataset,
            lance.LanceOperation.Append(list(fragments)),
            read_version=read_version,
            storage_options=dict(options) or None,
        )
    if dataset.version == read_version + 1:
        return dataset, 0
    num_rows = dataset.count_rows()
    dataset = remove_duplicates(dataset)
    return dataset, int(num_rows - dataset.count_rows())


def write_next_fragments(
    dataset: lance.LanceDataset, feed: FrameFeed, options: Mapping[str, str]
) -> list[lance.FragmentMetadata]:
    """Write the frames of the next commit into files that no version holds."""
    reader = pa.RecordBatchReader.from_batches(COLUMNS, feed.commit_batches())
    try:
        with explain_errors(dataset.uri, "writing frames"):
            return write_fragments(
                reader, dataset, mode="append", storage_options=dict(options) or None
            )
    finally:
        if feed.failure is not None:
            raise feed.failure


def load_sensor_digests(dataset: lance.LanceDataset) -> dict[FrameKey, str]:
    """Return the sensor digest of every frame."""
    with explain_errors(dataset.uri, "reading keys"):
        table = dataset.to_table(columns=[*KEY_COLUMNS, "sensor_digest"])
    return dict(zip(keys_of(table), table["sensor_digest"].to_pylist(), strict=True))


def keys_of(table: pa.Table) -> list[FrameKey]:
    """Return the key of each row."""
    columns = [table[name].to_pylist() for name in KEY_COLUMNS]
    return [FrameKey(*values) for values in zip(*columns, strict=True)]


def remove_duplicates(dataset: lance.LanceDataset) -> lance.LanceDataset:
    """Delete the later rows of keys that two writers appended at the same time.

    Whoever commits second sees that a version lies between, and mends; if it is killed before,
    the next append does.
    """
    with explain_errors(dataset.uri, "looking for duplicate frames"):
        table = dataset.to_table(columns=list(KEY_COLUMNS), with_row_id=True)
        keys = keys_of(table)
        repeated = {key for key, count in Counter(keys).items() if count > 1}
        if not repeated:
            return dataset
        seen: set[FrameKey] = set()
        surplus = []
        for row_id, key in sorted(zip(table["_rowid"].to_pylist(), keys, strict=True)):
            if key in repeated and key in seen:
                surplus.append(row_id)
            seen.add(key)
        dataset.delete(f"_rowid IN ({', '.join(map(str, surplus))})")
        return dataset
