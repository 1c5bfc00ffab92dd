"""The step `check`: examine data against rules, and against a model's settings."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import Field
from rich.console import Console
from rich.progress import track

from admlops.annotation.definition import load_definition
from admlops.annotation.definition_check import DefinitionCheck
from admlops.checks.doctor import Doctor
from admlops.checks.findings import MAX_KEPT_PER_RULE
from admlops.checks.summary import (
    FINDINGS_FILE,
    FINDINGS_PAGE,
    count_places,
    diagnosis_to_json_dict,
    render_diagnosis_as_markdown,
)
from admlops.config import Config
from admlops.detection.config import (
    DetectorConfig,
    PillarDetectorConfig,
    parse_detector_config,
    read_detector_config,
)
from admlops.errors import DataError
from admlops.evaluation.flat_boxes import FlatBoxes
from admlops.evaluation.matched import average_precision
from admlops.evaluation.measures import Matcher, Measure, Metric
from admlops.files import write_atomically, write_folder_atomically
from admlops.lake.rows import spread_evenly
from admlops.lake.store import Dataset
from admlops.steps.step import Scores
from admlops.structures.boxes import Boxes
from admlops.structures.frame import Frame
from admlops.structures.manifest import Manifest

FED_BACK_IOU = 0.7
_NO_PAYLOAD = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""SHA-256 of nothing: the digest of frames without sensor data."""
_CHUNK_FRAMES = 512
_METRICS: tuple[Metric, ...] = ("bev", "3d")


@dataclass(frozen=True, slots=True)
class CheckInputs:
    """What is read.

    Attributes:
        dataset: manifest of a dataset version.
        model: a model folder, or a YAML or JSON file with a detector's config.
    """

    dataset: Path
    model: Path | None = None


@dataclass(frozen=True, slots=True)
class CheckOutputs:
    """What is written.

    Attributes:
        findings: folder of `findings.json` and `findings.md`.
    """

    findings: Path


class CheckConfig(Config):
    """How much is examined, and what fails."""

    fail_on: Literal["error", "warning", "never"] = "error"
    """Mildest severity at which the step fails, after it has written its findings."""
    detector: DetectorConfig | None = None
    """Settings of the detector to hold the data against, where no model is given."""
    max_clouds: int = Field(default=32, ge=1, le=256)
    """Labelled frames whose points are examined, spread evenly over the dataset."""
    max_fed_back: int = Field(default=1000, ge=1)
    """Labelled frames whose labels are fed back as predictions."""
    definition: str = ""
    """Definition that the labels are held against: a shipped one's name, or a YAML file; empty for
    none."""


def check(inputs: CheckInputs, outputs: CheckOutputs, config: CheckConfig) -> Scores:
    """Examine a dataset version, alone or against a detector; write what was found.

    Raises:
        DataError: the dataset cannot be read, or findings are as severe as `fail_on`.
        ConfigError: the detector's config or the definition is wrong.
    """
    manifest = Manifest.read(inputs.dataset, "dataset")
    dataset = Dataset.open(manifest.reference)
    doctor = Doctor(_read_detector(inputs.model) or config.detector)
    defined = _read_definition(config.definition, doctor)
    _look_at_clouds(doctor, dataset, config.max_clouds)
    _look_at_labels(doctor, dataset, defined)
    fed_back = _feed_back(doctor, dataset, config.max_fed_back)
    diagnosis = doctor.diagnose(fed_back)
    with write_folder_atomically(outputs.findings) as folder:
        values = diagnosis_to_json_dict(diagnosis, dataset.reference)
        write_atomically(folder / FINDINGS_FILE, json.dumps(values, indent=2) + "\n")
        page = render_diagnosis_as_markdown(diagnosis, dataset.reference)
        write_atomically(folder / FINDINGS_PAGE, page)
    places = count_places(diagnosis)
    failing = {"error": places["error"], "warning": places["error"] + places["warning"]}
    if failing.get(config.fail_on, 0):
        first = next(iter(diagnosis.findings))
        raise DataError(
            f"{dataset.reference}: {places['error']} errors, {places['warning']} warnings; "
            f"see {outputs.findings / FINDINGS_PAGE}. The first: {first}"
        )
    return {f"num_{severity}": float(count) for severity, count in places.items()} | dict(
        diagnosis.figures
    )


