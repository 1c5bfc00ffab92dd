"""The step `report`: one page from any subset of a run's artifacts."""

import dataclasses
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from admlops.errors import DataError
from admlops.evaluation.verdict import Reason, Verdict
from admlops.lake.predictions import write_predictions
from admlops.lake.store import Dataset
from admlops.simulation.config import CameraConfig, SceneGroup, WorldConfig
from admlops.simulation.world import simulate
from admlops.steps.analyze import AnalyzeConfig, AnalyzeInputs, AnalyzeOutputs, analyze
from admlops.steps.check import CheckConfig, CheckInputs, CheckOutputs, check
from admlops.steps.evaluate import EvaluateConfig, EvaluateInputs, EvaluateOutputs, evaluate
from admlops.steps.report import ReportConfig, ReportInputs, ReportOutputs, report
from admlops.structures.label_request import LabelRequest, RequestedFrame
from admlops.structures.manifest import Manifest

HOSTILE = "<script>alert('x')</script>&\"<img src=//evil>"
WORLD = WorldConfig(
    train=SceneGroup(num_scenes=1, frames_per_scene=2),
    val=SceneGroup(num_scenes=2, frames_per_scene=3),
    pool=SceneGroup(num_scenes=1, frames_per_scene=1),
    camera=CameraConfig(width_px=320, height_px=96, focal_px=180.0),
)
NAMES = [field.name for field in dataclasses.fields(ReportInputs)]
VOID = {"meta", "img", "br", "link", "input", "hr"}


