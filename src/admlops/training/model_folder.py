"""Model folders: weights, settings and where they come from."""

import hashlib
import json
import pickle
import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from admlops.detection.config import (
    DETECTOR_FILE,
    WEIGHTS_FILE,
    detector_config_json,
    read_detector_config,
)
from admlops.errors import DataError
from admlops.files import digest_file, write_atomically, write_folder_atomically
from admlops.lake.store import Dataset
from admlops.models.detector import Detector, build_detector
from admlops.structures.manifest import Manifest
from admlops.training.config import TrainConfig

MANIFEST_FILE = "manifest.json"
TRAINING_FILE = "training.json"
"""The complete `TrainConfig`."""
VERSIONED = ("admlops", "torch", "pytorch-lightning", "numpy", "numba")
"""Packages whose versions a manifest names."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a model comes from.

    Attributes:
        dataset: the dataset version that it was trained on.
        config: how.
        scores: figures of the training.
        logs: folder of the training's logs, copied into the model's if it exists.
    """

    dataset: Dataset
    config: TrainConfig
    scores: dict[str, float]
    logs: Path | None = None


def write_model(path: Path, detector: Detector, origin: Origin) -> Manifest:
    """Write a model folder, whole or not at all, and return its manifest."""
    with write_folder_atomically(path) as folder:
        write_atomically(folder / DETECTOR_FILE, detector_config_json(detector.config))
        training = json.dumps(origin.config.to_json_dict(), indent=2) + "\n"
        write_atomically(folder / TRAINING_FILE, training)
        if origin.logs is not None and origin.logs.is_dir():
            shutil.copytree(origin.logs, folder / origin.logs.name)
        torch.save(_portable(detector), folder / WEIGHTS_FILE)
        manifest = Manifest(
            kind="model",
            uri=str(path.resolve()),
            digest=model_digest(folder),
            licences=origin.dataset.licences,
            provenance=_provenance(origin),
            scores=origin.scores,
        )
        manifest.write(folder / MANIFEST_FILE)
    return manifest


def read_model(path: Path) -> Detector:
    """Return the detector of a model folder, in evaluation mode.

    Raises:
        DataError: a file is absent or damaged, or the weights are of another detector.
        ConfigError: the detector's kind is not installed.
    """
    detector = build_detector(read_detector_config(path))
    file = path / WEIGHTS_FILE
    try:
        weights = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise DataError(
            f"{file}: weights cannot be read ({error.strerror}); train again"
        ) from error
    except (RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise DataError(f"{file}: damaged weights ({error}); train again") from error
    try:
        detector.load_state_dict(weights)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise DataError(
            f"{file}: these are not weights of the detector in {DETECTOR_FILE}: {error}"
        ) from error
    return detector.eval()


def model_digest(path: Path) -> str:
    """Return a SHA-256 over settings and weights: what determines the predictions."""
    parts = [digest_file(path / name) for name in (DETECTOR_FILE, WEIGHTS_FILE)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _portable(detector: Detector) -> dict[str, torch.Tensor]:
    """Return weights on the CPU in the plain layout, whatever they were trained in."""
    return {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in detector.state_dict().items()
    }


def _provenance(origin: Origin) -> dict[str, str]:
    return {
        "step": "train",
        "dataset": origin.dataset.reference,
        "dataset_digest": origin.dataset.digest,
        "detector": origin.config.detector.kind,
        "seed": str(origin.config.seed),
        "num_steps": str(origin.config.num_steps),
        "python": platform.python_version(),
        **{name: version(name) for name in VERSIONED},
    }
