"""`admlops query`, `guideline` and `view` as a user calls them."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from admlops.cli import main
from admlops.lake.store import Dataset
from admlops.sql_shell import MAX_SHOWN
from admlops.structures.boxes import Boxes
from admlops.structures.frame import Frame, FrameKey


@pytest.fixture
def lake(tmp_path: Path) -> str:
    boxes = Boxes.make([[1.5, 2, 3], [4, 5, 6]], np.ones((2, 3)), [0, 0], ["car", "van"])
    dataset = Dataset.create(str(tmp_path / "lake"))
    key = FrameKey("log", "scene", 0)
    dataset.append([Frame(key, "000000", np.eye(4), boxes=boxes, tags=("night", "rain"))])
    dataset.manifest().write(tmp_path / "dataset.json")
    return str(tmp_path / "lake")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["admlops", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_an_answer_is_a_table(
    lake: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "query", lake, "SELECT category, x_m FROM boxes ORDER BY 1") == 0
    shown = capsys.readouterr()
    assert [line.split("│")[1:3] for line in shown.out.splitlines() if "│" in line] == [
        [" car      ", " 1.5 "],
        [" van      ", " 4   "],
    ]
    assert shown.err == "2 rows\n"


def test_a_long_answer_says_what_it_leaves_out(
    lake: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert MAX_SHOWN == 100
    assert run(monkeypatch, "query", lake, "SELECT * FROM range(103)") == 0
    assert "103 rows; 3 more: use LIMIT, --csv or --json" in capsys.readouterr().err


def test_csv_and_json_are_complete_values(
    lake: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sql = "SELECT 1 / 3 AS third, tags, 'NaN'::DOUBLE AS odd, NULL AS nothing FROM frames;"
    manifest = str(Path(lake).parent / "dataset.json")
    assert run(monkeypatch, "query", manifest, sql, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "third": 1 / 3,
        "tags": ["night", "rain"],
        "odd": None,
        "nothing": None,
    }
    assert run(monkeypatch, "query", manifest, sql, "--csv") == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head == "third,tags,odd,nothing"
    assert row == f'{1 / 3},"[""night"", ""rain""]",nan,'
    assert run(monkeypatch, "query", manifest, sql, "--csv", "--json") == 1
    assert "choose one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT colour FROM boxes", "the views boxes and boxes_2d have log"),
        ("SELEC 1", "syntax error"),
        ("COPY frames TO 'out.csv'", "failed"),
        ("SELECT * FROM read_csv('/etc/passwd')", "failed"),
    ],
)
def test_wrong_sql_is_one_clear_line(
    lake: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    sql: str,
    words: str,
) -> None:
    assert run(monkeypatch, "query", lake, sql) == 1
    error = capsys.readouterr().err
    assert error.startswith("DataError")
    assert words in error
    assert len(error.splitlines()) == 1


def test_a_script_of_queries_goes_on_after_a_wrong_one(
    lake: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = "SELECT count(*) AS n\nFROM boxes;\nSELECT nothing;\n.tables\n.help\nSELECT 7 AS m"
    monkeypatch.setattr(sys, "stdin", io.StringIO(script))
    assert run(monkeypatch, "query", lake, "--csv") == 0
    shown = capsys.readouterr()
    assert shown.out == "n\n2\nm\n7\n"
    assert "DataError" in shown.err
    assert "boxes_2d: log, scene" in shown.err
    assert "End a query with a semicolon" in shown.err


def test_quit_leaves(
    lake: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(".quit\nSELECT 7 AS m;"))
    assert run(monkeypatch, "query", lake) == 0
    assert capsys.readouterr().out == ""


def test_guideline_names_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "small.yaml"
    file.write_text("{name: small, version: '1', categories: [{name: car, description: a car}]}")
    output = tmp_path / "out"
    assert run(monkeypatch, "guideline", str(file), "--output", str(output)) == 0
    assert capsys.readouterr().out.strip() == str(output / "guideline.html")
    assert "a car" in (output / "guideline.html").read_text()
    assert run(monkeypatch, "guideline", "nowhere", "--output", str(output)) == 1
    assert "shipped definitions are urban_lidar" in capsys.readouterr().err


def test_a_view_is_written_in_the_order_of_time_and_limited(
    lake: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mcap.reader import make_reader

    frames = [Frame(FrameKey("log", "next", time), str(time), np.eye(4)) for time in (30, 10, 20)]
    Dataset.open(lake).append(frames)
    output = Path(lake).parent / "view.mcap"
    options = ("--output", str(output), "--where", "scene = 'next'", "--limit", "2")
    assert run(monkeypatch, "view", lake, *options) == 0
    assert f"{output}: 2 of 3 frames" in capsys.readouterr().out
    with output.open("rb") as file:
        found = make_reader(file).iter_messages(topics=["/tf"])
        assert [message.log_time for _, _, message in found] == [10, 20]
    assert run(monkeypatch, "view", lake, "--where", "scene = 'absent'") == 1
    assert "no frame meets \"scene = 'absent'\"" in capsys.readouterr().err
