"""Datasets: the canonical, versioned store of frames and boxes."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import compress
from typing import Any, Self

import lance
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from admlops.errors import DataError
from admlops.lake import embedding
from admlops.lake.appending import append_frames, keys_of
from admlops.lake.opening import (
    check_out,
    check_schema,
    create_table,
    list_tags,
    list_versions,
    open_latest,
)
from admlops.lake.query import Views
from admlops.lake.reading import FrameReader
from admlops.lake.relabelling import NewLabels, move_frames, relabel_frames
from admlops.lake.schema import BLOBS, KEY_COLUMNS, LICENCES_KEY
from admlops.lake.storage import (
    StorageOptions,
    absolute_uri,
    datasets_beside,
    explain_errors,
    resolve_options,
    split_reference,
)
from admlops.lake.versions import (
    AppendReport,
    DatasetDiff,
    FrameDigests,
    diff_digests,
    digest_of,
)
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import Frame, FrameKey
from admlops.structures.manifest import Manifest

ITERATE_FRAMES = 16
"""Frames that `Dataset.iterate` reads at a time."""


class Dataset:
    """One version of a dataset; `append`, `relabel` and `tag` move it to the version they make.

    Rows are numbered from 0 within a version. The object can be sent to another process.
    """

    def __init__(self, table: lance.LanceDataset, uri: str, options: Mapping[str, str]) -> None:
        self._table = table
        self._uri = uri
        self._options = dict(options)
        self._views = Views(table)
        self._reader = FrameReader(table, uri)

    @classmethod
    def open(cls, reference: str, storage_options: StorageOptions | None = None) -> Self:
        """Open ``uri`` (the latest version), ``uri@version`` or ``uri@tag``.

        Args:
            reference: a local folder or ``s3://bucket/path``.
            storage_options: see `lake.storage.resolve_options`.

        Raises:
            DataError: there is no such dataset, version or tag (the message lists those that
                are), or it cannot be read.
            ServiceError: the object store cannot be reached.
        """
        uri, version = split_reference(reference)
        uri = absolute_uri(uri)
        options = resolve_options(uri, storage_options)
        table = open_latest(uri, options)
        if table is None:
            beside = ", ".join(datasets_beside(uri)) or "none"
            raise DataError(f"{uri}: no dataset here. Datasets beside it: {beside}")
        if version:
            table = check_out(table, uri, version)
        check_schema(table, uri)
        return cls(table, uri, options)

    @classmethod
    def create(
        cls, uri: str, storage_options: StorageOptions | None = None, licences: Sequence[str] = ()
    ) -> Self:
        """Make an empty dataset, or open the one that is there; its licences are added to.

        Raises:
            DataError: the folder cannot be written or holds something else.
            ServiceError: the object store cannot be reached.
        """
        uri = absolute_uri(uri)
        options = resolve_options(uri, storage_options)
        table = open_latest(uri, options)
        if table is None:
            table = create_table(uri, options, licences)
        check_schema(table, uri)
        dataset = cls(table, uri, options)
        dataset._add_licences(licences)
        return dataset

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how another process opens the same version."""
        return Dataset.open, (self.reference, self._options)

    def __repr__(self) -> str:
        """Return the reference and the number of frames."""
        return f"Dataset({self.reference!r}, {self.num_frames} frames)"

    @property
    def uri(self) -> str:
        """Where the dataset is, without a version."""
        return self._uri

    @property
    def version(self) -> int:
        """The number of this version."""
        return int(self._table.version)

    @property
    def reference(self) -> str:
        """``uri@version``."""
        return f"{self._uri}@{self.version}"

    @property
    def num_frames(self) -> int:
        """How many frames this version holds."""
        return int(self._table.count_rows())

    @property
    def licences(self) -> tuple[str, ...]:
        """Names of the licence terms that the data carries."""
        metadata = self._table.schema.metadata or {}
        return tuple(json.loads(metadata.get(LICENCES_KEY, b"[]")))

    @property
    def digest(self) -> str:
        """SHA-256 of the frames and labels, whatever the layout, the order and the time."""
        return digest_of(self.frame_digests())

    def frame_digests(self) -> dict[FrameKey, FrameDigests]:
        """Return the digests of every frame."""
        names = ["sensor_digest", "content_digest", "label_digest", "label_2d_digest"]
        with explain_errors(self._uri, "reading digests"):
            table = self._table.to_table(columns=[*KEY_COLUMNS, *names])
        columns = [table[name].to_pylist() for name in names]
        digests = [FrameDigests(*values) for values in zip(*columns, strict=True)]
        return dict(zip(keys_of(table), digests, strict=True))

    def append(self, frames: Iterable[Frame], *, whole: bool = False) -> AppendReport:
        """Add the frames that the latest version does not hold, and move to the new version.

        Streams; killed at any moment it leaves the last committed version, and run again it ends
        as if it had not been killed. An error of the source leaves what was committed before it.

        Args:
            frames: read once, from the front.
            whole: make one version of all, so that a kill or an error leaves nothing of it.

        Raises:
            DataError: the dataset cannot be written.
            ServiceError: the object store failed.
        """
        latest = self._latest()
        table, feed = append_frames(latest, frames, self._options, whole=whole)
        self._move_to(table)
        return AppendReport(feed.num_added, feed.num_present, self.version, tuple(feed.conflicts))

    def relabel(
        self,
        labels: Mapping[FrameKey, Boxes],
        split: str | None = None,
        labels_2d: Mapping[FrameKey, Boxes2d] | None = None,
    ) -> int:
        """Replace the labels of frames in a new version, without rewriting sensor data.

        Args:
            labels: the new boxes of each frame; a frame that is not here keeps its own.
            split: where the labelled frames move; None leaves them where they are.
            labels_2d: the same for boxes in images.

        Returns:
            How many frames changed; where none did there is no new version.

        Raises:
            DataError: a key is not in the dataset.
            ServiceError: the object store failed.
        """
        new = NewLabels(labels, labels_2d or {})
        table, num_changed = relabel_frames(self._latest(), new, split, self._options)
        self._move_to(table)
        return num_changed

    def move(self, splits: Mapping[FrameKey, str]) -> int:
        """Put frames into other splits in a new version; return how many moved.

        Raises:
            DataError: a key is not in the dataset.
            ServiceError: the object store failed.
        """
        table, num_moved = move_frames(self._latest(), splits, self._options)
        self._move_to(table)
        return num_moved

    def add_embedding(self, name: str, vectors: Mapping[FrameKey, NDArray[np.float32]]) -> None:
        """Give frames a vector of that name in a new version; other frames keep theirs.

        Raises:
            DataError: the vectors differ in length, or a key is not in the dataset.
        """
        self._move_to(embedding.write_embedding(self._latest(), name, vectors, self._options))

    def embedding(self, name: str) -> NDArray[np.float32]:
        """Return (num_frames, D) vectors in row order, NaN for frames without one.

        Raises:
            DataError: there is no such embedding; the message lists those that are.
        """
        return embedding.read_embedding(self._table, name)

    def embeddings(self) -> list[str]:
        """Return the names of the embeddings."""
        return embedding.list_embeddings(self._table)

    def index_embedding(self, name: str) -> None:
        """Make `nearest` fast in a new version; frames that are added later are found all the same.

        Raises:
            DataError: there is no such embedding, or too few frames have one.
        """
        self._move_to(embedding.index_embedding(self._latest(), name))

    def nearest(
        self, name: str, vector: NDArray[np.floating], count: int, condition: str = ""
    ) -> list[tuple[FrameKey, float]]:
        """Return the frames whose vectors are nearest to one, and their distances, nearest first.

        Args:
            name: of the embedding.
            vector: (D,) what is looked for.
            count: frames at most.
            condition: what the frames must meet, in Lance's SQL on the columns.

        Raises:
            DataError: there is no such embedding, or the vector or the SQL does not fit.
        """
        return embedding.find_nearest(self._table, name, vector, count, condition)

    def poses(self) -> NDArray[np.float64]:
        """Return (num_frames, 4, 4) `global_from_ego`; identity where the source has none."""
        with explain_errors(self._uri, "reading poses"):
            column = self._table.to_table(columns=["global_from_ego"])["global_from_ego"]
        values = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return np.asarray(values, np.float64).reshape(-1, 4, 4)

    def keys(self) -> list[FrameKey]:
        """Return the key of each row."""
        return keys_of(self._views.frames)

    def frame_ids(self) -> list[str]:
        """Return the source's name of each row."""
        return list(self._views.frames["frame_id"].to_pylist())

    def rows_where(self, condition: str) -> NDArray[np.int64]:
        """Return the rows for which an SQL condition on ``frames`` holds, in order.

        Raises:
            DataError: the SQL is wrong.
        """
        return self._views.rows_where(condition)

    def query(self, sql: str) -> pa.Table:
        """Return the result of an SQL query on the views ``frames``, ``boxes`` and ``boxes_2d``.

        Raises:
            DataError: the SQL is wrong.
        """
        return self._views.run(sql)

    def take(
        self,
        rows: Sequence[int] | NDArray[np.integer],
        *,
        lidar: bool = True,
        camera: bool = False,
        other_cameras: bool = False,
    ) -> list[Frame]:
        """Return the frames of rows, in the order given.

        A payload that is not asked for stays empty: the frame then has the sensor's calibration
        with no points, or with no encoded bytes. `camera` is the front one.

        Raises:
            DataError: a row is out of range, or the dataset is corrupt.
            ServiceError: the object store failed.
        """
        wanted = np.asarray(rows, dtype=np.int64).reshape(-1)
        if wanted.size == 0:
            return []
        if wanted.min() < 0 or wanted.max() >= self.num_frames:
            raise DataError(
                f"{self.reference}: row {int(wanted.max())} asked for (lowest "
                f"{int(wanted.min())}); rows are 0 to {self.num_frames - 1}"
            )
        unique, inverse = np.unique(wanted, return_inverse=True)
        asked = (lidar, camera, other_cameras)
        with explain_errors(self._uri, "reading frames"):
            frames = self._reader.take(unique, list(compress(BLOBS, asked)))
        return [frames[index] for index in inverse]

    def iterate(
        self,
        rows: Sequence[int] | NDArray[np.integer] | None = None,
        *,
        lidar: bool = True,
        camera: bool = False,
        other_cameras: bool = False,
    ) -> Iterator[Frame]:
        """Yield the frames of rows (all by default), a few in memory at a time.

        Raises:
            DataError: as `take`.
        """
        wanted = np.arange(self.num_frames) if rows is None else np.asarray(rows, dtype=np.int64)
        for start in range(0, len(wanted), ITERATE_FRAMES):
            some = wanted[start : start + ITERATE_FRAMES]
            yield from self.take(some, lidar=lidar, camera=camera, other_cameras=other_cameras)

    def diff(self, other: "Dataset") -> DatasetDiff:
        """Return what it takes to get from this version to `other`."""
        return diff_digests(self.frame_digests(), other.frame_digests())

    def tag(self, name: str) -> None:
        """Give this version a name that stays.

        Raises:
            DataError: the name is not usable, or another version has it.
        """
        existing = self.tags()
        if existing.get(name) == self.version:
            return
        if name in existing:
            raise DataError(f"{self._uri}: tag {name!r} is at version {existing[name]} already")
        if name.isdigit() or split_reference(f"x@{name}") != ("x", name):
            raise DataError(
                f"{self._uri}: {name!r} cannot be a tag; use letters, digits, '.', '_' and '-', "
                "with a letter among them"
            )
        with explain_errors(self._uri, "tagging"):
            self._table.tags.create(name, self.version)

    def tags(self) -> dict[str, int]:
        """Return the version that each tag names."""
        return list_tags(self._table, self._uri)

    def versions(self) -> list[int]:
        """Return the numbers of all versions, oldest first."""
        with explain_errors(self._uri, "listing versions"):
            return list_versions(self._table)

    def manifest(
        self,
        provenance: Mapping[str, str] | None = None,
        scores: Mapping[str, float] | None = None,
    ) -> Manifest:
        """Return the manifest by which a step hands this version on."""
        return Manifest(
            kind="dataset",
            uri=self._uri,
            version=str(self.version),
            digest=self.digest,
            licences=self.licences,
            provenance=dict(provenance or {}),
            scores=dict(scores or {}),
        )

    def _add_licences(self, licences: Sequence[str]) -> None:
        merged = sorted({*self.licences, *licences})
        if merged != list(self.licences):
            with explain_errors(self._uri, "writing licences"):
                self._table.update_schema_metadata({LICENCES_KEY.decode(): json.dumps(merged)})

    def _latest(self) -> lance.LanceDataset:
        table = open_latest(self._uri, self._options)
        if table is None:
            raise DataError(f"{self._uri}: the dataset is gone")
        return table

    def _move_to(self, table: lance.LanceDataset) -> None:
        self._table = table
        self._views = Views(table)
        self._reader = FrameReader(table, self._uri)
