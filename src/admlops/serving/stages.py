"""The three stages of a served detector: voxelise, network, decode. Arrays in, arrays out.

This module, with the packages below it, is copied into every release and runs there inside
Triton's Python backend; it knows nothing of Triton, so it runs and is tested anywhere.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from admlops.config import Config
from admlops.detection.backends import Precision, Runtime, load_network
from admlops.detection.config import (
    NETWORK_INPUTS,
    NUM_POINT_FEATURES,
    PILLAR_CELL,
    POINT_FEATURES,
    POINT_PILLAR,
    read_detector_config,
)
from admlops.detection.decode import decode
from admlops.detection.predictor import check_points
from admlops.detection.voxelization import Voxelizer
from admlops.errors import ConfigError, DataError
from admlops.geometry.pose import transform_points
from admlops.structures.boxes import Boxes

POINTS = "points"
"""(N, 4) float32 in the lidar frame: x y z in metres, intensity in [0, 1]."""
NUM_PILLARS = "num_pillars"
"""(1,) int64: pillars that hold points; 0 for a cloud with nothing in range."""
BOXES = "boxes"
"""(M, 7) float32 in the ego frame: x y z length width height yaw."""
SCORES = "scores"
"""(M,) float32, falling."""
LABELS = "labels"
"""(M,) category names in UTF-8."""

SETTINGS_FILE = "serving.json"
"""Name of the stages' settings in a release."""

_WARM_UP_NUM_POINTS = (20_000, 64, 10_000)

Arrays = Mapping[str, NDArray[Any]]
Stage = Callable[[Arrays], dict[str, NDArray[Any]]]


class ServingSettings(Config):
    """What the stages of one release need to know beside the detector's config."""

    ego_from_lidar: tuple[tuple[float, float, float, float], ...]
    """(4, 4) nominal calibration: incoming points are moved by it into the ego frame."""
    runtime: Runtime = "openvino"
    """What runs the network; in TensorRT it is Triton itself, and no stage of ours."""
    precision: Precision = "f32"
    """Arithmetic of the network; that of a TensorRT engine stands in its key."""
    num_threads: int = 0
    """Threads of the network; 0 lets the runtime choose."""
    max_points: int = 2_000_000
    """Larger clouds are refused."""
    output_shapes: dict[str, tuple[int, ...]]
    """Shape of each output of the network, by name."""


class VoxelizeStage:
    """From a raw cloud to the network's inputs."""

    def __init__(self, release: Path, settings: ServingSettings) -> None:
        self._voxelizer = Voxelizer(read_detector_config(release))
        self._ego_from_lidar = np.array(settings.ego_from_lidar, dtype=np.float64)
        self._max_points = settings.max_points
        self({POINTS: np.zeros((8, 4), dtype=np.float32)})

    def __call__(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Return the network's inputs and the number of pillars.

        A network cannot run on nothing: a cloud without points in range becomes one point of
        zeros, and `num_pillars` tells the last stage to find nothing in it.

        Raises:
            DataError: the cloud has another shape or too many points.
        """
        points = check_points(inputs[POINTS])
        if len(points) > self._max_points:
            raise DataError(
                f"the cloud has {len(points)} points, this release takes at most "
                f"{self._max_points}; send one sweep at a time"
            )
        moved = np.empty_like(points)
        moved[:, :3] = transform_points(self._ego_from_lidar, points[:, :3])
        moved[:, 3] = points[:, 3]
        pillars = self._voxelizer(moved)
        count = {NUM_PILLARS: np.array([len(pillars)], dtype=np.int64)}
        if len(pillars) == 0:
            return count | _placeholder(1, 1)
        return count | dict(pillars.as_inputs())


class NetworkStage:
    """The network, in ONNX Runtime or OpenVINO."""

    def __init__(self, release: Path, settings: ServingSettings) -> None:
        folder = release / "models" / "network" / "1"
        self._network = load_network(
            folder, settings.runtime, settings.precision, settings.num_threads
        )
        rows, columns = read_detector_config(release).grid_shape
        for num_points in _WARM_UP_NUM_POINTS:
            self(_placeholder(num_points, min(num_points, rows * columns)))

    def __call__(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Return the network's outputs."""
        return dict(self._network({name: inputs[name] for name in NETWORK_INPUTS}))


class DecodeStage:
    """From the network's outputs to boxes, scores and labels."""

    def __init__(self, release: Path, settings: ServingSettings) -> None:
        self._config = read_detector_config(release)
        random = np.random.default_rng(0)
        noise: dict[str, NDArray[Any]] = {
            name: random.normal(0.0, 2.0, shape).astype(np.float32)
            for name, shape in settings.output_shapes.items()
        }
        self(noise | {NUM_PILLARS: np.array([1])})

    def __call__(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Return boxes, scores and labels.

        Raises:
            DataError: an output of the network is missing or has another shape.
        """
        nothing = int(inputs[NUM_PILLARS].reshape(-1)[0]) == 0
        return boxes_to_arrays(Boxes.empty() if nothing else decode(inputs, self._config))


def load_stage(name: str, release: Path) -> Stage:
    """Return one stage of a release, warmed up.

    Raises:
        ConfigError: there is no stage of that name, or the settings are wrong.
    """
    settings = ServingSettings.load(release / SETTINGS_FILE)
    if name == "voxelize":
        return VoxelizeStage(release, settings)
    if name == "network":
        return NetworkStage(release, settings)
    if name == "decode":
        return DecodeStage(release, settings)
    raise ConfigError(f"no stage is called {name!r}; stages are voxelize, network, decode")


def boxes_to_arrays(boxes: Boxes) -> dict[str, NDArray[Any]]:
    """Return boxes as the arrays that are served."""
    labels = [str(category).encode() for category in boxes.category]
    return {
        BOXES: boxes.as_7().astype(np.float32),
        SCORES: boxes.score.astype(np.float32),
        LABELS: np.array(labels, dtype=np.object_).reshape(-1),
    }


def arrays_to_boxes(arrays: Arrays) -> Boxes:
    """Return the boxes that served arrays hold."""
    rows = arrays[BOXES].reshape(-1, 7)
    names = [label.decode() for label in arrays[LABELS].reshape(-1)]
    return Boxes.make(rows[:, :3], rows[:, 3:6], rows[:, 6], names, score=arrays[SCORES])


def _placeholder(num_points: int, num_pillars: int) -> dict[str, NDArray[Any]]:
    """Return network inputs of that many points of zeros in the first cells of the grid."""
    point = np.arange(num_points, dtype=np.int64)
    return {
        POINT_FEATURES: np.zeros((num_points, NUM_POINT_FEATURES), dtype=np.float32),
        POINT_PILLAR: point * num_pillars // num_points,
        PILLAR_CELL: np.arange(num_pillars, dtype=np.int64),
    }