def _read_detector(model: Path | None) -> PillarDetectorConfig | None:
    if model is None:
        return None
    if model.is_dir():
        return read_detector_config(model)
    try:
        values = yaml.safe_load(model.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(
            f"{model}: neither a model folder nor a detector's YAML or JSON file ({error})"
        ) from error
    return parse_detector_config(values, where=str(model))


def _read_definition(name_or_path: str, doctor: Doctor) -> DefinitionCheck | None:
    if not name_or_path:
        return None
    return DefinitionCheck(load_definition(name_or_path), doctor.log)


def _look_at_clouds(doctor: Doctor, dataset: Dataset, count: int) -> None:
    with_points = "num_boxes > 0 AND lidar_num_points > 0"
    rows = spread_evenly(dataset.rows_where(with_points), count)
    frames = dataset.iterate(rows, lidar=True)
    for frame in track(frames, "check clouds", total=len(rows), console=_console()):
        doctor.look_at_cloud(frame)
    blind = "num_boxes IS NOT NULL AND coalesce(lidar_num_points, 0) = 0"
    without = dataset.rows_where(blind)
    for frame in dataset.iterate(without[:MAX_KEPT_PER_RULE], lidar=False):
        doctor.log.add("FRAME001", str(frame.key), "labelled, but without lidar points")
    if len(without) > MAX_KEPT_PER_RULE:
        doctor.log.counts["FRAME001"] += len(without) - MAX_KEPT_PER_RULE


def _look_at_labels(doctor: Doctor, dataset: Dataset, defined: DefinitionCheck | None) -> None:
    digests = dataset.query("SELECT sensor_digest FROM frames ORDER BY row")[
        "sensor_digest"
    ].to_pylist()
    frames = _iterate_labels(dataset, np.arange(dataset.num_frames))
    total = dataset.num_frames
    for row, frame in enumerate(track(frames, "check labels", total=total, console=_console())):
        digest = digests[row] or ""
        doctor.look_at_labels(frame, "" if digest == _NO_PAYLOAD else digest)
        if defined is not None:
            defined.look(frame)


def _iterate_labels(dataset: Dataset, rows: NDArray[np.int64]) -> Iterator[Frame]:
    for start in range(0, len(rows), _CHUNK_FRAMES):
        yield from dataset.take(rows[start : start + _CHUNK_FRAMES], lidar=False)


def _feed_back(doctor: Doctor, dataset: Dataset, count: int) -> dict[str, float]:
    """Score labels against themselves; anything but 100 is a finding."""
    rows = spread_evenly(dataset.rows_where("num_boxes > 0"), count)
    frames = list(_iterate_labels(dataset, rows))
    names = [str(frame.key) for frame in frames]
    boxes = [Boxes.empty() if frame.boxes is None else frame.boxes for frame in frames]
    categories = sorted({str(name) for part in boxes for name in part.category})
    if not categories:
        return {}
    labels = FlatBoxes.from_frames(names, boxes)
    surest = [part.replace(score=np.ones(len(part))) for part in boxes]
    pairs = product(categories, _METRICS)
    measures = tuple(Measure(category, metric, FED_BACK_IOU) for category, metric in pairs)
    predictions = FlatBoxes.from_frames(names, surest)
    worst = 100.0
    for matches in Matcher(measures, neighbours={}).match(labels, predictions):
        for row, measure in enumerate(matches.measures):
            score = 100.0 * average_precision(matches, row)
            worst = min(worst, score)
            if score < 100.0 - 1e-6:
                lost = np.flatnonzero(matches.matches[row] < 0)
                frame = names[int(matches.frame[lost[0]])] if len(lost) else names[0]
                what = f"{len(lost)} of {len(matches.score)} {measure.category} labels do not match"
                what += f" themselves ({measure.metric}, IoU {FED_BACK_IOU}): score {score:.1f}"
                doctor.log.add("LABEL003", frame, what)
    return {"labels_fed_back_percent": worst}


def _console() -> Console:
    return Console(stderr=True)
