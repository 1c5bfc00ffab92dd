"""Dividing a dataset version: what belongs together, what it holds, and whether it leaks."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from admlops.checks.findings import FindingLog
from admlops.curation.descriptors import standardize
from admlops.curation.grouping import FramePlaces, Reach, group_units, number_values
from admlops.curation.splitting import (
    FREE,
    SplitRule,
    divide_units,
    move_unlabelled,
    tabulate_shares,
)
from admlops.curation.verification import LEAKS, verify_splits
from admlops.errors import DataError
from admlops.lake.store import Dataset
from admlops.likeness.looks import find_alike
from admlops.structures.frame import FrameKey

_NO_PAYLOAD = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""SHA-256 of nothing: the digest of frames without sensor data."""
_SETTINGS = {
    "same_data": "no setting",
    "same_location": "split.by_location",
    "same_look": "split.look_alike",
    "near_in_time": "split.gap_s",
    "near_in_space": "split.near_m",
    "look_alike": "split.near_duplicate",
}
"""Reasons that join scenes, and what sets each."""


def divide_dataset(dataset: Dataset, rule: SplitRule) -> tuple[Dataset, dict[str, Any]]:
    """Return the version with its frames divided, and a report; moves nothing that need not move.

    Raises:
        DataError: all frames are in one scene, the splits would leak, or the version is an old one.
    """
    keys = dataset.keys()
    unit, names = _number_units(dataset, rule)
    places = _places(dataset, rule, unit)
    groups, pairs = group_units(places, _reach(rule))
    _refuse_one_group(dataset, groups, pairs)
    wanted = np.zeros(len(keys), np.bool_)
    wanted[dataset.rows_where(rule.condition)] = True
    before = np.array(_column(dataset, "split"), dtype=object)
    fixed = _fixed(before, unit, wanted, rule, len(names))
    content, columns = _content(dataset, unit, wanted, len(names))
    division = divide_units(groups, fixed, content, list(rule.shares.values()), names)
    after = before.copy()
    split_names = np.array([*rule.names, ""], dtype=object)
    moving = wanted & (~np.isin(before, rule.names) | (not rule.keep))
    after[moving] = split_names[division.split[unit[moving]]]
    pool = ~wanted & (before == rule.pool)
    shared = move_unlabelled(division.split, unit, groups)
    after[pool & shared] = ""
    judged = np.where(after == rule.pool, rule.names[0], after).tolist()
    findings = verify_splits(dataset, judged, places, _reach(rule))
    changes = {keys[row]: str(after[row]) for row in np.flatnonzero(after != before)}
    num_moved = _commit(dataset, changes, findings, rule)
    counts = {
        "split_moved": num_moved,
        "split_groups": len(np.unique(groups)),
        "split_torn": int(np.isin(unit[moving], division.torn).sum()),
        "split_pool_left_out": int((pool & shared).sum()),
        "split_unplaced": int(np.isnan(places.position_m[:, 0]).sum()) if rule.near_m else 0,
        "split_leaks": sum(findings.counts[rule_id] for rule_id in LEAKS),
    }
    return dataset, {
        "counts": counts | {f"split_{n}": int((after == n).sum()) for n in rule.names},
        "joined": pairs,
        "shares": tabulate_shares(division.split, content, columns, rule.names),
        "findings": [str(finding) for finding in findings.ordered()],
    }


def _refuse_one_group(
    dataset: Dataset, groups: NDArray[np.int64], pairs: Mapping[str, int]
) -> None:
    if len(np.unique(groups)) < 2:
        reasons = ", ".join(
            f"{name} ({count} pairs; {_SETTINGS[name]})" for name, count in pairs.items() if count
        )
        raise DataError(
            f"{dataset.reference}: all {len(groups)} scenes belong together and cannot be divided; "
            f"they are joined by {reasons}. Relax the setting that is named"
        )


def _commit(
    dataset: Dataset, changes: Mapping[FrameKey, str], findings: FindingLog, rule: SplitRule
) -> int:
    leaks = [finding for finding in findings.ordered() if finding.rule.rule_id in LEAKS]
    if leaks and rule.refuse_leaks:
        raise DataError(
            f"{dataset.reference}: the splits would leak, nothing was written. The first of "
            f"{sum(findings.counts[rule_id] for rule_id in LEAKS)} places: {leaks[0]}. Set "
            "split.keep to false to divide all frames anew, or split.refuse_leaks to false"
        )
    _refuse_later_changes(dataset, changes)
    return dataset.move(changes)


def _refuse_later_changes(dataset: Dataset, changes: Mapping[FrameKey, str]) -> None:
    """Insist that nothing was added or moved since: it would be in the result, not verified."""
    newest = Dataset.open(dataset.uri)
    if newest.version == dataset.version:
        return
    before = dict(zip(dataset.keys(), _column(dataset, "split"), strict=True))
    now = dict(zip(newest.keys(), _column(newest, "split"), strict=True))
    if now not in (before, {**before, **changes}):
        raise DataError(
            f"{dataset.reference}: frames were added or moved since, the newest version is "
            f"{newest.version}, nothing was written; divide that one"
        )


