"""The step `report`: write one HTML page about a run."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field
from rich.console import Console
from rich.progress import track

from admlops.config import Config
from admlops.files import write_atomically
from admlops.lake.predictions import iterate_predictions
from admlops.lake.store import Dataset
from admlops.reporting.iteration import name_rounds
from admlops.reporting.page import Picture, render_report
from admlops.reporting.pictures import Pairing, draw_from_above, draw_in_image, pair_boxes
from admlops.reporting.sources import (
    MANIFEST_FILE,
    Round,
    RoundPaths,
    Run,
    read_audit,
    read_deliveries,
    read_findings,
    read_manifest,
    read_recordings,
    read_request,
    read_round,
)
from admlops.serving.bucket_store import open_store
from admlops.steps.step import Scores
from admlops.structures.boxes import Boxes
from admlops.structures.frame import Frame, FrameKey
from admlops.structures.manifest import PREDICTIONS_FILE, Manifest

SectionName = Literal[
    "data",
    "recordings",
    "findings",
    "detections",
    "evaluation",
    "runtimes",
    "gate",
    "release",
    "mining",
    "labels",
    "lineage",
]


@dataclass(frozen=True, slots=True)
class ReportInputs:
    """What is read; everything is optional, and what is absent is said to be.

    Attributes:
        dataset: manifest of the dataset version.
        findings: what the check found.
        analysis: distributions and coverage.
        model: the detector.
        predictions: what it found.
        evaluation: how it scored.
        exported: the network with its operator audit.
        verification: parity and latency.
        verdict: the gate's decision.
        release: manifest of the release.
        request: which frames were to be labelled.
        recordings: findings of the ingest of recordings, with their quality.
        prelabels: automatic labels.
        acceptance: the judgement of the last delivery of labels.
        acceptance_baseline: the judgement of the delivery before it.
        dataset_baseline: the same of the first of two rounds.
        analysis_baseline: the same of the first of two rounds.
        model_baseline: the same of the first of two rounds.
        predictions_baseline: the same of the first of two rounds.
        evaluation_baseline: the same of the first of two rounds.
        verification_baseline: the same of the first of two rounds.
        verdict_baseline: the same of the first of two rounds.
        release_baseline: the same of the first of two rounds.
    """

    dataset: Path | None = None
    findings: Path | None = None
    analysis: Path | None = None
    model: Path | None = None
    predictions: Path | None = None
    evaluation: Path | None = None
    exported: Path | None = None
    verification: Path | None = None
    verdict: Path | None = None
    release: Path | None = None
    request: Path | None = None
    recordings: Path | None = None
    prelabels: Path | None = None
    acceptance: Path | None = None
    acceptance_baseline: Path | None = None
    dataset_baseline: Path | None = None
    analysis_baseline: Path | None = None
    model_baseline: Path | None = None
    predictions_baseline: Path | None = None
    evaluation_baseline: Path | None = None
    verification_baseline: Path | None = None
    verdict_baseline: Path | None = None
    release_baseline: Path | None = None

    def current(self) -> RoundPaths:
        """Return the paths of the only or the second round."""
        return RoundPaths(
            self.dataset,
            self.model,
            self.analysis,
            self.predictions,
            self.evaluation,
            self.verification,
            self.verdict,
            self.release,
        )

    def baseline(self) -> RoundPaths:
        """Return the paths of the first of two rounds."""
        return RoundPaths(
            self.dataset_baseline,
            self.model_baseline,
            self.analysis_baseline,
            self.predictions_baseline,
            self.evaluation_baseline,
            self.verification_baseline,
            self.verdict_baseline,
            self.release_baseline,
        )


@dataclass(frozen=True, slots=True)
class ReportOutputs:
    """What is written.

    Attributes:
        report: the HTML file.
    """

    report: Path


class ReportConfig(Config):
    """How the report looks."""

    title: str = "Run report"
    """Heading of the page."""
    num_pictures: int = Field(default=4, ge=0, le=50)
    """Frames whose detections are drawn."""
    min_score: float = Field(default=0.3, ge=0.0, le=1.0)
    """Score from which on detections are drawn."""
    reach_m: float = Field(default=55.0, gt=5.0, le=250.0)
    """How far the pictures from above reach."""
    sections: tuple[SectionName, ...] = ()
    """Which sections there are; without, all but those of recordings and labels that are absent."""
    releases_uri: str = ""
    """Store of releases, in which those of the models are looked up where none is given."""


def report(inputs: ReportInputs, outputs: ReportOutputs, config: ReportConfig) -> Scores:
    """Write everything that is known about a run as one self-contained page.

    Raises:
        DataError: an input is there but damaged.
    """
    run = _read_run(inputs, config.releases_uri)
    pictures = list(_pictures(run, inputs, config))
    page = render_report(run, pictures, config.title, config.min_score, config.sections)
    write_atomically(outputs.report, page)
    earlier = {} if run.first is None else _headline(run.first)
    return _headline(run.last) | {f"baseline_{name}": value for name, value in earlier.items()}


_HEADLINES = (
    "num_frames",
    "car_bev_ap50",
    "mean_bev_ap",
    "mean_3d_ap",
    "onnxruntime_max_abs_diff",
    "openvino_max_abs_diff",
    "points_to_boxes_p50_ms",
    "points_to_boxes_p99_ms",
    "golden_max_abs_diff",
    "release_number",
)


def _headline(read: Round) -> Scores:
    """Return the figures that sum up a round; what is not known is left out."""
    known: Scores = {}
    for part in (read.evaluation, read.verification, read.release):
        known |= {} if part is None else part.scores
    scores = {name: known[name] for name in _HEADLINES if name in known}
    if read.verdict is not None:
        scores["gate_passed"] = float(read.verdict.passed)
    return scores


def _read_run(inputs: ReportInputs, releases_uri: str) -> Run:
    earlier = _with_release(inputs.baseline(), releases_uri)
    has_two = any(getattr(earlier, name) is not None for name in RoundPaths.__slots__)
    rounds: tuple[Round, ...] = (
        read_round("this run", _with_release(inputs.current(), releases_uri)),
    )
    if has_two:
        rounds = (read_round("before", earlier), *rounds)
    return Run(
        rounds=name_rounds(rounds),
        findings=read_findings(inputs.findings),
        audit=read_audit(inputs.exported),
        request=read_request(inputs.request),
        recordings=read_recordings(inputs.recordings),
        deliveries=read_deliveries(inputs.acceptance_baseline, inputs.acceptance),
        prelabels=read_manifest(inputs.prelabels),
    )


def _with_release(paths: RoundPaths, releases_uri: str) -> RoundPaths:
    """Add the published release of the round's model, where the pipeline did not hand it on."""
    manifest = None if paths.model is None else paths.model / MANIFEST_FILE
    if paths.release is not None or not releases_uri or manifest is None or not manifest.is_file():
        return paths
    digest = Manifest.read(manifest, "model").digest
    store = open_store(releases_uri)
    found = store.find_model(digest)
    folder = None if found is None else store.folder / found.stem
    return replace(paths, release=found, release_folder=folder)


