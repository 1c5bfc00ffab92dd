"""3D boxes, labels and predictions alike."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

OCCLUSION_UNKNOWN = -1
NUM_POINTS_UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class Boxes:
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
        count = len(names)
        values: dict[str, Any] = {"category": names}
        given = {"center_m": center_m, "size_m": size_m, "yaw_rad": yaw_rad, **optional}
        unknown = set(given) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"Boxes has no field {sorted(unknown)}")
        for name, (dtype, width, absent) in _COLUMNS.items():
            shape = (count, width) if width else (count,)
            if given.get(name) is None:
                array: NDArray[Any] = np.full(shape, absent, dtype=dtype)
            else:
                array = np.asarray(given[name], dtype=dtype).reshape(shape)
            values[name] = array
        return cls(**values)

    @classmethod
    def empty(cls) -> Self:
        """Return no boxes."""
        return cls.make(np.empty((0, 3)), np.empty((0, 3)), np.empty(0), [])

    @classmethod
    def concatenate(cls, parts: Sequence["Boxes"]) -> Self:
        """Return the boxes of all parts, in order."""
        if not parts:
            return cls.empty()
        names = [field.name for field in fields(cls)]
        return cls(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})

    def __len__(self) -> int:
        """Return the number of boxes."""
        return len(self.yaw_rad)

    def select(self, index: NDArray[Any] | Sequence[int] | slice) -> Self:
        """Return the boxes that a mask, an index array or a slice picks."""
        key = index if isinstance(index, slice) else np.asarray(index)
        if not isinstance(key, slice) and key.size == 0:
            key = key.astype(np.int64)
        return type(self)(**{field.name: getattr(self, field.name)[key] for field in fields(self)})

    def replace(self, **changes: ArrayLike) -> Self:
        """Return a copy in which `changes` replace whole columns."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return type(self).make(**(values | changes))

    def as_7(self) -> NDArray[np.float64]:
        """Return (N, 7): x y z length width height yaw, the layout of the geometry functions."""
        return np.column_stack([self.center_m, self.size_m, self.yaw_rad]).reshape(-1, 7)


_COLUMNS: dict[str, tuple[type, int, Any]] = {
    "center_m": (np.float64, 3, np.nan),
    "size_m": (np.float64, 3, np.nan),
    "yaw_rad": (np.float64, 0, np.nan),
    "score": (np.float64, 0, np.nan),
    "track_id": (object, 0, ""),
    "num_points": (np.int64, 0, NUM_POINTS_UNKNOWN),
    "occlusion": (np.int64, 0, OCCLUSION_UNKNOWN),
    "truncation": (np.float64, 0, np.nan),
    "box2d_px": (np.float64, 4, np.nan),
    "velocity_mps": (np.float64, 2, np.nan),
}
