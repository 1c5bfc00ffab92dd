"""From a raw cloud to boxes: voxelise, run a network, decode.

No runtime is needed here: the network is any function of named arrays.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from admlops.detection.config import PillarDetectorConfig
from admlops.detection.decode import decode
from admlops.detection.voxelization import Voxelizer
from admlops.errors import DataError
from admlops.structures.boxes import Boxes

Network = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[np.float32]]]
"""A network: named inputs (`NETWORK_INPUTS`) to named outputs (`config.output_names`)."""


FRAME_EMBEDDING = "frame_embedding"
"""Name of a further output that describes the frame as a whole, where a network has it."""


@dataclass(frozen=True, slots=True)
class Detections:
    """What was found in a cloud.

    Attributes:
        boxes: predictions in the ego frame, best score first.
        num_points: points of the cloud.
        num_points_invalid: points dropped because a value was NaN or infinite.
        embedding: (D,) what the cloud looks like to the network; None where it does not tell.
    """

    boxes: Boxes
    num_points: int
    num_points_invalid: int
    embedding: NDArray[np.float32] | None = None


class Predictor:
    """Points to boxes, in one thread."""

    def __init__(self, config: PillarDetectorConfig, network: Network) -> None:
        self.config = config
        self._network = network
        self._voxelizer = Voxelizer(config)

    def __call__(self, points_in_ego: NDArray[np.float32]) -> Boxes:
        """Return the boxes found in (N, 4) points x y z intensity, best score first.

        Raises:
            DataError: the array has another shape or holds no numbers.
        """
        return self.detect(points_in_ego).boxes

    def detect(self, points_in_ego: NDArray[np.float32]) -> Detections:
        """Return the boxes and what became of the points.

        Raises:
            DataError: the array has another shape or holds no numbers.
        """
        points = check_points(points_in_ego)
        pillars = self._voxelizer(points)
        boxes, embedding = Boxes.empty(), None
        if len(pillars):
            outputs = self._network(pillars.as_inputs())
            boxes, embedding = decode(outputs, self.config), outputs.get(FRAME_EMBEDDING)
        return Detections(boxes, len(points), pillars.num_points_invalid, embedding)


def check_points(points: NDArray[Any]) -> NDArray[np.float32]:
    """Return a cloud as contiguous (N, 4) float32.

    Raises:
        DataError: the array has another shape or holds no numbers.
    """
    array = np.asarray(points)
    if array.dtype.kind not in "fiu":
        raise DataError(f"a cloud holds numbers, this one is of type {array.dtype}")
    if array.size == 0:
        return np.empty((0, 4), dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != 4:
        raise DataError(
            f"a cloud is an array (N, 4) of x y z intensity, this one has shape {array.shape}"
        )
    return np.ascontiguousarray(array, dtype=np.float32)
