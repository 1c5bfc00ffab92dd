"""New labels for frames that are in the lake: only the label columns are written again."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import lance
import pyarrow as pa

from admlops.errors import DataError
from admlops.lake.appending import keys_of
from admlops.lake.encoding import decode_boxes, encode_boxes, label_digest
from admlops.lake.schema import KEY_COLUMNS
from admlops.lake.storage import explain_errors
from admlops.structures.boxes import Boxes
from admlops.structures.frame import FrameKey

_FRAGMENT_BITS = 32
"""A row id is the fragment's number in the high half and the row in the low one."""


def relabel_frames(
    dataset: lance.LanceDataset,
    labels: Mapping[FrameKey, Boxes],
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


def _changed_rows(
    dataset: lance.LanceDataset, labels: Mapping[FrameKey, Boxes], split: str | None
) -> pa.Table:
    with explain_errors(dataset.uri, "reading labels"):
        present = dataset.to_table(
            columns=[*KEY_COLUMNS, "split", "label_digest"], with_row_id=True
        )
    where = {key: row for row, key in enumerate(keys_of(present))}
    _refuse_absent(dataset, labels, where, "label")
    splits = present["split"].to_pylist()
    old = present["label_digest"].to_pylist()
    row_ids = present["_rowid"].to_pylist()
    rows: list[tuple[int, str, str, Boxes]] = []
    for key, boxes in labels.items():
        row = where[key]
        new_split = splits[row] if split is None else split
        digest = label_digest(boxes, new_split)
        if digest != old[row]:
            rows.append((row_ids[row], new_split, digest, boxes))
    return pa.table(
        {
            "_rowid": pa.array([row[0] for row in rows], pa.uint64()),
            "split": pa.array([row[1] for row in rows], pa.string()),
            "label_digest": pa.array([row[2] for row in rows], pa.string()),
            "num_boxes": pa.array([len(row[3]) for row in rows], pa.int64()),
            "boxes": encode_boxes([row[3] for row in rows]),
        }
    )
