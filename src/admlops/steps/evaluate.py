"""The step `evaluate`: score predictions against labels."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field
from rich.console import Console
from rich.progress import track

from admlops.config import Config
from admlops.errors import DataError
from admlops.evaluation.centre_distance import (
    DISTANCES_M,
    CentreDistanceResult,
    score_centre_distance,
)
from admlops.evaluation.chunks import (
    Chunk,
    names_to_evaluate,
    read_folder_chunks,
    result_folder,
)
from admlops.evaluation.failures import FailureList
from admlops.evaluation.frame_set import FrameSet
from admlops.evaluation.kitti import (
    DIFFICULTIES,
    KITTI_NEIGHBOURS,
    KITTI_OVERLAPS,
    METRICS,
    KittiEvaluator,
    KittiProtocol,
    KittiResult,
)
from admlops.evaluation.measures import Matcher, Measure, Metric
from admlops.evaluation.records import CategoryRecords
from admlops.evaluation.result import AP_FILE, BootstrapConfig, Evaluation, Replicates
from admlops.evaluation.scoring import (
    Scored,
    flat_scores,
    score_slices,
)
from admlops.evaluation.slices import WHOLE, SliceConfig
from admlops.files import write_atomically, write_folder_atomically
from admlops.steps.step import Scores
from admlops.structures.manifest import PREDICTIONS_FILE, Manifest


@dataclass(frozen=True, slots=True)
class EvaluateInputs:
    """What is read.

    Attributes:
        labels: a dataset manifest, or a folder of KITTI label files.
        predictions: a predictions artifact, or a folder of KITTI result files.
    """

    labels: Path
    predictions: Path


@dataclass(frozen=True, slots=True)
class EvaluateOutputs:
    """What is written.

    Attributes:
        evaluation: folder of `ap.json`, `evaluation.json` and `replicates.json`.
        json: file with the content of `ap.json` alone.
    """

    evaluation: Path | None = None
    json: Path | None = None


class EvaluateConfig(Config):
    """What is scored, and how."""

    protocol: Literal["kitti", "centre_distance"] = "kitti"
    """KITTI's average precision, or nuScenes' by the distance of centres."""
    categories: tuple[str, ...] = ("car", "pedestrian", "cyclist")
    """Categories that are scored, lower case."""
    overlaps: dict[str, float] = Field(default_factory=lambda: dict(KITTI_OVERLAPS))
    """Overlap that a match must exceed, by category; 0.5 where none is given."""
    extra_overlaps: tuple[float, ...] = (0.5,)
    """Further overlaps at which every category is scored on the ground and in space."""
    neighbours: dict[str, str] = Field(default_factory=lambda: dict(KITTI_NEIGHBOURS))
    """Categories near a scored one: finding them is neither right nor wrong."""
    min_points: int = Field(default=1, ge=0)
    """Labels known to hold fewer lidar points are not counted in slices, scores and distances."""
    region_m: tuple[float, float, float, float] | None = None
    """Smallest x y, largest x y: outside, nothing is counted in slices, scores and distances."""
    slices: SliceConfig = SliceConfig()
    """Parts that are scored on their own."""
    bootstrap: BootstrapConfig = BootstrapConfig()
    """How confidence intervals are made."""
    failure_score: float = Field(default=0.3, ge=0.0, le=1.0)
    """Score from which on a prediction can be a failure, and below which it finds nothing."""
    max_failures: int = Field(default=1000, ge=0)
    """Failures that are listed; all are counted."""
    chunk_frames: int = Field(default=1024, ge=1)
    """Frames in memory at a time."""

    def kitti_protocol(self) -> KittiProtocol:
        """Return the part that KITTI's evaluation reads."""
        return KittiProtocol(
            categories=self.categories, overlaps=self.overlaps, neighbours=self.neighbours
        )

    def measures(self) -> tuple[Measure, ...]:
        """Return what is measured, each category's own overlap first."""
        measures: list[Measure] = []
        for category in self.categories:
            own = self.kitti_protocol().overlap_of(category)
            for overlap in dict.fromkeys((own, *self.extra_overlaps)):
                measures += [Measure(category, metric, overlap) for metric in ("bev", "3d")]
            measures += [Measure(category, "distance", distance) for distance in DISTANCES_M]
        return tuple(measures)

    def scored_metrics(self) -> tuple[Metric, ...]:
        """Return the metrics that are scored in slices; the first tells failures."""
        return ("bev", "3d") if self.protocol == "kitti" else ("distance",)

    def failure_list(self) -> FailureList:
        """Return an empty list that is shared out evenly between categories and kinds."""
        share = self.max_failures // max(2 * len(self.categories), 1)
        return FailureList(self.scored_metrics()[0], self.failure_score, share)


@dataclass(frozen=True, slots=True)
class _Found:
    """What is known when all frames have been read."""

    kitti: KittiResult
    categories: tuple[CategoryRecords, ...]
    centre_distance: tuple[CentreDistanceResult, ...]
    frames: FrameSet
    failures: FailureList


def evaluate(inputs: EvaluateInputs, outputs: EvaluateOutputs, config: EvaluateConfig) -> Scores:
    """Score predictions against labels, over all frames and in slices.

    Raises:
        DataError: labels or predictions cannot be read, or are not of the same frames.
    """
    chunks, num_chunks, labels_name = _open(inputs, config)
    console = Console(stderr=True)
    in_detail = outputs.evaluation is not None or config.protocol == "centre_distance"
    found = _collect(
        track(chunks, "evaluate", total=num_chunks, console=console), config, in_detail
    )
    table = _table(found, config)
    if outputs.json is not None:
        write_atomically(outputs.json, json.dumps(table, indent=1) + "\n")
    if outputs.evaluation is None:
        return _headline(found, config)
    evaluation, replicates = _detail(found, config, labels_name, str(inputs.predictions))
    with write_folder_atomically(outputs.evaluation) as draft:
        write_atomically(draft / AP_FILE, json.dumps(table, indent=1) + "\n")
        evaluation.write(draft)
        replicates.write(draft)
    return evaluation.scores


