import json
import sys
from pathlib import Path

import pytest

from admlops.cli import assign, main
from admlops.errors import ConfigError

LABEL = "Car 0.00 0 0.00 100.00 100.00 200.00 200.00 1.50 1.60 4.00 0.00 1.65 20.00 0.00"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["admlops", *arguments])
    main()


def test_assign_goes_down_paths_and_reads_yaml() -> None:
    config = assign({"a": {"b": 1}}, ["a.c=[1, 2]", "d=x", "e.f.g=1e-3"])
    assert config == {"a": {"b": 1, "c": [1, 2]}, "d": "x", "e": {"f": {"g": "1e-3"}}}


@pytest.mark.parametrize("text", ["a", "=1", "a.b.c=1", "d=[1"])
def test_assign_refuses_what_is_no_assignment(text: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        assign({"a": {"b": 1}}, [text])


def test_evaluate_on_plain_folders(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels, found = tmp_path / "labels", tmp_path / "found"
    for folder, tail in ((labels, ""), (found, " 0.9")):
        folder.mkdir()
        (folder / "000000.txt").write_text(LABEL + tail + "\n")
    arguments = ["--protocol", "kitti", "--labels", str(labels), "--predictions", str(found)]
    with pytest.raises(SystemExit) as end:
        run(monkeypatch, "evaluate", *arguments, "--json", str(tmp_path / "ap.json"))
    assert end.value.code == 0
    table = json.loads((tmp_path / "ap.json").read_text())["car"]
    assert list(table) == ["2d", "bev", "3d", "aos"]
    assert [len(table["3d"][samples]) for samples in ("R40", "R11")] == [3, 3]
    assert "num_frames: 1" in capsys.readouterr().out


def test_error_is_one_line_and_exits_non_zero(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        run(monkeypatch, "analyze", "--dataset", str(tmp_path / "absent"), "--analysis", "x")
    assert end.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith("DataError ")
    assert "absent: manifest cannot be read" in error
    assert "Traceback" not in error


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="the path 'analysis' is required"):
        run(monkeypatch, "analyze", "--dataset", "d", "--debug")


def test_unknown_field_names_the_known_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch, "gate", "--evaluation", "e", "--verdict", "v", "--set", "colour=red")
    assert "min_scores" in capsys.readouterr().err


def test_help_lists_every_step(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from admlops.steps.step import STEPS

    with pytest.raises(SystemExit) as end:
        run(monkeypatch, "--help")
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert all(f" {word} " in text for word in [*STEPS, "run", "compile", "submit", "serve"])


@pytest.mark.parametrize("content", ["- a list\n", "a: [", b"\xff\xfe"])
def test_a_config_file_that_is_no_mapping_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | bytes
) -> None:
    path = tmp_path / "gate.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    arguments = ["--evaluation", "e", "--verdict", "v", "--config", str(path), "--debug"]
    with pytest.raises(ConfigError, match=r"gate\.yaml: (not valid|expected|cannot)"):
        run(monkeypatch, "gate", *arguments, "--tolerance", "0.1")
