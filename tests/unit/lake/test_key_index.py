"""Frames by key."""

import pyarrow as pa

from admlops.lake.key_index import KeyIndex
from admlops.structures.frame import FrameKey


def table_of(keys: list[FrameKey]) -> pa.Table:
    names = ("log", "scene", "timestamp_ns")
    columns = zip(*keys, strict=True) if keys else ([], [], [])
    return pa.table(dict(zip(names, map(list, columns), strict=True)))


def test_rows_are_found_and_others_are_not() -> None:
    keys = [FrameKey("a", str(number % 3), number) for number in range(100)]
    index = KeyIndex.of_table(table_of(keys))
    wanted = [keys[70], FrameKey("a", "1", 70_000), keys[0], FrameKey("a/1", "", 1)]
    assert index.rows_of(wanted).tolist() == [70, -1, 0, -1]
    assert index.rows_of([]).tolist() == []


def test_nothing_is_found_in_an_empty_table() -> None:
    assert KeyIndex.of_table(table_of([])).rows_of([FrameKey("a", "b", 1)]).tolist() == [-1]
