"""The step `gate`."""

import json
from pathlib import Path

import pytest

from admlops.errors import DataError, GateError
from admlops.steps.evaluate import EvaluateConfig, EvaluateInputs, EvaluateOutputs, evaluate
from admlops.steps.gate import GateConfig, GateInputs, GateOutputs, gate

NUM_FRAMES = 120


def car(z_m: float, score: float | None = None) -> str:
    row = f"Car 0 0 0 100 100 200 150 1.5 2.0 4.0 0.0 1.65 {z_m} 0"
    return row if score is None else f"{row} {score}"


def make_evaluation(folder: Path, found_far: int, found_near: int = NUM_FRAMES) -> Path:
    """Evaluate a model that finds some of the near and some of the far cars."""
    labels, predictions = folder / "labels", folder / "predictions"
    labels.mkdir(parents=True)
    predictions.mkdir()
    for index in range(NUM_FRAMES):
        (labels / f"{index:06d}.txt").write_text(f"{car(10)}\n{car(60)}\n")
        rows = [car(10, 0.9)] * (index < found_near) + [car(60, 0.8)] * (index < found_far)
        (predictions / f"{index:06d}.txt").write_text("\n".join(rows))
    evaluate(
        EvaluateInputs(labels, predictions),
        EvaluateOutputs(evaluation=folder / "evaluation"),
        EvaluateConfig(categories=("car",)),
    )
    return folder / "evaluation"


def test_a_first_model_needs_its_thresholds_only(tmp_path: Path) -> None:
    inputs = GateInputs(evaluation=make_evaluation(tmp_path / "model", 60))
    outputs = GateOutputs(verdict=tmp_path / "verdict")
    scores = gate(inputs, outputs, GateConfig(min_scores={"car_bev_ap50": 0.7}))
    assert scores == {"passed": 1.0, "num_checks": 1.0, "num_failed": 0.0, "num_compared": 0.0}
    assert (
        "there is no published model to compare with"
        in (tmp_path / "verdict/verdict.md").read_text()
    )


def test_a_missed_threshold_is_named(tmp_path: Path) -> None:
    inputs = GateInputs(evaluation=make_evaluation(tmp_path / "model", 60))
    outputs = GateOutputs(verdict=tmp_path / "verdict")
    config = GateConfig(min_scores={"car_bev_ap50": 0.9})
    assert gate(inputs, outputs, config)["passed"] == 0.0
    written = json.loads((tmp_path / "verdict/verdict.json").read_text())
    assert written["passed"] is False
    assert written["reasons"][0] | {"text": ""} == {
        "kind": "threshold",
        "passed": False,
        "score": "car_bev_ap50",
        "slice": "all",
        "value": 0.75,
        "threshold": 0.9,
        "low": None,
        "high": None,
        "text": "",
    }


def test_one_slice_that_drops_fails_the_model(tmp_path: Path) -> None:
    """Over all frames the model is better; far away it is much worse."""
    published = make_evaluation(tmp_path / "published", found_far=90, found_near=60)
    model = make_evaluation(tmp_path / "model", found_far=60, found_near=NUM_FRAMES)
    outputs = GateOutputs(verdict=tmp_path / "verdict")
    scores = gate(GateInputs(evaluation=model, baseline=published), outputs, GateConfig())
    assert scores["passed"] == 0.0
    reasons = json.loads((tmp_path / "verdict/verdict.json").read_text())["reasons"]
    failed = {(item["score"], item["slice"]) for item in reasons if not item["passed"]}
    assert ("car_bev_ap50", "range_40_70m") in failed
    assert {part for _, part in failed} == {"range_40_70m"}


def test_a_better_model_passes(tmp_path: Path) -> None:
    published = make_evaluation(tmp_path / "published", found_far=60)
    model = make_evaluation(tmp_path / "model", found_far=90)
    inputs = GateInputs(evaluation=model, baseline=published)
    scores = gate(inputs, GateOutputs(verdict=tmp_path / "verdict"), GateConfig())
    assert scores["passed"] == 1.0
    assert scores["num_compared"] > 0


def test_enforcing_raises_after_the_verdict_is_written(tmp_path: Path) -> None:
    inputs = GateInputs(evaluation=make_evaluation(tmp_path / "model", 60))
    config = GateConfig(min_scores={"car_bev_ap50": 0.9}, enforce=True)
    with pytest.raises(GateError, match=r"car_bev_ap50 is 0\.75, but at least 0\.9"):
        gate(inputs, GateOutputs(verdict=tmp_path / "verdict"), config)
    assert (tmp_path / "verdict/verdict.md").is_file()


def test_figures_of_the_verification_count_too(tmp_path: Path) -> None:
    verification = tmp_path / "verification"
    verification.mkdir()
    (verification / "verification.json").write_text(json.dumps({"scores": {"p99_ms": 120.0}}))
    inputs = GateInputs(make_evaluation(tmp_path / "model", 60), verification=verification)
    outputs = GateOutputs(verdict=tmp_path / "verdict")
    assert gate(inputs, outputs, GateConfig(max_scores={"p99_ms": 110.0}))["passed"] == 0.0
    assert gate(inputs, outputs, GateConfig(max_scores={"p99_ms": 130.0}))["passed"] == 1.0


def test_an_absent_evaluation_is_an_error(tmp_path: Path) -> None:
    inputs = GateInputs(evaluation=tmp_path / "absent")
    with pytest.raises(DataError, match=r"evaluation\.json: cannot be read"):
        gate(inputs, GateOutputs(verdict=tmp_path / "verdict"), GateConfig())
