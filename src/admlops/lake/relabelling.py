"""New labels for frames that are in the lake: only the label columns are written again."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import lance
import pyarrow as pa

from admlops.errors import DataError
from admlops.lake.appending import keys_of
from admlops.lake.encoding import (
    decode_boxes,
    decode_boxes_2d,
    encode_boxes,
    encode_boxes_2d,
    label_2d_digest,
    label_digest,
)
from admlops.lake.schema import KEY_COLUMNS
from admlops.lake.storage import explain_errors
from admlops.structures.box_table import BoxTable
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import FrameKey

_FRAGMENT_BITS = 32
"""A row id is the fragment's number in the high half and the row in the low one."""


@dataclass(frozen=True, slots=True)
class NewLabels:
    """Labels that replace those of frames; of a shape that is not here, a frame keeps its own.

    Attributes:
        boxes: in space.
        boxes_2d: in images.
    """

    boxes: Mapping[FrameKey, Boxes] = field(default_factory=dict)
    boxes_2d: Mapping[FrameKey, Boxes2d] = field(default_factory=dict)

    @property
    def keys(self) -> list[FrameKey]:
        """The frames that get labels."""
        return list(dict.fromkeys([*self.boxes, *self.boxes_2d]))


def relabel_frames(
    dataset: lance.LanceDataset,
    labels: NewLabels,
    split: str | None,
    options: Mapping[str, str],
) -> tuple[lance.LanceDataset, int]:
    """Return the version with the new labels, and how many frames changed.

    Raises:
        DataError: a key is not in the dataset.
        ServiceError: the object store failed.
    """
    changes = _changed_rows(dataset, labels, split)
    if changes.num_rows == 0:
        return dataset, 0
    return commit_columns(dataset, changes, options), changes.num_rows


def move_frames(
    dataset: lance.LanceDataset, splits: Mapping[FrameKey, str], options: Mapping[str, str]
) -> tuple[lance.LanceDataset, int]:
    """Return the version with frames in other splits, and how many moved.

    Raises:
        DataError: a key is not in the dataset.
        ServiceError: the object store failed.
    """
    with explain_errors(dataset.uri, "reading splits"):
        present = dataset.to_table(columns=[*KEY_COLUMNS, "split", "boxes"], with_row_id=True)
    keys = keys_of(present)
    _refuse_absent(dataset, splits, keys, "move")
    before = present["split"].to_pylist()
    rows = [row for row, key in enumerate(keys) if splits.get(key, before[row]) != before[row]]
    if not rows:
        return dataset, 0
    moved = present.take(rows)
    after = [splits[keys[row]] for row in rows]
    boxes = decode_boxes(moved["boxes"].combine_chunks())
    digests = [label_digest(labels, split) for labels, split in zip(boxes, after, strict=True)]
    changes = pa.table(
        {
            "_rowid": moved["_rowid"],
            "split": pa.array(after, pa.string()),
            "label_digest": pa.array(digests, pa.string()),
        }
    )
    return commit_columns(dataset, changes, options), len(rows)


def _refuse_absent(
    dataset: lance.LanceDataset, wanted: Iterable[FrameKey], keys: Iterable[FrameKey], doing: str
) -> None:
    present = set(keys)
    every = list(wanted)
    absent = [key for key in every if key not in present]
    if absent:
        raise DataError(
            f"{dataset.uri}: {len(absent)} of {len(every)} frames to {doing} are not in the "
            f"dataset, for example {', '.join(map(str, absent[:3]))}; ingest them first"
        )


def commit_columns(
    dataset: lance.LanceDataset, changes: pa.Table, options: Mapping[str, str]
) -> lance.LanceDataset:
    """Return the version in which rows have new values in some columns.

    Args:
        dataset: the latest version.
        changes: `_rowid` and the columns to write.
        options: storage options.

    Raises:
        DataError: the dataset cannot be written, or another writer changed the same rows.
        ServiceError: the object store failed.
    """
    by_fragment: dict[int, list[int]] = defaultdict(list)
    for row, row_id in enumerate(changes["_rowid"].to_pylist()):
        by_fragment[row_id >> _FRAGMENT_BITS].append(row)
    with explain_errors(dataset.uri, "writing columns"):
        fragments, fields_modified = [], set()
        for number, rows in by_fragment.items():
            fragment, fields = dataset.get_fragment(number).update_columns(changes.take(rows))
            fragments.append(fragment)
            fields_modified |= set(fields)
        operation = lance.LanceOperation.Update(
            updated_fragments=fragments, fields_modified=sorted(fields_modified)
        )
        return lance.LanceDataset.commit(
            dataset,
            operation,
            read_version=dataset.version,
            storage_options=dict(options) or None,
        )