def _open(inputs: EvaluateInputs, config: EvaluateConfig) -> tuple[Iterator[Chunk], int, str]:
    """Return the frames in chunks, the number of chunks, and the name of the labels.

    The lake is imported only where it is read: plain folders do without that extra.
    """
    if inputs.labels.is_dir():
        folder = result_folder(inputs.predictions)
        names = names_to_evaluate(inputs.labels, folder)
        chunks = read_folder_chunks(inputs.labels, folder, names, config.chunk_frames)
        return chunks, -(-len(names) // config.chunk_frames), str(inputs.labels)
    if not inputs.labels.exists():
        raise DataError(
            f"{inputs.labels}: absent; give a folder of KITTI label files or a dataset's manifest"
        )
    from admlops.evaluation.dataset_chunks import count_predictions, read_dataset_chunks
    from admlops.lake.store import Dataset

    dataset = Dataset.open(Manifest.read(inputs.labels, "dataset").reference)
    file = inputs.predictions / PREDICTIONS_FILE
    num_chunks = -(-count_predictions(file) // config.chunk_frames)
    chunks = read_dataset_chunks(dataset, file, config.chunk_frames)
    return chunks, num_chunks, dataset.reference


def _collect(chunks: Iterable[Chunk], config: EvaluateConfig, in_detail: bool) -> _Found:
    """Read all frames once; keep what the figures need."""
    evaluator = KittiEvaluator(config.kitti_protocol())
    matcher = Matcher(config.measures(), config.neighbours, config.min_points, config.region_m)
    categories = tuple(
        CategoryRecords(matcher.measures_of(name), config.slices) for name in matcher.categories
    )
    frames, failures = FrameSet(), config.failure_list()
    for chunk in chunks:
        evaluator.add(chunk.labels, chunk.predictions)
        known_by, tag_sets = frames.add(chunk.frames, chunk.tags)
        found = matcher.match(chunk.labels, chunk.predictions) if in_detail else []
        for records, matches in zip(categories, found, strict=False):
            records.add(matches, known_by, tag_sets)
            failures.add(matches, chunk.frames)
    if frames.num_frames == 0:
        raise DataError("no predicted frame has labels; label some, or predict on labelled frames")
    return _Found(
        kitti=evaluator.result(),
        categories=categories if in_detail else (),
        centre_distance=tuple(score_centre_distance(item) for item in categories if in_detail),
        frames=frames,
        failures=failures,
    )


def _table(found: _Found, config: EvaluateConfig) -> dict[str, Any]:
    """Return what `ap.json` holds under the protocol."""
    if config.protocol == "kitti":
        return found.kitti.to_json_dict()
    return {item.category: item.to_json_dict() for item in found.centre_distance}


def _headline(found: _Found, config: EvaluateConfig) -> Scores:
    """Return the figures by which a protocol is usually quoted, of categories with labels."""
    scores: Scores = {"num_frames": float(found.frames.num_frames)}
    if config.protocol == "kitti":
        values = found.kitti.average_precision(40)[..., DIFFICULTIES.index("moderate")]
        for row, category in enumerate(found.kitti.categories):
            for column, metric in enumerate((*METRICS, "aos")):
                if found.kitti.num_labels[row].any() and not np.isnan(values[row, column]):
                    name = f"{category}_{metric}_moderate_r40_percent"
                    scores[name] = float(values[row, column])
    for item in found.centre_distance:
        if item.num_labels == 0:
            continue
        scores[f"{item.category}_distance_ap"] = item.mean_average_precision
        scores[f"{item.category}_translation_error_m"] = item.translation_error_m
    return scores


def _detail(
    found: _Found, config: EvaluateConfig, labels: str, predictions: str
) -> tuple[Evaluation, Replicates]:
    """Return slices, curves, failures and scores, and the draws of the bootstrap."""
    scored = score_slices(found.categories, found.frames, config.scored_metrics(), config.bootstrap)
    evaluation = Evaluation(
        protocol=config.protocol,
        labels=labels,
        predictions=predictions,
        num_frames=found.frames.num_frames,
        frames_digest=found.frames.digest,
        bootstrap=config.bootstrap,
        scores=_headline(found, config) | flat_scores(scored.measures) | _means(scored, config),
        measures=scored.measures,
        curves=scored.curves,
        centre_distance=found.centre_distance,
        failure_metric=found.failures.metric,
        num_missed=found.failures.num_missed,
        num_false_positives=found.failures.num_false_positives,
        failures=found.failures.failures(),
    )
    return evaluation, scored.replicates


def _means(scored: Scored, config: EvaluateConfig) -> Scores:
    """Return the mean over the categories with labels, at each category's own overlap."""
    protocol = config.kitti_protocol()
    means: Scores = {}
    for metric in ("bev", "3d"):
        values = [
            item.value
            for item in scored.measures
            if item.slice == WHOLE
            and item.metric == metric
            and item.threshold == protocol.overlap_of(item.category)
            and item.value is not None
        ]
        if values:
            means[f"mean_{metric}_ap"] = float(np.mean(values))
    return means
