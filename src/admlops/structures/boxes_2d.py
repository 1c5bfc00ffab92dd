"""2D boxes in camera images, labels and predictions alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from admlops.structures.box_table import BoxTable, Column
from admlops.structures.boxes import OCCLUSION_UNKNOWN


@dataclass(frozen=True, slots=True)
class Boxes2d(BoxTable):
    """N boxes in the images of a frame's cameras.

    Attributes:
        box2d_px: (N, 4) float64, left top right bottom in the image.
        category: (N,) object array of str.
        camera: (N,) object array of str, name of the camera; "" is the frame's front camera.
        score: (N,) float64 in [0, 1] for predictions; NaN for labels.
        track_id: (N,) object array of str; "" where there is none.
        occlusion: (N,) int64, 0 visible, 1 partly, 2 largely, 3 not judged; -1 absent.
        truncation: (N,) float64 in [0, 1], share outside the image; NaN absent.
        attributes: (N,) object array of str, a JSON object with sorted keys; "" where none.
    """

    box2d_px: NDArray[np.float64]
    category: NDArray[np.object_]
    camera: NDArray[np.object_]
    score: NDArray[np.float64]
    track_id: NDArray[np.object_]
    occlusion: NDArray[np.int64]
    truncation: NDArray[np.float64]
    attributes: NDArray[np.object_]

    columns: ClassVar[Mapping[str, Column]] = MappingProxyType(
        {
            "box2d_px": Column(np.float64, 4, np.nan),
            "category": Column(object, 0, ""),
            "camera": Column(object, 0, ""),
            "score": Column(np.float64, 0, np.nan),
            "track_id": Column(object, 0, ""),
            "occlusion": Column(np.int64, 0, OCCLUSION_UNKNOWN),
            "truncation": Column(np.float64, 0, np.nan),
            "attributes": Column(object, 0, ""),
        }
    )

    @classmethod
    def make(
        cls,
        box2d_px: ArrayLike,
        category: Sequence[str] | NDArray[Any],
        **optional: ArrayLike,
    ) -> Self:
        """Return boxes from the two required arrays; what is not given is marked as absent.

        Raises:
            ValueError: an array does not hold one row per box.
        """
        names = np.asarray(category, dtype=object).reshape(-1)
        return cls.from_columns(len(names), {"box2d_px": box2d_px, "category": names} | optional)
