"""3D boxes, labels and predictions alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from admlops.structures.box_table import BoxTable, Column

OCCLUSION_UNKNOWN = -1
NUM_POINTS_UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class Boxes(BoxTable):
    """N boxes in the ego frame (x forward, y left, z up, origin on the ground).

    Attributes:
        center_m: (N, 3) float64, geometric centre x y z.
        size_m: (N, 3) float64, length (along yaw), width, height.
        yaw_rad: (N,) float64, about z from x, counter-clockwise, in [-pi, pi).
        category: (N,) object array of str.
        score: (N,) float64 in [0, 1] for predictions; NaN for labels.
        track_id: (N,) object array of str; "" where there is none.
        num_points: (N,) int64, lidar points inside; -1 unknown.
        occlusion: (N,) int64, 0 visible, 1 partly, 2 largely, 3 not judged; -1 absent.
        truncation: (N,) float64 in [0, 1], share outside the image; NaN absent.
        box2d_px: (N, 4) float64, left top right bottom in the front image; NaN absent.
        velocity_mps: (N, 2) float64, vx vy in the ego frame; NaN absent.
        attributes: (N,) object array of str, a JSON object with sorted keys; "" where none.
    """

    center_m: NDArray[np.float64]
    size_m: NDArray[np.float64]
    yaw_rad: NDArray[np.float64]
    category: NDArray[np.object_]
    score: NDArray[np.float64]
    track_id: NDArray[np.object_]
    num_points: NDArray[np.int64]
    occlusion: NDArray[np.int64]
    truncation: NDArray[np.float64]
    box2d_px: NDArray[np.float64]
    velocity_mps: NDArray[np.float64]
    attributes: NDArray[np.object_]

    columns: ClassVar[Mapping[str, Column]] = MappingProxyType(
        {
            "center_m": Column(np.float64, 3, np.nan),
            "size_m": Column(np.float64, 3, np.nan),
            "yaw_rad": Column(np.float64, 0, np.nan),
            "category": Column(object, 0, ""),
            "score": Column(np.float64, 0, np.nan),
            "track_id": Column(object, 0, ""),
            "num_points": Column(np.int64, 0, NUM_POINTS_UNKNOWN),
            "occlusion": Column(np.int64, 0, OCCLUSION_UNKNOWN),
            "truncation": Column(np.float64, 0, np.nan),
            "box2d_px": Column(np.float64, 4, np.nan),
            "velocity_mps": Column(np.float64, 2, np.nan),
            "attributes": Column(object, 0, ""),
        }
    )

    @classmethod
    def make(
        cls,
        center_m: ArrayLike,
        size_m: ArrayLike,
        yaw_rad: ArrayLike,
        category: Sequence[str] | NDArray[Any],
        **optional: ArrayLike,
    ) -> Self:
        """Return boxes from the four required arrays; what is not given is marked as absent.

        Raises:
            ValueError: an array does not hold one row per box.
        """
        names = np.asarray(category, dtype=object).reshape(-1)
        given = {"center_m": center_m, "size_m": size_m, "yaw_rad": yaw_rad, "category": names}
        return cls.from_columns(len(names), given | optional)

    def as_7(self) -> NDArray[np.float64]:
        """Return (N, 7): x y z length width height yaw, the layout of the geometry functions."""
        return np.column_stack([self.center_m, self.size_m, self.yaw_rad]).reshape(-1, 7)
