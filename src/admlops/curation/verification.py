"""Whether splits leak: looked at frame by frame, in whatever way they were made."""

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray

from admlops.checks.findings import FindingLog
from admlops.checks.nearness import Rows, near_across_splits
from admlops.checks.splits import SplitCheck
from admlops.curation.grouping import FramePlaces, Reach
from admlops.curation.signals import squared_distances
from admlops.lake.store import Dataset

LEAKS = ("SPLIT001", "SPLIT002", "SPLIT003", "SPLIT007", "SPLIT008", "SPLIT009")
"""Rules whose findings mean that one split gives away another."""
Leaks = Iterator[tuple[int, int]]
"""Two rows of different splits that should be in one."""

_CHUNK_ROWS = 1024


def verify_splits(
    dataset: Dataset, splits: Sequence[str], places: FramePlaces, reach: Reach
) -> FindingLog:
    """Return what the rules on splits find when each row is in the given split.

    Args:
        dataset: the version.
        splits: of each row; "" for none.
        places: of each row.
        reach: how near frames of different splits may not be.
    """
    log = FindingLog()
    check = SplitCheck(log)
    digests = dataset.query("SELECT sensor_digest FROM frames ORDER BY row")["sensor_digest"]
    frames = dataset.iterate(lidar=False)
    for frame, split, digest, sensor in zip(
        frames, splits, digests.to_pylist(), places.sensor, strict=True
    ):
        check.look(replace(frame, split=split), digest if sensor >= 0 else "")
    check.finish()
    keys = dataset.keys()
    scenes = [f"{key.log}/{key.scene}" for key in keys]
    for reason, pairs in find_leaks(places, splits, reach).items():
        known: set[tuple[str, str]] = set()
        for one, other in pairs:
            named = (scenes[one], scenes[other])
            if named[0] != named[1] and named not in known:
                rule_id, what = _describe(reason, places, one, other)
                where = " and ".join(named)
                log.add(rule_id, where, f"{what} are in {splits[one]} and {splits[other]}")
            known |= {named, named[::-1]}
    return log


def find_leaks(
    places: FramePlaces, splits: Sequence[str], reach: Reach
) -> dict[str, list[tuple[int, int]]]:
    """Return by reason rows of different splits that are nearer than they may be.

    Not every such pair is returned, yet at least one for each moment, place or look where there
    are any.
    """
    names = {name: number for number, name in enumerate(dict.fromkeys(splits))}
    rows = np.array([row for row, name in enumerate(splits) if name], np.int64)
    split = np.array([names[splits[row]] for row in rows], np.int64)
    own = FramePlaces(**{item.name: getattr(places, item.name)[rows] for item in fields(places)})
    found = {
        "same_location": _same_value(own.location, split),
        "same_look": _same_value(own.look, split),
    }
    if reach.gap_ns:
        found["near_in_time"] = _near_in_time(own, split, reach.gap_ns)
    if reach.distance_m:
        found["near_in_space"] = _near_in_space(own, split, reach.distance_m)
    if reach.descriptor and places.descriptors.shape[1]:
        found["look_alike"] = _look_alike(own, split, reach.descriptor)
    return {
        name: [(int(rows[one]), int(rows[other])) for one, other in pairs]
        for name, pairs in found.items()
    }


def _same_value(values: Rows, split: Rows) -> Leaks:
    order = np.lexsort([split, values])
    first, second = order[:-1], order[1:]
    leaks = (values[first] == values[second]) & (values[first] >= 0)
    leaks &= split[first] != split[second]
    return zip(first[leaks].tolist(), second[leaks].tolist(), strict=True)


def _near_in_time(places: FramePlaces, split: Rows, gap_ns: int) -> Leaks:
    """Yield neighbours in time: between frames of two splits there is always such a step."""
    order = np.lexsort([places.timestamp_ns, places.log])
    first, second = order[:-1], order[1:]
    leaks = (places.log[first] == places.log[second]) & (split[first] != split[second])
    leaks &= places.timestamp_ns[second] - places.timestamp_ns[first] <= gap_ns
    return zip(first[leaks].tolist(), second[leaks].tolist(), strict=True)


def _near_in_space(places: FramePlaces, split: Rows, distance_m: float) -> Leaks:
    known = np.flatnonzero(np.isfinite(places.position_m).all(axis=1))
    position_m = places.position_m[known]

    def are_near(one: Rows, other: Rows) -> NDArray[np.bool_]:
        apart = position_m[one] - position_m[other]
        return np.asarray(np.hypot(apart[..., 0], apart[..., 1]) <= distance_m)

    cell = np.floor(position_m / distance_m).astype(np.int64)
    for one, other in near_across_splits(places.space[known], cell, split[known], are_near):
        yield int(known[one]), int(known[other])


def _look_alike(places: FramePlaces, split: Rows, distance: float) -> Leaks:
    """Yield for each frame one of another split that looks like it."""
    known = np.flatnonzero(np.isfinite(places.descriptors).all(axis=1))
    vectors = places.descriptors[known]
    for start in range(0, len(known), _CHUNK_ROWS):
        some = known[start : start + _CHUNK_ROWS]
        near = squared_distances(places.descriptors[some], vectors) < distance**2
        near &= split[some][:, None] != split[known][None]
        for place in np.flatnonzero(near.any(axis=1)):
            yield int(some[place]), int(known[near[place].argmax()])


def _describe(reason: str, places: FramePlaces, one: int, other: int) -> tuple[str, str]:
    """Return the rule's ID and what was found."""
    if reason == "near_in_time":
        apart_s = abs(int(places.timestamp_ns[one] - places.timestamp_ns[other])) / 1e9
        return "SPLIT007", f"frames {apart_s:.1f} s apart"
    if reason == "near_in_space":
        apart_m = float(np.linalg.norm(places.position_m[one] - places.position_m[other]))
        return "SPLIT008", f"poses {apart_m:.1f} m apart"
    if reason == "same_location":
        return "SPLIT008", "frames of one location"
    return "SPLIT009", "frames that look alike"