def _changed_rows(dataset: lance.LanceDataset, labels: NewLabels, split: str | None) -> pa.Table:
    keys = labels.keys
    columns = [*KEY_COLUMNS, "split", "label_digest", "label_2d_digest"]
    with explain_errors(dataset.uri, "reading labels"):
        present = dataset.to_table(columns=columns, with_row_id=True)
    where = {key: row for row, key in enumerate(keys_of(present))}
    _refuse_absent(dataset, keys, where, "label")
    there = _LabelsThere(dataset, keys, labels, where)
    old = present.select(columns[len(KEY_COLUMNS) :]).to_pylist()
    row_ids = present["_rowid"].to_pylist()
    rows: list[dict[str, Any]] = []
    for key in keys:
        before, boxes, boxes_2d = old[where[key]], there.boxes(key), there.boxes_2d(key)
        after = before["split"] if split is None else split
        digests = label_digest(boxes, after), label_2d_digest(boxes_2d)
        if not labels.boxes_2d:
            digests = digests[0], before["label_2d_digest"]
        if digests != (before["label_digest"], before["label_2d_digest"]):
            rows.append(
                {
                    "_rowid": row_ids[where[key]],
                    "split": after,
                    "label_digest": digests[0],
                    "label_2d_digest": digests[1],
                    "boxes": boxes,
                    "boxes_2d": boxes_2d,
                }
            )
    return _as_table(rows, has_2d=bool(labels.boxes_2d))


class _LabelsThere:
    """The labels of frames as they will be: the new ones, and those that stay."""

    def __init__(
        self,
        dataset: lance.LanceDataset,
        keys: Sequence[FrameKey],
        labels: NewLabels,
        where: Mapping[FrameKey, int],
    ) -> None:
        self._labels = labels
        self._kept: dict[FrameKey, tuple[Boxes | None, Boxes2d | None]] = {}
        if not labels.boxes_2d:
            return  # labels in images are not looked at
        halves = [key for key in keys if key not in labels.boxes or key not in labels.boxes_2d]
        if halves:
            rows = [where[key] for key in halves]
            with explain_errors(dataset.uri, "reading labels"):
                table = dataset.take(rows, columns=["boxes", "boxes_2d"])
            boxes = decode_boxes(table["boxes"].combine_chunks())
            boxes_2d = decode_boxes_2d(table["boxes_2d"].combine_chunks())
            self._kept = dict(zip(halves, zip(boxes, boxes_2d, strict=True), strict=True))

    def boxes(self, key: FrameKey) -> Boxes | None:
        if key in self._labels.boxes:
            return self._labels.boxes[key]
        return self._kept[key][0]

    def boxes_2d(self, key: FrameKey) -> Boxes2d | None:
        if key in self._labels.boxes_2d:
            return self._labels.boxes_2d[key]
        return self._kept[key][1] if key in self._kept else None


def _as_table(rows: Sequence[Mapping[str, Any]], *, has_2d: bool) -> pa.Table:
    """Return what is written: without labels in images, where none are new."""
    boxes = [row["boxes"] for row in rows]
    columns = {
        "_rowid": pa.array([row["_rowid"] for row in rows], pa.uint64()),
        "split": pa.array([row["split"] for row in rows], pa.string()),
        "label_digest": pa.array([row["label_digest"] for row in rows], pa.string()),
        "num_boxes": _counts(boxes),
        "boxes": encode_boxes(boxes),
    }
    if has_2d:
        boxes_2d = [row["boxes_2d"] for row in rows]
        digests = [row["label_2d_digest"] for row in rows]
        columns["label_2d_digest"] = pa.array(digests, pa.string())
        columns["num_boxes_2d"] = _counts(boxes_2d)
        columns["boxes_2d"] = encode_boxes_2d(boxes_2d)
    return pa.table(columns)


def _counts(tables: Sequence[BoxTable | None]) -> pa.Array:
    return pa.array([None if table is None else len(table) for table in tables], pa.int64())
