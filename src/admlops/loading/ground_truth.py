"""Ground-truth sampling: labelled objects of all frames, to be put into others.

Source: SECOND (Yan et al., 2018), section 3.4.1; PointPillars, section 3.2.
"""

import hashlib
import json
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numba import njit
from numpy.typing import NDArray

from admlops.files import open_atomically
from admlops.geometry.boxes import intersection_area
from admlops.loading.composition import Change, Objects, compose
from admlops.loading.raw_frames import RawFrame

LAYOUT = 1
"""Version of the cache file's layout; part of its name."""


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """The points of N labelled objects.

    Attributes:
        points: (T, 4) float32 in the ego frame, object after object.
        start: (N + 1,) int64 first point of each object, and the end.
        boxes_7: (N, 7) float64.
        category: (N,) int64 index into the detector's categories.
    """

    points: NDArray[np.float32]
    start: NDArray[np.int64]
    boxes_7: NDArray[np.float64]
    category: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self.boxes_7)

    def points_of(self, chosen: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the (Q, 4) points of the chosen objects."""
        return _take(self.points, self.start, chosen)


@dataclass(frozen=True, slots=True)
class Pasted:
    """Objects chosen for one frame.

    Attributes:
        points: (Q, 4) float32 in the ego frame.
        boxes_7: (S, 7) float64.
        category: (S,) int64.
    """

    points: NDArray[np.float32]
    boxes_7: NDArray[np.float64]
    category: NDArray[np.int64]

    @classmethod
    def none(cls) -> "Pasted":
        """Return no objects."""
        return cls(np.empty((0, 4), np.float32), np.empty((0, 7)), np.empty(0, np.int64))


def collect_ground_truth(frames: Iterable[RawFrame], min_points: int) -> GroundTruth:
    """Return the objects of all frames that hold at least `min_points` points."""
    points, boxes, categories = [], [], []
    for frame in frames:
        cloud = compose(
            frame.points,
            frame.ego_from_sensor,
            frame.view,
            Objects.none(),
            np.empty((0, 4), np.float32),
            Change.none(),
        )
        for box, category in zip(frame.boxes_7, frame.category, strict=True):
            inside = cloud[_inside(cloud, box)]
            if len(inside) >= min_points:
                points.append(inside)
                boxes.append(box)
                categories.append(category)
    lengths = np.array([len(part) for part in points], dtype=np.int64)
    return GroundTruth(
        np.concatenate(points) if points else np.empty((0, 4), np.float32),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.array(boxes, dtype=np.float64).reshape(-1, 7),
        np.array(categories, dtype=np.int64),
    )


def cache_key(digest: str, rows: Sequence[int] | NDArray[np.int64], settings: object) -> str:
    """Return the name of the cache file for these frames and settings.

    Args:
        digest: the dataset version's digest.
        rows: the frames that are used.
        settings: anything JSON-able that changes the content.
    """
    whole = json.dumps([LAYOUT, digest, [int(row) for row in rows], settings], sort_keys=True)
    return f"ground_truth_{hashlib.sha256(whole.encode()).hexdigest()[:24]}.npz"


def write_ground_truth(path: Path, ground_truth: GroundTruth) -> None:
    """Write the cache file, whole or not at all."""
    with open_atomically(path) as file:
        np.savez(
            file,
            points=ground_truth.points,
            start=ground_truth.start,
            boxes_7=ground_truth.boxes_7,
            category=ground_truth.category,
        )


def read_ground_truth(path: Path) -> GroundTruth | None:
    """Return the content of a cache file; None if it is absent or damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return GroundTruth(
                *(arrays[name] for name in ("points", "start", "boxes_7", "category"))
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


class ObjectSampler:
    """Chooses objects for a frame: up to a number per category, and none that collides."""

    def __init__(self, ground_truth: GroundTruth, wanted: Sequence[int]) -> None:
        """Prepare.

        Args:
            ground_truth: the objects.
            wanted: up to how many objects a frame is filled, for each category's index.
        """
        self._ground_truth = ground_truth
        self._wanted = np.array(wanted, dtype=np.int64)
        self._members = [
            np.flatnonzero(ground_truth.category == index) for index in range(len(wanted))
        ]

    def choose(
        self,
        category: NDArray[np.int64],
        obstacles_7: NDArray[np.float64],
        generator: np.random.Generator,
    ) -> Pasted:
        """Return objects to paste into a frame.

        Args:
            category: (B,) categories of the frame's own objects.
            obstacles_7: (O, 7) boxes that must stay free.
            generator: the source of chance.
        """
        candidates = [
            generator.choice(members, min(lack, len(members)), replace=False, shuffle=False)
            for members, lack in zip(self._members, self._lacks(category), strict=True)
            if lack > 0 and len(members)
        ]
        if not candidates:
            return Pasted.none()
        chosen = np.concatenate(candidates)
        boxes = self._ground_truth.boxes_7[chosen]
        free = _free(boxes, np.ascontiguousarray(obstacles_7, dtype=np.float64))
        chosen, boxes = chosen[free], boxes[free]
        return Pasted(
            self._ground_truth.points_of(chosen), boxes, self._ground_truth.category[chosen]
        )

    def _lacks(self, category: NDArray[np.int64]) -> list[int]:
        present = np.bincount(category, minlength=len(self._wanted))
        return np.maximum(self._wanted - present[: len(self._wanted)], 0).tolist()


@njit(cache=True, nogil=True)
def _free(boxes: NDArray[np.float64], obstacles: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which boxes overlap no obstacle and no earlier box that was kept."""
    keep = np.zeros(len(boxes), dtype=np.bool_)
    for index in range(len(boxes)):
        clear = True
        for other in range(len(obstacles)):
            if intersection_area(obstacles[other], boxes[index]) > 0.0:
                clear = False
                break
        for other in range(index):
            if clear and keep[other] and intersection_area(boxes[other], boxes[index]) > 0.0:
                clear = False
        keep[index] = clear
    return keep


@njit(cache=True, nogil=True)
def _inside(points: NDArray[np.float32], box: NDArray[np.float64]) -> NDArray[np.bool_]:
    cosine, sine = np.cos(box[6]), np.sin(box[6])
    result = np.zeros(len(points), dtype=np.bool_)
    for index in range(len(points)):
        dx, dy = points[index, 0] - box[0], points[index, 1] - box[1]
        along, across = dx * cosine + dy * sine, dy * cosine - dx * sine
        result[index] = (
            abs(points[index, 2] - box[2]) <= box[5] / 2
            and abs(along) <= box[3] / 2
            and abs(across) <= box[4] / 2
        )
    return result


@njit(cache=True, nogil=True)
def _take(
    points: NDArray[np.float32], start: NDArray[np.int64], chosen: NDArray[np.int64]
) -> NDArray[np.float32]:
    total = 0
    for index in chosen:
        total += start[index + 1] - start[index]
    out = np.empty((total, 4), dtype=np.float32)
    place = 0
    for index in chosen:
        length = start[index + 1] - start[index]
        out[place : place + length] = points[start[index] : start[index + 1]]
        place += length
    return out
