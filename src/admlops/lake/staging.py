"""Frames in files of a dataset that no version holds yet, and the commit that makes them rows.

Several writers stage shards of one source at the same time; one of them, or another, then merges
what they staged. Nothing is visible before the merge commits, and then all of it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Self

import lance
from lance.file import LanceFileReader
from pydantic import Field

from admlops.config import Config
from admlops.errors import DataError
from admlops.lake.appending import (
    FrameFeed,
    commit_fragments,
    keys_of,
    load_sensor_digests,
    remove_duplicates,
    write_next_fragments,
)
from admlops.lake.opening import check_schema, create_table, open_latest
from admlops.lake.schema import KEY_COLUMNS
from admlops.lake.storage import absolute_uri, explain_errors, resolve_options
from admlops.lake.versions import AppendReport
from admlops.structures.frame import Frame, FrameKey

_EVER = timedelta(days=365 * 100)


class Staged(Config):
    """What a writer that does not commit leaves behind, in the order of its frames."""

    fragments: tuple[str, ...] = ()
    """Lance's description of each written fragment, as JSON."""
    num_present: int = Field(default=0, ge=0)
    """Frames left out because the dataset held them, or because they had come before."""
    conflicts: tuple[FrameKey, ...] = ()
    """Keys left out because the dataset held other sensor data under them."""


def stage_frames(
    uri: str,
    frames: Iterable[Frame],
    licences: Sequence[str] = (),
) -> Staged:
    """Write the frames that a dataset does not hold, without making them part of a version.

    Streams. Killed at any moment, or repeated, it leaves files that no version holds, which
    `remove_orphans` deletes.

    Args:
        uri: of the dataset; where there is none, an empty one is made.
        frames: read once, from the front.
        licences: of a dataset that is made.

    Raises:
        DataError: the dataset cannot be written, or is of another schema version.
        ServiceError: the object store failed.
    """
    table, options = _open(uri, licences)
    feed = FrameFeed(iter(frames), load_sensor_digests(table))
    return _stage(table, feed, options)


class Merge:
    """What several writers staged, on its way into one new version.

    Staged frames are taken in the order of the source. At the end the dataset holds the frames,
    in the order, that appending all of them by one writer would have given.
    """

    def __init__(
        self, table: lance.LanceDataset, options: Mapping[str, str], present: dict[FrameKey, str]
    ) -> None:
        self._table = table
        self._options = options
        self._present = present
        self._fragments: list[lance.FragmentMetadata] = []
        self._num_added = 0
        self._num_present = 0
        self._conflicts: list[FrameKey] = []

    @classmethod
    def begin(cls, uri: str) -> Self:
        """Look at what the latest version holds.

        Raises:
            DataError: there is no dataset.
            ServiceError: the object store failed.
        """
        table, options = _open(uri)
        table = remove_duplicates(table)
        return cls(table, options, load_sensor_digests(table))

    def take(self, staged: Staged) -> bool:
        """Take what a writer staged; return False where its frames must be read again.

        That is so where its files are gone, and where some of its frames, but not all, have come
        into the dataset or into this merge since it looked.
        """
        fragments = [lance.FragmentMetadata.from_json(text) for text in map(str, staged.fragments)]
        rows = self._read_rows(fragments)
        if rows is None:
            return False
        absent = {key: digest for key, digest in rows if key not in self._present}
        if absent and len(absent) < len(rows):
            return False
        if absent:
            self._present |= absent
            self._fragments += fragments
            self._num_added += len(absent)
        else:
            same = [key for key, digest in rows if self._present[key] == digest]
            self._num_present += len(same)
            self._conflicts += [key for key, digest in rows if self._present[key] != digest]
        self._num_present += staged.num_present
        self._conflicts += staged.conflicts
        return True

    def add(self, frames: Iterable[Frame]) -> None:
        """Stage frames in this process, and take them."""
        feed = FrameFeed(iter(frames), self._present)
        staged = _stage(self._table, feed, self._options)
        self._fragments += map(lance.FragmentMetadata.from_json, staged.fragments)
        self._num_added += feed.num_added
        self._num_present += feed.num_present
        self._conflicts += feed.conflicts

    def commit(self) -> AppendReport:
        """Make one version of all that was taken; without anything new there is none.

        Raises:
            DataError: the dataset cannot be written.
            ServiceError: the object store failed.
        """
        table, num_doubled = self._table, 0
        if self._fragments:
            table, num_doubled = commit_fragments(table, self._fragments, self._options)
        return AppendReport(
            num_added=self._num_added - num_doubled,
            num_present=self._num_present + num_doubled,
            version=int(table.version),
            conflicts=tuple(self._conflicts),
        )

    def _read_rows(
        self, fragments: list[lance.FragmentMetadata]
    ) -> list[tuple[FrameKey, str]] | None:
        """Return key and sensor digest of the frames in fragments; None where a file is gone."""
        rows: list[tuple[FrameKey, str]] = []
        columns = [*KEY_COLUMNS, "sensor_digest"]
        with explain_errors(self._table.uri, "reading staged frames"):
            for file in (file for fragment in fragments for file in fragment.files):
                path = f"{self._table.uri}/data/{file.path}"
                try:
                    reader = LanceFileReader(
                        path, storage_options=dict(self._options) or None, columns=columns
                    )
                except ValueError as error:
                    if "Not found" in str(error):
                        return None
                    raise
                table = reader.read_all().to_table()
                rows += zip(keys_of(table), table["sensor_digest"].to_pylist(), strict=True)
        return rows


def remove_orphans(uri: str) -> int:
    """Delete what killed writers left and no version holds; return how many files.

    Only files of more than seven days are deleted: younger ones may belong to a writer at work.
    Every version stays.

    Raises:
        DataError: there is no dataset, or it cannot be written.
        ServiceError: the object store failed.
    """
    table, _ = _open(uri)
    with explain_errors(uri, "deleting files that no version holds"):
        stats = table.cleanup_old_versions(older_than=_EVER, error_if_tagged_old_versions=False)
    return int(stats.data_files_removed)


def _stage(table: lance.LanceDataset, feed: FrameFeed, options: Mapping[str, str]) -> Staged:
    fragments: list[lance.FragmentMetadata] = []
    while feed.has_more():
        fragments += write_next_fragments(table, feed, options)
    return Staged(
        fragments=tuple(json.dumps(fragment.to_json()) for fragment in fragments),
        num_present=feed.num_present,
        conflicts=tuple(feed.conflicts),
    )


def _open(
    uri: str, licences: Sequence[str] | None = None
) -> tuple[lance.LanceDataset, dict[str, str]]:
    """Return the latest version; where there is none, make one if licences are given."""
    uri = absolute_uri(uri)
    options = resolve_options(uri, None)
    table = open_latest(uri, options)
    if table is None and licences is None:
        raise DataError(f"{uri}: no dataset here")
    if table is None:
        table = create_table(uri, options, licences or ())
    check_schema(table, uri)
    return table, options
