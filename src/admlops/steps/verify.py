"""The step `verify`: compare every runtime with torch, and measure latency."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import Field
from rich.console import Console
from rich.progress import track

from admlops.config import Config
from admlops.detection.backends import cpu_has_bf16, load_network
from admlops.errors import ConfigError, DataError
from admlops.evaluation.flat_boxes import FlatBoxes
from admlops.evaluation.matched import average_precision
from admlops.evaluation.measures import Matcher, Measure
from admlops.export.parity import Ladder, Rung, RungReport, match_rate
from admlops.export.verification import VERIFICATION_FILE
from admlops.files import write_atomically, write_folder_atomically
from admlops.lake.query import quoted
from admlops.lake.rows import spread_evenly
from admlops.lake.store import Dataset
from admlops.serving.canary import CanaryLimits, CanaryReport, judge, mirror
from admlops.serving.client import predict_cloud
from admlops.steps.build import read_targets
from admlops.steps.step import Scores
from admlops.structures.boxes import Boxes
from admlops.structures.frame import Frame
from admlops.structures.manifest import Manifest

CANARY_FILE = "canary.json"
_AP_IOU = 0.5


@dataclass(frozen=True, slots=True)
class VerifyInputs:
    """What is read.

    Attributes:
        model: folder of the trained detector.
        built: folder of the network in each runtime's own form.
        dataset: manifest of the frames to compare on.
    """

    model: Path
    built: Path
    dataset: Path


@dataclass(frozen=True, slots=True)
class VerifyOutputs:
    """What is written.

    Attributes:
        verification: folder of `verification.json`.
    """

    verification: Path


class VerifyConfig(Config):
    """What the comparison runs on."""

    num_frames: int = Field(default=16, ge=1)
    """Frames, spread over the split."""
    split: str = "val"
    """Split that they are taken from; all frames where the dataset has none of it."""
    num_threads: int = Field(default=0, ge=0)
    """Threads of each runtime; 0 lets it choose."""
    served: str = "openvino"
    """The rung whose latency is reported as `points_to_boxes_p50_ms`."""
    canary: str = ""
    """gRPC address of a canary (host:port); its answers and latency are compared with those of
    `stable` on the same frames, and canary.json says whether to promote it."""
    stable: str = ""
    """gRPC address of the release that serves."""
    canary_min_agreement: float = Field(default=0.9, ge=0, le=1)
    """Share of boxes with a partner in the other track's answers, to be promoted."""
    canary_max_slowdown: float = Field(default=1.2, gt=0)
    """Ratio of the tracks' 99th percentiles of latency, to be promoted."""


class Verification(Config):
    """Parity and latency of every runtime."""

    frames: tuple[str, ...]
    """Keys of the frames."""
    num_threads: int
    """Threads of each runtime; 0 was its own choice."""
    served: str
    """The rung whose latency stands in the scores."""
    rungs: tuple[RungReport, ...]
    """Torch first, then every runtime."""
    average_precision: dict[str, dict[str, float]]
    """Per rung and category, in BEV at an overlap of 0.5; empty where frames have no labels."""
    scores: dict[str, float]
    """Flat figures for the gate."""


def verify(inputs: VerifyInputs, outputs: VerifyOutputs, config: VerifyConfig) -> Scores:
    """Run torch and every built runtime on the same frames; write differences and latencies.

    Raises:
        ConfigError: a canary is given without the track that it is compared with, or the rung
            that is served was not built, or cannot run here.
        DataError: model, built folder or dataset cannot be read, or there are no clouds.
    """
    from admlops.training.model_folder import read_model

    if bool(config.canary) != bool(config.stable):
        raise ConfigError("verify: canary and stable are two addresses; give both or neither")
    detector = read_model(inputs.model)
    dataset = Dataset.open(Manifest.read(inputs.dataset, "dataset").reference)
    frames = _frames(dataset, config)
    ladder = Ladder(
        config=detector.config,
        reference=Rung("torch", detector.infer),
        rungs=_rungs(inputs.built, config),
    )
    _require_rung(config.served, [ladder.reference, *ladder.rungs], inputs.built)
    ladder.warm_up(frames[0].points_in_ego())
    console = Console(stderr=True)
    clouds = (frame.points_in_ego() for frame in frames)
    reports = ladder.climb(track(clouds, "verify", total=len(frames), console=console))
    found = {rung.name: rung.boxes for rung in (ladder.reference, *ladder.rungs)}
    precisions = _average_precisions(frames, found, detector.config.categories)
    verification = Verification(
        frames=tuple(str(frame.key) for frame in frames),
        num_threads=config.num_threads,
        served=config.served,
        rungs=reports,
        average_precision=precisions,
        scores=_scores(reports, precisions, config.served),
    )
    with write_folder_atomically(outputs.verification) as draft:
        text = json.dumps(verification.to_json_dict(), indent=2) + "\n"
        write_atomically(draft / VERIFICATION_FILE, text)
        if not config.canary:
            return verification.scores
        report = _compare_tracks(frames, config)
        write_atomically(draft / CANARY_FILE, json.dumps(report.to_json_dict(), indent=2) + "\n")
    decision = "promote" if report.promote else "do not promote: " + "; ".join(report.reasons)
    console.print(f"canary: {decision}", markup=False, highlight=False, soft_wrap=True)
    return verification.scores | {
        "canary_promote": float(report.promote),
        "canary_agreement": report.agreement,
        "canary_p99_ms": report.canary.p99_ms,
        "stable_p99_ms": report.stable.p99_ms,
    }


