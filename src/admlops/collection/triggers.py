"""Triggers: which stretches of a drive are wanted, decided while it streams."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

from pydantic import Field, model_validator

from admlops.analysis.requirement import RequirementCell
from admlops.collection.conditions import (
    ANY_CATEGORY,
    BelowRequirement,
    Condition,
    Judge,
    Seen,
    nodes_of,
)
from admlops.collection.signals import Observation
from admlops.config import Config


class Trigger(Config):
    """One reason to keep a stretch of a drive."""

    name: str
    """Its name in reports."""
    when: Condition
    """When it fires."""
    value: float = Field(default=1.0, gt=0)
    """Stretches of the least value go when the budget is full; of several triggers the greatest."""


class TriggerConfig(Config):
    """Triggers, and how much around them is kept."""

    triggers: tuple[Trigger, ...] = Field(min_length=1)
    """The triggers; one that fires is enough."""
    before_s: float = Field(default=5.0, ge=0)
    """Kept before a trigger fires."""
    after_s: float = Field(default=5.0, ge=0)
    """Kept after it fired last."""
    max_length_s: float = Field(default=120.0, gt=0)
    """A longer stretch is cut in pieces."""
    max_age_s: float = Field(default=0.5, gt=0)
    """A signal or detection is not known any more when it is older."""
    buffer_bytes: int = Field(default=512 * 2**20, ge=2**10)
    """Memory for messages before a trigger fires."""
    budget_bytes: int = Field(default=64 * 2**30, ge=1)
    """Storage for clips."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        names = Counter(trigger.name for trigger in self.triggers)
        twice = sorted(name for name, count in names.items() if count > 1)
        if twice:
            raise ValueError(f"two triggers are called {', '.join(twice)}")
        if self.before_s + self.after_s > self.max_length_s:
            raise ValueError("max_length_s must be at least before_s + after_s")
        return self

    @property
    def need_detections(self) -> bool:
        """Whether a detector must look at the drive."""
        return any(isinstance(node, Seen | BelowRequirement) for node in self._nodes())

    @property
    def need_gaps(self) -> bool:
        """Whether the dataset must be held against a requirement."""
        return any(isinstance(node, BelowRequirement) for node in self._nodes())

    @property
    def categories(self) -> frozenset[str]:
        """Categories that a detector must know."""
        asked = {node.category for node in self._nodes() if isinstance(node, Seen)}
        return frozenset(asked - {ANY_CATEGORY})

    def _nodes(self) -> Iterator[Condition]:
        for trigger in self.triggers:
            yield from nodes_of(trigger.when)


@dataclass(slots=True)
class Window:
    """A stretch of a drive that is wanted.

    Attributes:
        start_ns: when it begins.
        end_ns: when it ends; it grows while triggers fire.
        value: the greatest of its triggers.
        fired: at how many observations each trigger held.
    """

    start_ns: int
    end_ns: int
    value: float = 0.0
    fired: Counter[str] = field(default_factory=Counter)

    def holds(self, time_ns: int) -> bool:
        """Return whether a time lies in it."""
        return self.start_ns <= time_ns <= self.end_ns


class TriggerEngine:
    """Follows all triggers through one drive; windows that overlap or touch are one.

    Attributes:
        config: the triggers.
        open_window: the window that may still grow, or None.
    """

    def __init__(self, config: TriggerConfig, gaps: Sequence[RequirementCell] = ()) -> None:
        """Start a drive.

        Args:
            config: the triggers.
            gaps: cells of the requirement that the dataset does not fill.
        """
        self.config = config
        self.open_window: Window | None = None
        self._judges = [(trigger, Judge(trigger.when, gaps)) for trigger in config.triggers]
        self._before_ns = round(config.before_s * 1e9)
        self._after_ns = round(config.after_s * 1e9)
        self._max_ns = round(config.max_length_s * 1e9)
        self._not_before_ns = -(2**62)

    def update(self, seen: Observation) -> list[Window]:
        """Return the windows that an observation completed; observations come in time order."""
        fired = [trigger for trigger, judge in self._judges if judge.update(seen)]
        closed = self.advance(seen.time_ns)
        if not fired:
            return closed
        if self.open_window is not None and seen.time_ns > self.open_window.start_ns + self._max_ns:
            closed.append(self._close())
        window = self.open_window
        if window is None:
            start_ns = max(seen.time_ns - self._before_ns, self._not_before_ns)
            window = self.open_window = Window(start_ns, start_ns)
        longest_ns = window.start_ns + self._max_ns
        window.end_ns = min(max(window.end_ns, seen.time_ns + self._after_ns), longest_ns)
        window.value = max(window.value, *(trigger.value for trigger in fired))
        window.fired.update(trigger.name for trigger in fired)
        return closed

    def advance(self, time_ns: int) -> list[Window]:
        """Return the open window if no trigger from this time on can reach it any more."""
        window = self.open_window
        if window is None or time_ns - self._before_ns <= window.end_ns:
            return []
        return [self._close()]

    def finish(self) -> list[Window]:
        """Return the window that is open at the end of the drive, if one is."""
        return [] if self.open_window is None else [self._close()]

    def _close(self) -> Window:
        window = self.open_window
        if window is None:
            raise ValueError("no window is open")
        self.open_window = None
        self._not_before_ns = window.end_ns + 1
        return window


@dataclass(frozen=True, slots=True, order=True)
class Rank:
    """Which stretch goes first when there is no room: the least.

    Attributes:
        value: its value; less goes first.
        lateness: minus its start: of equal value, the later one goes first.
        name: of equal start, the first in the alphabet goes first.
    """

    value: float
    lateness: int
    name: str


def choose_within(ranked: Sequence[tuple[Rank, int]], budget: int) -> list[bool]:
    """Return which stretches are kept: the least go until the sizes of the others fit a budget.

    Args:
        ranked: rank and size of each.
        budget: for the sum of sizes.
    """
    keep = [True] * len(ranked)
    total = sum(size for _, size in ranked)
    for number in sorted(range(len(ranked)), key=lambda item: ranked[item][0]):
        if total <= budget:
            break
        keep[number] = False
        total -= ranked[number][1]
    return keep
