"""The step `train`: a detector from a dataset version.

Run as a module it is one of the processes that torchrun starts for the step.
"""

import dataclasses
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from admlops.lake.store import Dataset
from admlops.steps.step import Scores, run_step
from admlops.structures.manifest import Manifest
from admlops.training.config import TrainConfig
from admlops.training.processes import answer_request, run_processes, started_by_torchrun
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

    With several processes it starts them with torchrun; started by torchrun itself, it is one of
    them, and the first alone writes the model.

    Raises:
        DataError: the dataset cannot be read, or has no frame to train on.
        ConfigError: the detector's kind is not installed, or a batch is too small to be shared.
        ServiceError: one of several processes died.
    """
    sleep_while_waiting()
    if config.num_processes > 1 and not started_by_torchrun():
        request = {
            "inputs": {name: str(path) for name, path in dataclasses.asdict(inputs).items()},
            "outputs": {name: str(path) for name, path in dataclasses.asdict(outputs).items()},
            "config": config.to_json_dict(),
        }
        return run_processes(config.num_processes, __name__, request, what="train")
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
        "train_processes": float(trained.num_processes),
    }
    if not trained.is_first:
        return scores
    origin = Origin(dataset, config, scores, trained.logs)
    write_model(outputs.model, trained.detector, origin)
    shutil.rmtree(trained.folder, ignore_errors=True)
    if work_folder.is_dir() and not any(work_folder.iterdir()):
        work_folder.rmdir()
    return scores


def _train_as_requested(request: dict[str, Any]) -> Scores:
    return run_step("train", request["inputs"], request["outputs"], request["config"])


if __name__ == "__main__":
    answer_request(_train_as_requested)
