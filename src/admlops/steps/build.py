"""The step `build`: make an exported network ready for a runtime."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import Field
from rich.console import Console
from rich.progress import track

from admlops.detection.backends import ONNX_FILE
from admlops.detection.config import DETECTOR_FILE, PillarDetectorConfig, read_detector_config
from admlops.detection.voxelization import Voxelizer
from admlops.errors import DataError
from admlops.export.operator_table import Target
from admlops.export.targets import (
    BuiltTarget,
    NetworkInputs,
    TargetOptions,
    Workpiece,
    find_builder,
)
from admlops.files import digest_folder, write_atomically, write_folder_atomically
from admlops.lake.rows import spread_evenly
from admlops.lake.store import Dataset
from admlops.steps.step import Scores
from admlops.structures.manifest import Manifest

BUILD_FILE = "build.json"
MANIFEST_FILE = "manifest.json"


@dataclass(frozen=True, slots=True)
class BuildInputs:
    """What is read.

    Attributes:
        exported: folder of the network as ONNX.
        dataset: frames for calibration; needed for INT8 only.
    """

    exported: Path
    dataset: Path | None = None


@dataclass(frozen=True, slots=True)
class BuildOutputs:
    """What is written.

    Attributes:
        built: folder of the network in each runtime's own form.
    """

    built: Path


class BuildConfig(TargetOptions):
    """What is built, and how."""

    targets: tuple[Target, ...] = Field(default=("onnxruntime", "openvino"), min_length=1)
    """Runtimes; tensorrt needs a GPU."""
    num_calibration_frames: int = Field(default=32, ge=1)
    """Frames that INT8 ranges are taken from, spread over the training frames."""


def build(inputs: BuildInputs, outputs: BuildOutputs, config: BuildConfig) -> Scores:
    """Build the network for each target.

    Raises:
        DataError: the exported folder cannot be read, a runtime cannot load the network, or INT8
            is asked for without a dataset.
        ServiceError: a target needs what this machine does not have.
    """
    exported = Manifest.read(inputs.exported / MANIFEST_FILE, "exported")
    detector = read_detector_config(inputs.exported)
    with write_folder_atomically(outputs.built) as draft:
        for name in (ONNX_FILE, DETECTOR_FILE):
            shutil.copyfile(inputs.exported / name, draft / name)
        work = Workpiece(
            onnx_file=draft / ONNX_FILE,
            folder=draft,
            options=TargetOptions(storage=config.storage, int8=config.int8),
            calibration=_calibration(inputs.dataset, detector, config),
        )
        built = [item for target in config.targets for item in find_builder(target)(work)]
        text = json.dumps({"targets": [item.to_json_dict() for item in built]}, indent=2) + "\n"
        write_atomically(draft / BUILD_FILE, text)
        scores = {
            f"{item.target}_{item.precision}_bytes": _size(draft / item.file) for item in built
        }
        targets = ", ".join(f"{item.target} {item.precision}" for item in built)
        manifest = Manifest(
            kind="built",
            uri=str(outputs.built),
            digest=digest_folder(draft),
            licences=exported.licences,
            provenance=exported.provenance | {"step": "build", "targets": targets},
            scores=scores,
        )
        manifest.write(draft / MANIFEST_FILE)
    return scores


def read_targets(built: Path) -> list[BuiltTarget]:
    """Return what a built folder holds.

    Raises:
        DataError: the folder has no record of it.
    """
    path = built / BUILD_FILE
    try:
        values = json.loads(path.read_bytes())
        return [BuiltTarget.parse(item, where=str(path)) for item in values["targets"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); run build first") from error


def _calibration(
    dataset: Path | None, detector: PillarDetectorConfig, config: BuildConfig
) -> list[NetworkInputs]:
    """Return the network's inputs for frames that are spread over the dataset."""
    if not config.int8:
        return []
    if dataset is None:
        raise DataError("build: INT8 needs calibration frames; give the step a dataset")
    opened = Dataset.open(Manifest.read(dataset, "dataset").reference)
    rows = opened.rows_where("split = 'train'")
    rows = rows if len(rows) else np.arange(opened.num_frames)
    chosen = spread_evenly(rows, config.num_calibration_frames)
    frames = _pillar_inputs(opened, chosen, detector)
    console = Console(stderr=True)
    return list(track(frames, "calibration frames", total=len(chosen), console=console))


def _pillar_inputs(
    dataset: Dataset, rows: np.ndarray, detector: PillarDetectorConfig
) -> Iterator[NetworkInputs]:
    voxelizer = Voxelizer(detector)
    for frame in dataset.iterate(rows):
        if frame.lidar is None:
            continue
        pillars = voxelizer(frame.points_in_ego())
        if len(pillars):
            yield dict(pillars.copy().as_inputs())


def _size(path: Path) -> float:
    """Return the bytes of a network, its weights included."""
    weights = path.with_suffix(".bin")
    return float(path.stat().st_size + (weights.stat().st_size if weights.is_file() else 0))
