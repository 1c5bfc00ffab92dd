"""Rows that outgrow memory: read back as written, or merged by score."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admlops.evaluation import spool
from admlops.evaluation.spool import SortedRows, Spool

ROW = np.dtype([("score", "f8"), ("arrival", "i8")])


def test_a_spool_gives_back_what_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "MEMORY_BYTES", 300)
    kept = Spool()
    given_arrays = [(np.arange(count), np.full((count, 3), 0.5)) for count in (0, 3, 40)]
    for arrays in given_arrays:
        kept.append(*arrays)
    for _ in range(2):
        for expected, found in zip(given_arrays, kept, strict=True):
            assert [array.tolist() for array in found] == [array.tolist() for array in expected]
    kept.append(np.arange(2))
    assert [len(arrays) for arrays in kept] == [2, 2, 2, 1]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 9), max_size=30), max_size=12),
    st.integers(1, 20),
    st.integers(1, 40),
)
def test_rows_come_by_falling_score_and_then_by_arrival(
    parts: list[list[int]], run_rows: int, merged_rows: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool, "RUN_ROWS", run_rows)
        patch.setattr(spool, "MERGED_ROWS", merged_rows)
        rows, expected = SortedRows(ROW), []
        for part in parts:
            taken = np.zeros(len(part), dtype=ROW)
            taken["score"] = part
            taken["arrival"] = np.arange(len(part)) + len(expected)
            rows.add(taken)
            expected += [(float(score), int(at)) for score, at in taken.tolist()]
        for _ in range(2):
            found = [row for block in rows.blocks() for row in block.tolist()]
            assert found == sorted(expected, key=lambda row: -row[0])
        assert len(rows) == len(expected)


def test_a_merge_holds_few_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "RUN_ROWS", 1000)
    monkeypatch.setattr(spool, "MERGED_ROWS", 1050)
    rows = SortedRows(ROW)
    random = np.random.default_rng(0)
    for _ in range(20):
        part = np.zeros(700, dtype=ROW)
        part["score"] = random.random(700)
        rows.add(part)
    sizes = [len(block) for block in rows.blocks()]
    assert sum(sizes) == 14_000
    assert max(sizes) <= 1050