class _Checker(HTMLParser):
    """Follows open and closed tags, and collects addresses and visible text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text.append(data)


def read_page(path: Path) -> _Checker:
    checker = _Checker()
    page = path.read_text()
    assert page.startswith("<!DOCTYPE html>")
    checker.feed(page)
    checker.close()
    assert checker.open == []
    assert "script" not in checker.tags
    assert all(a.startswith(("data:image/", "#")) for a in checker.addresses), checker.addresses
    style = "".join(re.findall(r"<style>.*?</style>", page, re.DOTALL))
    assert "url(" not in style
    assert "@import" not in style
    return checker


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory) -> dict[str, Path]:
    """Return every input of a report, hostile strings included."""
    folder = tmp_path_factory.mktemp("run")
    frames = [replace(f, source=HOSTILE) for f in simulate(WORLD)]
    dataset = Dataset.create(str(folder / "lake"), licences=(HOSTILE,))
    dataset.append(frames)
    paths = {name: folder / name for name in NAMES}
    for name in ("dataset", "dataset_baseline"):
        dataset.manifest({"step": "ingest", "source": HOSTILE}).write(paths[name])
    labels = paths["dataset"]
    check(CheckInputs(labels), CheckOutputs(paths["findings"]), CheckConfig(fail_on="never"))
    rows = dataset.rows_where("split = 'val'")
    for suffix, noise in (("", 0.05), ("_baseline", 0.6)):
        analyze(AnalyzeInputs(labels), AnalyzeOutputs(paths["analysis" + suffix]), AnalyzeConfig())
        random = np.random.default_rng(1)
        found = []
        for frame in dataset.iterate(rows, lidar=False):
            boxes = frame.boxes.select(random.uniform(size=len(frame.boxes)) < 0.8)
            center = boxes.center_m + random.normal(0, noise, boxes.center_m.shape)
            score = random.uniform(0.2, 1.0, len(boxes))
            found.append((frame.key, boxes.replace(center_m=center, score=score)))
        predictions = paths["predictions" + suffix]
        predictions.mkdir()
        write_predictions(predictions / "predictions.parquet", found)
        evaluate(
            EvaluateInputs(labels, predictions),
            EvaluateOutputs(evaluation=paths["evaluation" + suffix]),
            EvaluateConfig(bootstrap={"num_draws": 20}),
        )
        _write_rest(paths, suffix)
    requested = [
        RequestedFrame(**frame.key._asdict(), reason=HOSTILE, score=0.5) for frame in frames[-1:]
    ]
    paths["request"].mkdir()
    LabelRequest(dataset="x", frames=tuple(requested), num_candidates=7).write(paths["request"])
    return paths


def _write_rest(paths: dict[str, Path], suffix: str) -> None:
    latency = {s: {"p50_ms": 5.0, "p99_ms": 9.0} for s in ("voxelize", "network", "decode")}
    latency["points_to_boxes"] = {"p50_ms": 15.0, "p99_ms": 27.0}
    rungs = [
        {
            "name": name,
            "outputs": {"x": {"max_abs": 2e-6}},
            "num_boxes": 40,
            "match_rate": 1.0,
            "latency": latency,
        }
        for name in ("torch", "openvino")
    ]
    verification = {
        "frames": ["a"],
        "served": "openvino",
        "rungs": rungs,
        "more": 1,
        "average_precision": {"torch": {"car": 0.9}},
    }
    _write_json(paths["verification" + suffix] / "verification.json", verification)
    reason = Reason(
        kind="threshold", passed=not suffix, score="s", value=0.5, threshold=0.4, text=HOSTILE
    )
    paths["verdict" + suffix].mkdir()
    Verdict.of([reason], baseline=HOSTILE).write(paths["verdict" + suffix])
    release = paths["release" + suffix].with_name("releases" + suffix)
    _write_json(release / "release.json", {"release_id": "1-abc", "created_at": HOSTILE})
    _write_json(release / "golden" / "one" / "boxes.json", {"boxes": [[1] * 7]})
    scores = {"golden_max_abs_diff": 1e-6}
    Manifest(kind="release", uri=str(release), digest="d", scores=scores).write(
        paths["release" + suffix]
    )
    model = Manifest(kind="model", uri=HOSTILE, digest="e", provenance={"detector": "centerpoint"})
    model.write(paths["model" + suffix] / "manifest.json")
    if not suffix:
        audit = {"opset": 20, "operators": {"Conv": 3}, "tables": ["onnxruntime"], "findings": []}
        _write_json(paths["exported"] / "audit.json", audit)


def _write_json(path: Path, values: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))


def test_a_whole_run_is_shown(tmp_path: Path, artifacts) -> None:
    outputs = ReportOutputs(tmp_path / "report.html")
    config = ReportConfig(num_pictures=2, title=HOSTILE)
    scores = report(ReportInputs(**artifacts), outputs, config)
    assert {"gate_passed", "baseline_gate_passed"} <= scores.keys()
    assert outputs.report.stat().st_size < 8e6
    page = read_page(outputs.report)
    text = " ".join("".join(page.text).split())
    assert "not part of this report" not in text
    assert "Round 1 trained a centerpoint detector" in text
    assert "mining asked for labels of 1 frame out of 7 unlabelled ones" in text
    assert "Release 1-abc is in service" in text
    assert "Triton answered 1 golden request over gRPC with differences of at most 1.0e-06" in text
    assert "labels found" in text
    assert HOSTILE in "".join(page.text)
    assert len([a for a in page.addresses if a.startswith("data:")]) >= 15


DRAWN = ("analysis", "evaluation", "verification")
LIGHT = [name for name in NAMES if not name.startswith(DRAWN)]
"""Inputs that make no figure: pages without figures are quick to make."""


@pytest.mark.parametrize("absent", LIGHT)
def test_any_one_input_may_be_absent(tmp_path: Path, artifacts, absent: str) -> None:
    outputs = ReportOutputs(tmp_path / "report.html")
    given = {name: artifacts[name] for name in LIGHT if name != absent}
    report(ReportInputs(**given), outputs, ReportConfig(num_pictures=0))
    read_page(outputs.report)


@pytest.mark.parametrize("only", [*LIGHT, *DRAWN])
def test_any_one_input_suffices(tmp_path: Path, artifacts, only: str) -> None:
    outputs = ReportOutputs(tmp_path / "report.html")
    report(ReportInputs(**{only: artifacts[only]}), outputs, ReportConfig(num_pictures=1))
    text = " ".join("".join(read_page(outputs.report).text).split())
    assert "not part of this report" in text


def test_nothing_at_all_and_missing_paths_say_so(tmp_path: Path) -> None:
    outputs = ReportOutputs(tmp_path / "report.html")
    nowhere = {name: tmp_path / "nowhere" / name for name in NAMES}
    for inputs in (ReportInputs(), ReportInputs(**nowhere)):
        report(inputs, outputs, ReportConfig())
        text = "".join(read_page(outputs.report).text)
        assert text.count("not part of this report") == 8
        assert "Nothing has been run yet" in text


def test_a_failed_gate_keeps_the_old_release(tmp_path: Path, artifacts) -> None:
    outputs = ReportOutputs(tmp_path / "report.html")
    inputs = ReportInputs(
        verdict=artifacts["verdict_baseline"],
        verdict_baseline=artifacts["verdict"],
        release_baseline=artifacts["release_baseline"],
    )
    report(inputs, outputs, ReportConfig())
    text = " ".join("".join(read_page(outputs.report).text).split())
    assert "Because the gate said no, release 1-abc stays in service." in text


def test_a_damaged_input_is_named(tmp_path: Path) -> None:
    (tmp_path / "verification.json").write_text("{")
    with pytest.raises(DataError, match=r"verification\.json: not JSON"):
        report(ReportInputs(verification=tmp_path), ReportOutputs(tmp_path / "r"), ReportConfig())
