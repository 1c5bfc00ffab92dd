import threading

import pytest

from admlops.curation.ledger import LabelLimit, Ledger, LedgerEntry, total_cost
from admlops.errors import DataError, GateError
from admlops.structures.label_request import LabelCost


def entry(name, frames, boxes=0.0):
    return LedgerEntry(
        request_id=name, round_name="one", cost=LabelCost(frames=frames, boxes=boxes)
    )


def test_spending_adds_up_and_a_request_is_paid_once(tmp_path):
    ledger = Ledger(tmp_path / "new" / "ledger.jsonl", LabelLimit(frames=30))
    assert ledger.spend(entry("a", 10, 45))
    assert ledger.spend(entry("b", 5, 20))
    assert not ledger.spend(entry("a", 10, 45))
    assert ledger.spent() == LabelCost(frames=15, boxes=65)
    assert [item.request_id for item in ledger.entries()] == ["a", "b"]


def test_overspending_is_refused_and_writes_nothing(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl", LabelLimit(frames=20, boxes=100))
    ledger.spend(entry("a", 15, 60))
    with pytest.raises(
        GateError,
        match="20 frames would be passed: 15 spent by 1 earlier requests, .*another file",
    ):
        ledger.spend(entry("b", 6))
    with pytest.raises(GateError, match="100 boxes"):
        ledger.spend(entry("c", 1, 41))
    assert ledger.spend(entry("d", 5, 40))


def test_an_absent_ledger_is_empty(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    assert ledger.entries() == []
    assert ledger.spent() == LabelCost()
    assert total_cost([]) == LabelCost()


def test_a_line_left_unfinished_is_not_counted_and_is_replaced(tmp_path):
    path = tmp_path / "ledger.jsonl"
    Ledger(path).spend(entry("a", 1))
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"request_id": "b", "rou')
    assert Ledger(path).spent().frames == 1
    Ledger(path).spend(entry("c", 2))
    assert [item.request_id for item in Ledger(path).entries()] == ["a", "c"]
    assert path.read_bytes().startswith(whole)


def test_a_damaged_line_is_named(tmp_path):
    path = tmp_path / "ledger.jsonl"
    path.write_text("{}\n")
    with pytest.raises(DataError, match="line 1 is not an entry"):
        Ledger(path).spent()


def test_writers_at_the_same_time_do_not_overspend(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl", LabelLimit(frames=10))
    refused = []

    def spend(number):
        try:
            ledger.spend(entry(str(number), 1))
        except GateError:
            refused.append(number)

    threads = [threading.Thread(target=spend, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (ledger.spent().frames, len(refused)) == (10.0, 6)
