from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from frame_factory import make_boxes

from admlops.errors import DataError
from admlops.lake.predictions import (
    iterate_predictions,
    read_vectors,
    write_predictions,
    write_vectors,
)
from admlops.structures.boxes import Boxes
from admlops.structures.frame import FrameKey


def items(count):
    for index in range(count):
        boxes = make_boxes(index, index % 3)
        yield FrameKey("log", "scene", index), boxes.replace(score=np.full(len(boxes), 0.5))


def test_predictions_come_back_in_order(tmp_path):
    path = tmp_path / "new" / "predictions.parquet"
    assert write_predictions(path, items(1100)) == 1100
    found = list(iterate_predictions(path))
    assert [key.timestamp_ns for key, _ in found] == list(range(1100))
    for (_, before), (_, after) in zip(items(1100), found, strict=True):
        np.testing.assert_array_equal(before.as_7(), after.as_7())
        np.testing.assert_array_equal(before.score, after.score)
        assert before.category.tolist() == after.category.tolist()


def test_rewritten_parts_are_the_whole_byte_by_byte(tmp_path):
    every = list(items(1100))
    write_predictions(tmp_path / "whole.parquet", every)
    write_predictions(tmp_path / "a.parquet", every[:700])
    write_predictions(tmp_path / "b.parquet", every[700:])
    parts = (iterate_predictions(tmp_path / f"{name}.parquet") for name in "ab")
    write_predictions(tmp_path / "joined.parquet", chain.from_iterable(parts))
    assert (tmp_path / "joined.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_no_frames_and_no_boxes(tmp_path):
    path = tmp_path / "predictions.parquet"
    write_predictions(path, [])
    assert list(iterate_predictions(path)) == []
    write_predictions(path, [(FrameKey("log", "scene", 1), Boxes.empty())])
    assert [len(boxes) for _, boxes in iterate_predictions(path)] == [0]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "predictions.parquet"
    write_predictions(path, items(2))

    def broken():
        yield from items(600)
        raise KeyError("model")

    with pytest.raises(KeyError):
        write_predictions(path, broken())
    assert len(list(iterate_predictions(path))) == 2
    assert [file.name for file in tmp_path.iterdir()] == ["predictions.parquet"]


def test_vectors_come_back(tmp_path):
    vectors = {FrameKey("log", "scene", n): np.full(3, n, np.float32) for n in range(4)}
    write_vectors(tmp_path / "vectors.parquet", vectors)
    found = read_vectors(tmp_path / "vectors.parquet")
    assert list(found) == list(vectors)
    for key, vector in vectors.items():
        np.testing.assert_array_equal(found[key], vector)


def test_wrong_files_are_told(tmp_path):
    with pytest.raises(DataError, match="vectors cannot be read"):
        read_vectors(tmp_path / "absent.parquet")
    with pytest.raises(DataError, match="absent"):
        list(iterate_predictions(tmp_path / "absent.parquet"))
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(DataError, match="not a file of predictions"):
        list(iterate_predictions(tmp_path / "other.parquet"))
    (tmp_path / "text.parquet").write_text("text")
    with pytest.raises(DataError, match="predict again"):
        list(iterate_predictions(tmp_path / "text.parquet"))
