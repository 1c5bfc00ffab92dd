"""The step `train`: a detector from a dataset version."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from admlops.lake.store import Dataset
from admlops.steps.step import Scores
from admlops.structures.manifest import Manifest
from admlops.training.config import TrainConfig
from admlops.training.threads import sleep_while_waiting

__all__ = ["TrainConfig", "TrainInputs", "TrainOutputs", "train"]


@dataclass(frozen=True, slots=True)
class TrainInputs:
    """What is read.

    Attributes:
        dataset: a dataset manifest.
    """

    dataset: Path


@dataclass(frozen=True, slots=True)
class TrainOutputs:
    """What is written.

    Attributes:
        model: folder of manifest, settings and weights.
    """

    model: Path


def train(inputs: TrainInputs, outputs: TrainOutputs, config: TrainConfig) -> Scores:
    """Train a detector; a training that was stopped goes on when the step is run again.

    Raises:
        DataError: the dataset cannot be read, or has no frame to train on.
        ConfigError: the detector's kind is not installed.
    """
    sleep_while_waiting()
    from admlops.training.model_folder import Origin, write_model
    from admlops.training.running import train_detector

    dataset = Dataset.open(Manifest.read(inputs.dataset, kind="dataset").reference)
    beside = outputs.model.with_name(f"{outputs.model.name}.training")
    work_folder = Path(config.work_folder) if config.work_folder else beside
    start = time.monotonic()
    trained = train_detector(dataset, config, work_folder)
    scores = {
        "train_loss": trained.loss,
        "train_frames": float(trained.num_frames),
        "train_steps": float(trained.num_steps),
        "train_seconds": time.monotonic() - start,
        "train_parameters": float(trained.detector.num_parameters()),
    }
    origin = Origin(dataset, config, scores, trained.logs)
    write_model(outputs.model, trained.detector, origin)
    shutil.rmtree(trained.folder, ignore_errors=True)
    if work_folder.is_dir() and not any(work_folder.iterdir()):
        work_folder.rmdir()
    return scores
