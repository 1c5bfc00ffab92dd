"""The step `evaluate`: score predictions against labels."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field
from rich.console import Console
from rich.progress import track

from admlops.config import Config
from admlops.evaluation.kitti import (
    DIFFICULTIES,
    KITTI_NEIGHBOURS,
    KITTI_OVERLAPS,
    METRICS,
    KittiEvaluator,
    KittiProtocol,
    KittiResult,
)
from admlops.evaluation.kitti_folders import names_to_evaluate, read_chunks, result_folder
from admlops.files import write_atomically
from admlops.steps.step import Scores


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
        evaluation: folder of `ap.json` and `evaluation.json`.
        json: file with the average precision alone.
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
    neighbours: dict[str, str] = Field(default_factory=lambda: dict(KITTI_NEIGHBOURS))
    """Categories near a scored one: finding them is neither right nor wrong."""
    chunk_frames: int = Field(default=1024, ge=1)
    """Frames in memory at a time."""


def evaluate(inputs: EvaluateInputs, outputs: EvaluateOutputs, config: EvaluateConfig) -> Scores:
    """Score predictions against labels.

    Raises:
        DataError: labels or predictions cannot be read, or are not of the same frames.
    """
    folder = result_folder(inputs.predictions)
    names = names_to_evaluate(inputs.labels, folder)
    evaluator = KittiEvaluator(
        KittiProtocol(
            categories=config.categories, overlaps=config.overlaps, neighbours=config.neighbours
        )
    )
    chunks = read_chunks(inputs.labels, folder, names, config.chunk_frames)
    num_chunks = -(-len(names) // config.chunk_frames)
    console = Console(stderr=True)
    for labels, predictions in track(chunks, "evaluate", total=num_chunks, console=console):
        evaluator.add(labels, predictions)
    result = evaluator.result()
    if outputs.json is not None:
        write_atomically(outputs.json, json.dumps(result.to_json_dict(), indent=1) + "\n")
    return _kitti_scores(result)


def _kitti_scores(result: KittiResult) -> Scores:
    """Return R40 at moderate difficulty, in percent, where it can be told."""
    values = result.average_precision(40)[..., DIFFICULTIES.index("moderate")]
    return {
        f"{category}_{metric}_moderate_r40_percent": float(values[row, column])
        for row, category in enumerate(result.categories)
        for column, metric in enumerate((*METRICS, "aos"))
        if not np.isnan(values[row, column])
    }
