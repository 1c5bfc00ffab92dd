"""Splits that leak nothing, hold the same mix, and stay as they are when data is added."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from admlops.config import Config
from admlops.likeness.duplicates import DuplicateRule

FREE = -1
"""Stands for a unit or group that is in no split yet."""


class SplitRule(Config):
    """How frames are divided."""

    shares: dict[str, float] = Field(
        default_factory=lambda: {"train": 0.7, "val": 0.15, "test": 0.15}, min_length=2
    )
    """Share of the data that each split gets; they are scaled to a sum of 1."""
    condition: str = "is_keyframe"
    """SQL on the view `frames` that the frames to divide meet; others keep their split."""
    keep: bool = True
    """Whether frames that are in one of these splits stay there; else all are divided anew."""
    pool: str = "pool"
    """Split of unlabelled frames, which may be trained on later: they count as the first split."""
    unit: Literal["scene", "log", "frame"] = "scene"
    """What is never cut; "frame" for data whose source does not name scenes."""
    gap_s: float = Field(default=10.0, ge=0)
    """Frames of one log at most this far apart in time belong together; 0 for no such rule."""
    near_m: float = Field(default=5.0, ge=0)
    """Frames of one place at most this far apart belong together; 0 for no such rule."""
    location_tag: str = "location"
    """Tags `NAME:place` say where a frame was taken: positions are compared within a place."""
    one_frame_per_log: bool = False
    """Whether the poses of a log are all in one global frame, so that positions can be compared
    within a log where no place is named; not where every scene starts at zero."""
    by_location: bool = False
    """Whether all frames of one place belong together."""
    look_alike: DuplicateRule | None = None
    """When frames look alike, by thumbnails of image and cloud; None looks at nothing. Every front
    image and cloud is read."""
    embedding: str = ""
    """Embedding by which near duplicates are found; empty for none."""
    near_duplicate: float = Field(default=0.05, ge=0)
    """Distance of embeddings below which frames are duplicates; unlike frames have about 1.4."""
    refuse_leaks: bool = True
    """Whether splits that leak are refused, with what was found, instead of written."""

    @model_validator(mode="after")
    def _shares_are_positive(self) -> Self:
        if any(share <= 0 for share in self.shares.values()) or "" in self.shares:
            raise ValueError("shares must be positive numbers of named splits")
        if self.pool in self.shares:
            raise ValueError(f"pool {self.pool!r} cannot be one of the splits")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The splits in order."""
        return tuple(self.shares)


@dataclass(frozen=True, slots=True)
class Division:
    """Where units go.

    Attributes:
        split: (U,) number of each unit's split; FREE where it can be in none without a leak.
        torn: units without a split because their group reaches into several splits.
    """

    split: NDArray[np.int64]
    torn: NDArray[np.int64]


def divide_units(
    groups: NDArray[np.int64],
    fixed: NDArray[np.int64],
    content: NDArray[np.float64],
    shares: Sequence[float],
    names: Sequence[str],
) -> Division:
    """Return a split for every unit; a group stays whole, and what is fixed never moves.

    Args:
        groups: (U,) group of each unit, as `group_units` returns it.
        fixed: (U,) number of the split a unit is in; FREE where it is in none.
        content: (U, K) how much of each thing (frames, boxes of a category, frames of a
            condition) a unit holds; each thing counts equally.
        shares: share of each split.
        names: (U,) names of the units: they, not their order, decide between equals.
    """
    members: dict[int, list[int]] = {}
    for unit, group in enumerate(groups.tolist()):
        members.setdefault(group, []).append(unit)
    split, torn, free = fixed.copy(), [], []
    for units in members.values():
        taken = set(fixed[units].tolist()) - {FREE}
        open_units = [unit for unit in units if fixed[unit] == FREE]
        if len(taken) > 1:
            torn += open_units
        elif taken:
            split[open_units] = taken.pop()
        else:
            free.append(units)
    _fill(split, free, content, np.asarray(shares, np.float64), names)
    return Division(split, np.array(sorted(torn), np.int64))


def _fill(
    split: NDArray[np.int64],
    free: list[list[int]],
    content: NDArray[np.float64],
    shares: NDArray[np.float64],
    names: Sequence[str],
) -> None:
    """Give each group in `free` to the split that lacks most of what it holds, largest first.

    Greedy descent of the squared deviation of every thing's share in every split from what the
    split should hold, after Sechidis, Tsoumakas and Vlahavas, "On the stratification of
    multi-label data", 2011; here for groups, and in one pass.
    """
    totals = content.sum(axis=0)
    part = content[:, totals > 0] / totals[totals > 0]
    wanted = shares / shares.sum()
    have = np.stack([part[split == number].sum(axis=0) for number in range(len(wanted))])
    sums = [part[units].sum(axis=0) for units in free]
    digests = [min(_digest(names[unit]) for unit in units) for units in free]
    order = sorted(range(len(free)), key=lambda i: (-float(sums[i].max(initial=0)), digests[i]))
    for index in order:
        growth = (2.0 * have * sums[index] + sums[index] ** 2).sum(axis=1) / wanted
        number = int(np.argmin(growth))
        have[number] += sums[index]
        split[free[index]] = number


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def move_unlabelled(
    split: NDArray[np.int64], unit: NDArray[np.int64], groups: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which frames share a group with a unit of another split than the first.

    Args:
        split: (U,) split of each unit.
        unit: (N,) unit of each frame in question.
        groups: (U,) group of each unit.
    """
    elsewhere = np.unique(groups[split > 0])
    return np.isin(groups[unit], elsewhere)


def tabulate_shares(
    split: NDArray[np.int64],
    content: NDArray[np.float64],
    columns: Sequence[str],
    names: Sequence[str],
) -> dict[str, dict[str, float]]:
    """Return, for everything that is counted, the share of it that each split holds."""
    totals = content.sum(axis=0)
    table: dict[str, dict[str, float]] = {}
    for place, column in enumerate(columns):
        if totals[place] > 0:
            held = [content[split == number, place].sum() for number in range(len(names))]
            table[column] = {
                name: round(float(value / totals[place]), 6)
                for name, value in zip(names, held, strict=True)
            }
    return table


def describe_mix(shares: Mapping[str, Mapping[str, float]]) -> str:
    """Return the mix as a Markdown table, a row per thing that is counted."""
    names = list(next(iter(shares.values()), {}))
    head = f"| held | {' | '.join(names)} |\n|---|{'---:|' * len(names)}\n"
    rows = [
        f"| {thing} | {' | '.join(f'{row[name]:.1%}' for name in names)} |"
        for thing, row in shares.items()
    ]
    return head + "\n".join(rows) + "\n"
