"""Slices: parts of the labels and predictions that are scored on their own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from admlops.config import Config

WHOLE = "all"
POINTS_UNKNOWN = -2
"""The bin of boxes whose points nobody counted."""


class SliceConfig(Config):
    """Which slices are scored."""

    range_edges_m: tuple[float, ...] = (0.0, 20.0, 40.0, 70.0)
    """Edges of the distances on the ground; none turns these slices off."""
    point_edges: tuple[int, ...] = (1, 10, 50, 200)
    """Edges of the numbers of lidar points inside a label; the last slice is open."""
    occlusions: tuple[int, ...] = (0, 1, 2)
    """Occlusion levels of labels."""
    tags: bool = True
    """One slice for each tag of the frames, for example a condition."""

    def range_bin(self, range_m: NDArray[np.float64]) -> NDArray[np.int8]:
        """Return (N,) the number of the distance slice of each box."""
        return (np.searchsorted(self.range_edges_m, range_m, "right") - 1).astype(np.int8)

    def points_bin(self, num_points: NDArray[np.int32]) -> NDArray[np.int8]:
        """Return (N,) the number of the slice by points, `POINTS_UNKNOWN` where not counted."""
        bins = np.searchsorted(self.point_edges, num_points, "right") - 1
        return np.where(num_points < 0, POINTS_UNKNOWN, bins).astype(np.int8)


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of one category.

    Attributes:
        name: for example "range_0_20m".
        field: by what the part is told; "" is the whole.
        numbers: the bins, levels or rows of tag sets that belong to it.
    """

    name: str
    field: Literal["", "range", "points", "occlusion", "tags"] = ""
    numbers: tuple[int, ...] = ()

    def has_label(self, rows: NDArray[np.void]) -> NDArray[np.bool_]:
        """Return (N,) whether labels belong to it; finding another one is neither right nor wrong.

        Args:
            rows: with the fields range, points, occlusion and tags.
        """
        return self._holds(rows[self.field]) if self.field else _every(rows)

    def has_match(self, rows: NDArray[np.void], measure: int) -> NDArray[np.bool_]:
        """Return (M,) whether the label that each prediction found belongs to it."""
        if self.field in ("", "tags"):
            return self.has_label(rows)
        return self._holds(rows[f"label_{self.field}"][:, measure])

    def has_mistake(self, rows: NDArray[np.void]) -> NDArray[np.bool_]:
        """Return (M,) whether predictions are wrong in it when they find nothing.

        What a prediction has no value of (an occlusion, the points where nobody counted them)
        cannot exclude it: such predictions are wrong in every slice of that kind.
        """
        if self.field in ("", "occlusion"):
            return _every(rows)
        if self.field == "points":
            return (rows["points"] == POINTS_UNKNOWN) | self._holds(rows["points"])
        return self._holds(rows[self.field])

    def _holds(self, values: NDArray[np.generic]) -> NDArray[np.bool_]:
        if len(self.numbers) == 1:
            return np.asarray(values == self.numbers[0])
        return np.isin(values, self.numbers)


def make_slices(tag_sets: Sequence[tuple[str, ...]], config: SliceConfig) -> Iterator[Slice]:
    """Yield the whole, then the slices by range, occlusion, points and tag.

    Args:
        tag_sets: the distinct sets of tags that frames have.
        config: which slices.
    """
    yield Slice(WHOLE)
    for number, (low_m, high_m) in enumerate(pairwise(config.range_edges_m)):
        yield Slice(f"range_{low_m:g}_{high_m:g}m", "range", (number,))
    for level in config.occlusions:
        yield Slice(f"occlusion_{level}", "occlusion", (level,))
    for number, low in enumerate(config.point_edges):
        more = config.point_edges[number + 1 :]
        yield Slice(f"points_{low}_{more[0] if more else 'up'}", "points", (number,))
    for tag in sorted({tag for tags in tag_sets for tag in tags}) if config.tags else []:
        rows = tuple(row for row, tags in enumerate(tag_sets) if tag in tags)
        yield Slice(f"tag_{tag}", "tags", rows)


def _every(rows: NDArray[np.void]) -> NDArray[np.bool_]:
    return np.ones(len(rows), dtype=np.bool_)
