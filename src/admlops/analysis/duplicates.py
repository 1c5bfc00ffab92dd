"""Frames that repeat others: exact copies, a vehicle that stands, one drive read twice."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from admlops.analysis.drives import MAX_SOURCES
from admlops.config import Config
from admlops.lake.store import Dataset
from admlops.likeness.duplicates import DuplicateRule, find_duplicates
from admlops.likeness.looks import read_looks

NUM_EXAMPLES = 12
EXACT, STANDING, ALIKE = "exact", "standing", "alike"
KINDS = {EXACT: "the same data", STANDING: "the vehicle stands", ALIKE: "alike"}
MAX_OVERLAPS = 20
_NO_SPLITS = {"", "pool"}
_NOTHING = hashlib.sha256().hexdigest()
"""Sensor digest of frames that hold labels alone."""


class Repeats(Config):
    """How many frames repeat an earlier one."""

    source: str
    """Folder, file or simulation that they came from; empty for all together."""
    num_frames: int
    """Frames with sensor data."""
    num_exact: int
    """Frames that hold the sensor data of an earlier one, byte for byte."""
    num_standing: int
    """Frames of a vehicle that stands, by its poses, and sees little change."""
    num_alike: int
    """Frames that look like another one whose pose tells nothing, as of another scene."""
    num_shared: int
    """Frames that show what frames of another source show."""

    @property
    def num_repeats(self) -> int:
        """Frames that could be left out."""
        return self.num_exact + self.num_standing + self.num_alike

    @property
    def share_repeated(self) -> float:
        """Share of the frames that could be left out; 0 without frames."""
        return self.num_repeats / self.num_frames if self.num_frames else 0.0


class Overlap(Config):
    """Two splits, or two sources, that show the same."""

    names: tuple[str, str]
    """Which two."""
    num_groups: int
    """Groups of alike frames that are in both."""
    num_frames: tuple[int, int]
    """Frames of these groups in the first and in the second."""


class DuplicatePair(Config):
    """Two frames that are alike."""

    frames: tuple[str, str]
    """Their keys: log, scene and timestamp."""
    rows: tuple[int, int]
    """Where they are in this version."""
    kind: str
    """"exact", "standing" or "alike"."""
    changed_share: float
    """Share of the bits of their thumbnails that changed; 0 where nobody looked."""
    splits: tuple[str, str]
    """Splits that they are in."""
    sources: tuple[str, str]
    """Where they came from."""

    @property
    def is_leak(self) -> bool:
        """Whether the frames are in two splits of which neither is the pool."""
        return _are_apart(self.splits)

    @property
    def words(self) -> str:
        """The splits in words."""
        one, other = (name or "no split" for name in self.splits)
        return f"{one} and {other}" if one != other else f"both in {one}"


class Duplicates(Config):
    """Frames that repeat others."""

    is_looked_at: bool
    """Whether images and clouds were compared; else exact copies alone are known."""
    total: Repeats
    """All sources together."""
    by_source: tuple[Repeats, ...]
    """Each source, the one with most repeats first."""
    splits: tuple[Overlap, ...]
    """Splits that share alike frames."""
    sources: tuple[Overlap, ...]
    """Sources that share alike frames."""
    examples: tuple[DuplicatePair, ...]
    """One pair each of some groups: those between splits first, then those between sources."""

    @property
    def leaks(self) -> tuple[Overlap, ...]:
        """Overlaps of two splits of which neither is the pool."""
        return tuple(item for item in self.splits if _are_apart(item.names))

    @property
    def num_leaks(self) -> int:
        """Groups of alike frames between splits, for each two splits."""
        return sum(item.num_groups for item in self.leaks)

    @property
    def shown_sources(self) -> tuple[Repeats, ...]:
        """The sources with most repeats, then all together; a single source stands for all."""
        held = tuple(item for item in self.by_source if item.num_repeats or item.num_shared)
        if len(self.by_source) == 1:
            return self.by_source
        return (*held[:MAX_SOURCES], self.total)

    @property
    def sentence(self) -> str:
        """The outcome in one or two sentences."""
        total = self.total
        how = "" if self.is_looked_at else ", byte for byte; nobody looked for near duplicates"
        if not total.num_repeats:
            return f"None of {total.num_frames:,} frames with sensor data repeats another{how}."
        verb = "repeats" if total.num_repeats == 1 else "repeat"
        text = (
            f"{total.num_repeats:,} of {total.num_frames:,} frames with sensor data "
            f"({total.share_repeated:.1%}) {verb} an earlier one{how}."
        )
        if self.leaks:
            names = ", ".join(" and ".join(item.names) for item in self.leaks)
            text += (
                f" Some are held by two splits ({names}): what a model learned in one, it is asked "
                "for in the other."
            )
        return text


def _are_apart(splits: tuple[str, str]) -> bool:
    return splits[0] != splits[1] and not _NO_SPLITS & set(splits)


@dataclass(frozen=True, slots=True)
class _Table:
    """What is known of N frames.

    Attributes:
        first: (N,) row that each repeats, or its own.
        changed: (N,) share of the bits that changed.
        kind: (N,) how each repeats another, or "".
        has_data: (N,) whether there is sensor data.
        split: N splits.
        source: N sources.
    """

    first: NDArray[np.int64]
    changed: NDArray[np.float64]
    kind: NDArray[np.object_]
    has_data: NDArray[np.bool_]
    split: NDArray[np.object_]
    source: NDArray[np.object_]


def describe_duplicates(dataset: Dataset, rule: DuplicateRule | None) -> Duplicates:
    """Find the frames that repeat others.

    The earliest frame, by log, scene and time, is the one that others repeat.

    Args:
        dataset: a version.
        rule: how alike frames are that repeat each other; None finds exact copies alone, without
            reading sensor data.

    Raises:
        DataError: the dataset cannot be read.
    """
    table = _find(dataset, rule)
    total, by_source = _count(table)
    return Duplicates(
        is_looked_at=rule is not None,
        total=total,
        by_source=tuple(sorted(by_source, key=lambda item: (-item.num_repeats, item.source))),
        splits=_overlaps(table, table.split),
        sources=_overlaps(table, table.source),
        examples=_examples(table, [str(key) for key in dataset.keys()]),  # noqa: SIM118 - no dict
    )


def _find(dataset: Dataset, rule: DuplicateRule | None) -> _Table:
    columns = dataset.query(
        "SELECT split, source, coalesce(sensor_digest, '') AS digest FROM frames ORDER BY row"
    ).to_pydict()
    keys = dataset.keys()
    rows = np.arange(len(keys))
    order = np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)
    has_data = np.array([d not in ("", _NOTHING) for d in columns["digest"]], np.bool_)
    copied = rows.copy()
    earliest: dict[str, int] = {}
    for row in order[has_data[order]].tolist():
        copied[row] = earliest.setdefault(columns["digest"][row], row)
    first, changed = rows.copy(), np.zeros(len(keys))
    kind = np.full(len(keys), "", dtype=object)
    if rule is not None:
        different = order[(has_data & (copied == rows))[order]]
        looks = read_looks(dataset, different)
        repeated, changed[different] = find_duplicates(looks, rule)
        first[different] = different[repeated]
        stands = (looks.scene >= 0) & (looks.scene == looks.scene[repeated])
        near = np.where(stands, STANDING, ALIKE).astype(object)
        kind[different] = np.where(repeated == np.arange(len(repeated)), "", near)
    kind[copied != rows] = EXACT
    split, source = (np.array(columns[name], dtype=object) for name in ("split", "source"))
    return _Table(first[copied], changed[copied], kind, has_data, split, source)


def _count(table: _Table) -> tuple[Repeats, list[Repeats]]:
    """Return the counts of all frames together, and of each source."""
    differs = table.source != table.source[table.first]
    shared = np.isin(table.first, table.first[differs])
    total: Counter[str] = Counter()
    by_source: dict[str, Counter[str]] = {}
    columns = (table.source, table.kind, shared, table.has_data)
    for source, kind, is_shared, has_data in zip(*columns, strict=True):
        if has_data:
            facts = ("frames", kind, "shared") if is_shared else ("frames", kind)
            total.update(facts)
            by_source.setdefault(source, Counter()).update(facts)
    return _repeats("", total), [_repeats(name, counts) for name, counts in by_source.items()]


def _repeats(source: str, counts: Counter[str]) -> Repeats:
    return Repeats(
        source=source,
        num_frames=counts["frames"],
        num_exact=counts[EXACT],
        num_standing=counts[STANDING],
        num_alike=counts[ALIKE],
        num_shared=counts["shared"],
    )


def _overlaps(table: _Table, names: NDArray[np.object_]) -> tuple[Overlap, ...]:
    """Return every two names that share groups, those with most groups first."""
    differs = names != names[table.first]
    groups: dict[int, Counter[str]] = {}
    for row in np.flatnonzero(np.isin(table.first, table.first[differs])).tolist():
        groups.setdefault(int(table.first[row]), Counter())[str(names[row])] += 1
    found: dict[tuple[str, str], list[int]] = {}
    for held in groups.values():
        for one, other in combinations(sorted(held), 2):
            counts = found.setdefault((one, other), [0, 0, 0])
            for place, more in enumerate((1, held[one], held[other])):
                counts[place] += more
    ordered = sorted(found.items(), key=lambda item: (-item[1][0], item[0]))
    return tuple(
        Overlap(names=pair, num_groups=counts[0], num_frames=(counts[1], counts[2]))
        for pair, counts in ordered[:MAX_OVERLAPS]
    )


def _examples(table: _Table, keys: Sequence[str]) -> tuple[DuplicatePair, ...]:
    """Return a pair of each of the groups that tell most: between splits, sources, drives."""
    rows = np.flatnonzero(table.kind != "")
    first = table.first[rows]
    named = ~np.isin(table.split, list(_NO_SPLITS))
    leaks = (table.split[rows] != table.split[first]) & named[rows] & named[first]
    crosses = table.source[rows] != table.source[first]
    drives = table.kind[rows] != STANDING
    size = np.bincount(table.first, minlength=len(table.first))[first]
    order = np.lexsort([np.array(keys)[rows], -size, ~drives, ~crosses, ~leaks])
    _, once = np.unique(first[order], return_index=True)
    return tuple(
        _pair(table, keys, int(rows[place])) for place in order[np.sort(once)[:NUM_EXAMPLES]]
    )


def _pair(table: _Table, keys: Sequence[str], row: int) -> DuplicatePair:
    first = int(table.first[row])
    return DuplicatePair(
        frames=(keys[first], keys[row]),
        rows=(first, row),
        kind=str(table.kind[row]),
        changed_share=round(float(table.changed[row]), 4),
        splits=(str(table.split[first]), str(table.split[row])),
        sources=(str(table.source[first]), str(table.source[row])),
    )