def _compare_tracks(frames: list[Frame], config: VerifyConfig) -> CanaryReport:
    """Send the frames' clouds to both tracks of a cluster."""
    clouds = [f.lidar.points.astype(np.float32) for f in frames if f.lidar is not None]
    stable, canary = mirror(
        partial(predict_cloud, config.stable), partial(predict_cloud, config.canary), clouds
    )
    pairs = [
        (one, other)
        for one, other in zip(stable.answers, canary.answers, strict=True)
        if one is not None and other is not None
    ]
    agreement = match_rate([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    limits = CanaryLimits(
        min_agreement=config.canary_min_agreement, max_slowdown=config.canary_max_slowdown
    )
    return judge(stable, canary, agreement, limits)


def _frames(dataset: Dataset, config: VerifyConfig) -> list[Frame]:
    """Return frames with clouds, spread over the split."""
    rows = dataset.rows_where(f"split = {quoted(config.split)}")
    rows = rows if len(rows) else np.arange(dataset.num_frames)
    frames = dataset.take(spread_evenly(rows, config.num_frames))
    with_clouds = [frame for frame in frames if frame.lidar is not None]
    if not with_clouds:
        raise DataError(f"{dataset.reference}: no frame with a lidar sweep to verify on")
    return with_clouds


def _rungs(built: Path, config: VerifyConfig) -> tuple[Rung, ...]:
    """Return a rung for every network of the folder.

    Raises:
        DataError: a network cannot be loaded here.
        ServiceError: its runtime is not installed; an engine runs in the image `export` only.
    """
    rungs = []
    for target in read_targets(built):
        if target.target == "onnxruntime":
            network = load_network(built, "onnxruntime", "f32", config.num_threads)
            rungs.append(Rung("onnxruntime", network))
        elif target.target == "openvino" and target.precision == "int8":
            network = load_network(built, "openvino", "int8", config.num_threads)
            rungs.append(Rung("openvino_int8", network))
        elif target.target == "openvino":
            network = load_network(built, "openvino", "f32", config.num_threads)
            rungs.append(Rung("openvino", network))
            if cpu_has_bf16():
                network = load_network(built, "openvino", "bf16", config.num_threads)
                rungs.append(Rung("openvino_bf16", network))
        else:
            rungs.append(Rung("tensorrt", load_network(built, "tensorrt")))
    return tuple(rungs)


def _require_rung(served: str, rungs: Sequence[Rung], built: Path) -> None:
    names = [rung.name for rung in rungs]
    if served not in names:
        raise ConfigError(
            f"served: {served!r} is not in {built}, or cannot run on this machine; there are "
            f"{', '.join(names)}. Build it, or name one of these"
        )


def _average_precisions(
    frames: list[Frame], found: dict[str, list[Boxes]], categories: tuple[str, ...]
) -> dict[str, dict[str, float]]:
    """Return AP per rung and category over the labelled frames; NaN becomes absent."""
    labelled = [number for number, frame in enumerate(frames) if frame.boxes is not None]
    if not labelled:
        return {}
    names = [str(frames[number].key) for number in labelled]
    labels = FlatBoxes.from_frames(names, [frames[n].boxes or Boxes.empty() for n in labelled])
    matcher = Matcher(tuple(Measure(c, "bev", _AP_IOU) for c in categories), {}, min_points=1)
    result = {}
    for rung, boxes in found.items():
        predictions = FlatBoxes.from_frames(names, [boxes[number] for number in labelled])
        values = {
            category: average_precision(matches, 0)
            for category, matches in zip(
                categories, matcher.match(labels, predictions), strict=True
            )
        }
        result[rung] = {name: value for name, value in values.items() if np.isfinite(value)}
    return result


def _scores(
    reports: tuple[RungReport, ...], precisions: dict[str, dict[str, float]], served: str
) -> Scores:
    scores: Scores = {}
    for report in reports:
        if report.name != "torch":
            scores[f"{report.name}_max_abs_diff"] = report.max_abs
            scores[f"{report.name}_match_rate"] = report.match_rate
        values = precisions.get(report.name)
        if values:
            scores[f"{report.name}_mean_bev_ap"] = float(np.mean(list(values.values())))
        for stage, latency in report.latency.items():
            if stage == "points_to_boxes":
                scores[f"{report.name}_points_to_boxes_p50_ms"] = latency.p50_ms
            if report.name == served:
                scores[f"{stage}_p50_ms"] = latency.p50_ms
                scores[f"{stage}_p99_ms"] = latency.p99_ms
    return scores