def _number_units(dataset: Dataset, rule: SplitRule) -> tuple[NDArray[np.int64], list[str]]:
    """Return (N,) unit of each frame, and the units' names.

    Raises:
        DataError: every frame is in the same unit.
    """
    width = {"log": 1, "scene": 2, "frame": 3}[rule.unit]
    numbers: dict[tuple[Any, ...], int] = {}
    keys = dataset.keys()
    unit = [numbers.setdefault(key[:width], len(numbers)) for key in keys]
    if len(numbers) < 2:
        raise DataError(
            f"{dataset.reference}: all {len(unit)} frames are in one {rule.unit}, which is never "
            "cut; set split.unit to 'frame' where the source does not name scenes"
        )
    return np.array(unit, np.int64), ["/".join(map(str, name)) for name in numbers]


def _places(dataset: Dataset, rule: SplitRule, unit: NDArray[np.int64]) -> FramePlaces:
    keys = dataset.keys()
    tags = _column(dataset, "tags")
    prefix = f"{rule.location_tag}:"
    locations = [next((t for t in own if t.startswith(prefix)), "") for own in tags]
    poses = dataset.poses()
    unknown = (poses == np.eye(4)).all(axis=(1, 2))
    digests = ["" if d == _NO_PAYLOAD else d for d in _column(dataset, "sensor_digest")]
    own = [f"log {key.log}" if rule.one_frame_per_log else "" for key in keys]
    spaces = number_values(place or log for place, log in zip(locations, own, strict=True))
    unknown |= spaces < 0
    nothing = np.full(len(keys), FREE, np.int64)
    vectors = np.empty((len(keys), 0))
    if rule.embedding:
        vectors = _standardized(dataset.embedding(rule.embedding))
    return FramePlaces(
        unit=unit,
        log=number_values(key.log for key in keys),
        timestamp_ns=np.array([key.timestamp_ns for key in keys], np.int64),
        space=spaces,
        position_m=np.where(unknown[:, None], math.nan, poses[:, :2, 3]),
        sensor=number_values(digests),
        location=number_values(locations) if rule.by_location else nothing,
        look=find_alike(dataset, rule.look_alike) if rule.look_alike is not None else nothing,
        descriptors=vectors,
    )


def _standardized(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    known = np.isfinite(vectors).all(axis=1)
    values = standardize(vectors[known])
    whole = np.full((len(vectors), values.shape[1] if values.ndim == 2 else 0), math.nan)
    whole[known] = values
    return whole


def _reach(rule: SplitRule) -> Reach:
    return Reach(round(rule.gap_s * 1e9), rule.near_m, rule.near_duplicate)


def _fixed(
    before: NDArray[np.object_],
    unit: NDArray[np.int64],
    wanted: NDArray[np.bool_],
    rule: SplitRule,
    num_units: int,
) -> NDArray[np.int64]:
    """Return (U,) the split that each unit is in, FREE where none or where all is divided anew.

    Frames that are not to be divided keep their unit where it is in any case.
    """
    fixed = np.full(num_units, FREE, np.int64)
    for number, name in enumerate(rule.names):
        held = (before == name) & (~wanted if not rule.keep else True)
        fixed[unit[held]] = number
    return fixed


def _content(
    dataset: Dataset, unit: NDArray[np.int64], wanted: NDArray[np.bool_], num_units: int
) -> tuple[NDArray[np.float64], list[str]]:
    """Return (U, K) frames, frames of each condition and boxes of each category; the K names."""
    tags = _column(dataset, "tags")
    numbers = {"frames": 0}
    rows: list[int] = []
    columns: list[int] = []
    for row in np.flatnonzero(wanted).tolist():
        for name in ("frames", *(f"condition {tag}" for tag in tags[row])):
            rows.append(row)
            columns.append(numbers.setdefault(name, len(numbers)))
    found = dataset.query(
        "SELECT row, 'category ' || category AS name, count(*) AS n FROM (SELECT log, scene, "
        "timestamp_ns, category FROM boxes UNION ALL SELECT log, scene, timestamp_ns, category "
        "FROM boxes_2d) JOIN frames USING (log, scene, timestamp_ns) GROUP BY 1, 2 ORDER BY 2, 1"
    ).to_pydict()
    kept = [place for place, row in enumerate(found["row"]) if wanted[row]]
    names = [numbers.setdefault(found["name"][place], len(numbers)) for place in kept]
    boxes = np.array(names, np.int64)
    content = np.zeros((num_units, len(numbers)))
    np.add.at(content, (unit[rows], np.array(columns, np.int64)), 1.0)
    box_rows = np.array([found["row"][place] for place in kept], np.int64)
    np.add.at(content, (unit[box_rows], boxes), [found["n"][place] for place in kept])
    return content, list(numbers)


def _column(dataset: Dataset, name: str) -> list[Any]:
    return dataset.query(f"SELECT {name} FROM frames ORDER BY row")[name].to_pylist()