def _pictures(run: Run, inputs: ReportInputs, config: ReportConfig) -> Iterator[Picture]:
    """Draw a few labelled frames that were predicted, spread over the conditions."""
    manifest = run.last.dataset
    file = _file_of(inputs.predictions)
    if manifest is None or file is None or config.num_pictures == 0:
        return
    dataset = Dataset.open(manifest.reference)
    rows = _choose_rows(dataset, {key for key, _ in iterate_predictions(file)}, config.num_pictures)
    frames = dataset.take(rows, camera=True)
    wanted = {frame.key for frame in frames}
    found = [("", _select(file, wanted))]
    earlier = _file_of(inputs.predictions_baseline)
    if earlier is not None:
        found = [(run.rounds[0].name, _select(earlier, wanted)), (run.last.name, found[0][1])]
    categories = _categories(run, frames)
    console = Console(stderr=True)
    for frame in track(frames, "draw", console=console):
        pairings = [
            (
                name.capitalize(),
                pair_boxes(
                    Boxes.empty() if frame.boxes is None else frame.boxes,
                    boxes.get(frame.key, Boxes.empty()),
                    categories,
                    config.min_score,
                ),
            )
            for name, boxes in found
        ]
        yield _draw(frame, pairings, config.reach_m)


def _draw(frame: Frame, pairings: list[tuple[str, Pairing]], reach_m: float) -> Picture:
    key = frame.key
    tags = f" ({', '.join(frame.tags)})" if frame.tags else ""
    name, last = pairings[-1]
    return Picture(
        title=f"Frame {frame.frame_id or key.timestamp_ns} of {key.scene}{tags}",
        above=draw_from_above(frame, pairings, reach_m),
        num_panels=len(pairings),
        image=draw_in_image(frame, last),
        image_caption=f"{name}: {last.summary}" if name else last.summary,
    )


def _choose_rows(dataset: Dataset, predicted: set[FrameKey], count: int) -> list[int]:
    """Return labelled and predicted rows: one of each combination of tags in turn, most boxes."""
    table = dataset.query(
        "SELECT row, log, scene, timestamp_ns, array_to_string(tags, ' ') AS tags, num_boxes "
        "FROM frames WHERE num_boxes > 0 ORDER BY num_boxes DESC, row"
    ).to_pylist()
    groups: dict[str, list[int]] = {}
    seen: set[str] = set()
    for item in table:
        key = FrameKey(item["log"], item["scene"], item["timestamp_ns"])
        if key in predicted:
            groups.setdefault(item["tags"] or "", []).append(item["row"])
    chosen: list[int] = []
    while len(chosen) < count and any(groups.values()):
        for name in sorted(groups):
            if groups[name] and len(chosen) < count:
                rows = groups[name]
                chosen.append(rows.pop(0 if name not in seen else len(rows) // 2))
                seen.add(name)
    return chosen


def _select(file: Path, wanted: set[FrameKey]) -> dict[FrameKey, Boxes]:
    return {key: boxes for key, boxes in iterate_predictions(file) if key in wanted}


def _file_of(predictions: Path | None) -> Path | None:
    if predictions is None:
        return None
    file = predictions / PREDICTIONS_FILE
    return file if file.is_file() else None


def _categories(run: Run, frames: list[Frame]) -> list[str]:
    evaluation = run.last.evaluation
    if evaluation is not None:
        return sorted({item.category for item in evaluation.measures})
    names = [frame.boxes.category.astype(str) for frame in frames if frame.boxes is not None]
    return sorted(set(np.concatenate(names).tolist())) if names else []
