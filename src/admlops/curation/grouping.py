"""Which scenes belong together: frames that show the same place, moment or data share a group.

A model that was trained on one frame of a group knows the others too well to be judged on them.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from admlops.curation.signals import squared_distances

_CHUNK_ROWS = 1024
Pairs = NDArray[np.int64]
"""(M, 2) numbers of units that belong together."""


@dataclass(frozen=True, slots=True)
class FramePlaces:
    """What decides which of N frames belong together.

    Attributes:
        unit: (N,) int64, number of the scene (or log, or frame) that is never cut.
        log: (N,) int64, number of the log.
        timestamp_ns: (N,) int64.
        space: (N,) int64, number of the global frame that the position is in.
        position_m: (N, 2) float64, x y in that frame; NaN where the source has no pose.
        sensor: (N,) int64, number of the sensor data; -1 where there is none.
        location: (N,) int64, number of the location; -1 where it is unknown or does not matter.
        look: (N,) int64, number of the frames that look the same; -1 where it does not matter.
        descriptors: (N, D) standardized embedding; D is 0 where none is compared.
    """

    unit: NDArray[np.int64]
    log: NDArray[np.int64]
    timestamp_ns: NDArray[np.int64]
    space: NDArray[np.int64]
    position_m: NDArray[np.float64]
    sensor: NDArray[np.int64]
    location: NDArray[np.int64]
    look: NDArray[np.int64]
    descriptors: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Reach:
    """How near frames must be to belong together; 0 leaves a reason out.

    Attributes:
        gap_ns: time between frames of one log.
        distance_m: distance on the ground between poses.
        descriptor: distance of standardized embeddings, where unlike frames have about 1.4.
    """

    gap_ns: int
    distance_m: float
    descriptor: float


def group_units(places: FramePlaces, reach: Reach) -> tuple[NDArray[np.int64], dict[str, int]]:
    """Return the group of each unit, numbered by its first one, and the pairs of each reason.

    Every reason joins whole units: they are the connected components of all pairs.
    """
    pairs = {name: _distinct(found) for name, found in _find_pairs(places, reach).items()}
    num_units = int(places.unit.max(initial=-1)) + 1
    groups = connect(num_units, np.concatenate([*pairs.values(), np.empty((0, 2), np.int64)]))
    return groups, {name: len(found) for name, found in pairs.items()}


def connect(num_units: int, pairs: Pairs) -> NDArray[np.int64]:
    """Return (num_units,) the smallest unit that each one is connected with."""
    parent = list(range(num_units))

    def root(unit: int) -> int:
        while parent[unit] != unit:
            parent[unit] = parent[parent[unit]]
            unit = parent[unit]
        return unit

    for first, second in pairs.tolist():
        low, high = sorted((root(first), root(second)))
        parent[high] = low
    return np.array([root(unit) for unit in range(num_units)], np.int64)


def _find_pairs(places: FramePlaces, reach: Reach) -> Mapping[str, Pairs]:
    found = {
        "same_data": same_value(places.sensor, places.unit),
        "same_location": same_value(places.location, places.unit),
        "same_look": same_value(places.look, places.unit),
    }
    if reach.gap_ns:
        found["near_in_time"] = near_in_time(places, reach.gap_ns)
    if reach.distance_m:
        found["near_in_space"] = near_in_space(places, reach.distance_m)
    if reach.descriptor and places.descriptors.shape[1]:
        found["look_alike"] = look_alike(places.descriptors, places.unit, reach.descriptor)
    return found


def same_value(values: NDArray[np.int64], unit: NDArray[np.int64]) -> Pairs:
    """Return units that hold the same value; -1 is no value."""
    rows = np.flatnonzero(values >= 0)
    order = rows[np.lexsort([unit[rows], values[rows]])]
    first, second = order[:-1], order[1:]
    same = values[first] == values[second]
    return np.column_stack([unit[first[same]], unit[second[same]]])


def near_in_time(places: FramePlaces, gap_ns: int) -> Pairs:
    """Return units of one log with neighbouring frames at most `gap_ns` apart."""
    order = np.lexsort([places.timestamp_ns, places.log])
    first, second = order[:-1], order[1:]
    near = places.log[first] == places.log[second]
    near &= places.timestamp_ns[second] - places.timestamp_ns[first] <= gap_ns
    return np.column_stack([places.unit[first[near]], places.unit[second[near]]])


def near_in_space(places: FramePlaces, distance_m: float) -> Pairs:
    """Return units with frames within `distance_m` of each other, and some a little farther apart.

    Frames are near when their square cells of that size are the same or touch, so that no pair
    within the distance is missed and the cost is linear; the farthest pair is 2.83 times as far.
    """
    rows = np.flatnonzero(np.isfinite(places.position_m).all(axis=1))
    cell = np.floor(places.position_m[rows] / distance_m).astype(np.int64)
    table = np.unique(
        np.column_stack([places.space[rows], cell, places.unit[rows]]), axis=0
    ).reshape(-1, 4)
    same = (table[1:, :3] == table[:-1, :3]).all(axis=1)
    within = np.column_stack([table[:-1][same, 3], table[1:][same, 3]])
    firsts = table[np.concatenate([[True], ~same])] if len(table) else table
    where = {tuple(row[:3]): row[3] for row in firsts.tolist()}
    touching = [
        (unit, other)
        for (space, x, y), unit in where.items()
        for dx, dy in product((-1, 0, 1), (-1, 0, 1))
        if (dx, dy) > (0, 0)
        and (other := where.get((space, x + dx, y + dy))) is not None
        and other != unit
    ]
    return np.concatenate([within, np.array(touching, np.int64).reshape(-1, 2)])


def look_alike(descriptors: NDArray[np.float64], unit: NDArray[np.int64], distance: float) -> Pairs:
    """Return units with frames whose standardized embeddings are nearer than `distance`.

    Frames with NaN, that have no embedding, are like no other. Time grows with the square of the
    number of frames, memory does not.
    """
    rows = np.flatnonzero(np.isfinite(descriptors).all(axis=1))
    return np.concatenate(
        [np.empty((0, 2), np.int64), *_alike(descriptors[rows], unit[rows], distance)]
    )


def _alike(
    descriptors: NDArray[np.float64], unit: NDArray[np.int64], distance: float
) -> Iterator[Pairs]:
    for start in range(0, len(unit), _CHUNK_ROWS):
        part = slice(start, start + _CHUNK_ROWS)
        near = squared_distances(descriptors[part], descriptors[start:]) < distance**2
        near &= unit[part][:, None] != unit[start:][None]
        first, second = np.nonzero(near)
        yield _distinct(np.column_stack([unit[part][first], unit[start:][second]]))


def _distinct(pairs: Pairs) -> Pairs:
    """Return each pair of different units once, the lower first."""
    different = np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1)
    return np.unique(different, axis=0).reshape(-1, 2)


def number_values(values: Iterable[object]) -> NDArray[np.int64]:
    """Return (N,) numbers, equal for equal values; "" and None become -1."""
    numbers: dict[object, int] = {}
    return np.array(
        [numbers.setdefault(v, len(numbers)) if v not in ("", None) else -1 for v in values],
        np.int64,
    )
