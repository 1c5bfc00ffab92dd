"""The label budget: an append-only ledger of what each request costs, and a limit it keeps."""

import fcntl
import json
import os
from collections.abc import Iterable
from pathlib import Path

from pydantic import Field

from admlops.config import Config
from admlops.errors import ConfigError, DataError, GateError
from admlops.structures.label_request import LabelCost


class LabelLimit(Config):
    """What may be spent in all, in either unit; None is without limit."""

    frames: float | None = Field(default=None, ge=0)
    """Frames to look at."""
    boxes: float | None = Field(default=None, ge=0)
    """Boxes to draw."""


class LedgerEntry(Config):
    """One line of the ledger."""

    request_id: str
    """The request that is paid for."""
    round_name: str
    """The round of the loop that asked."""
    cost: LabelCost
    """What it costs."""


class Ledger:
    """A JSONL file of entries; several processes may append to it.

    A line that a killed writer left unfinished counts as not written.
    """

    def __init__(self, path: Path, limit: LabelLimit | None = None) -> None:
        self._path = path
        self._limit = limit or LabelLimit()

    def entries(self) -> list[LedgerEntry]:
        """Return what was spent, oldest first.

        Raises:
            DataError: a finished line is not an entry.
        """
        if not self._path.exists():
            return []
        return self._parse(self._path.read_bytes())

    def spent(self) -> LabelCost:
        """Return what all entries cost together."""
        return total_cost(entry.cost for entry in self.entries())

    def spend(self, entry: LedgerEntry) -> bool:
        """Append an entry, once per request; return whether it is new.

        Raises:
            GateError: the limit would be passed; nothing is written.
            DataError: the ledger is damaged.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        with os.fdopen(handle, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            content = file.read()
            entries = self._parse(content)
            if any(known.request_id == entry.request_id for known in entries):
                return False
            self._refuse_overspending(entries, entry)
            finished = content.rfind(b"\n") + 1
            file.truncate(finished)
            file.seek(finished)
            file.write(json.dumps(entry.to_json_dict()).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        return True

    def _parse(self, content: bytes) -> list[LedgerEntry]:
        entries = []
        for number, line in enumerate(content.split(b"\n")[:-1], start=1):
            try:
                entries.append(LedgerEntry.parse(json.loads(line)))
            except (ValueError, ConfigError) as error:
                raise DataError(
                    f"{self._path}: line {number} is not an entry of the label ledger ({error}); "
                    "restore the file, it is never edited"
                ) from error
        return entries

    def _refuse_overspending(self, entries: Iterable[LedgerEntry], entry: LedgerEntry) -> None:
        known = list(entries)
        spent = total_cost(entry.cost for entry in known)
        for unit in LabelCost.model_fields:
            before, cost = getattr(spent, unit), getattr(entry.cost, unit)
            limit = getattr(self._limit, unit)
            if limit is not None and before + cost > limit:
                raise GateError(
                    f"{self._path}: label budget of {limit:g} {unit} would be passed: "
                    f"{before:g} spent by {len(known)} earlier requests, request "
                    f"{entry.request_id} costs {cost:g}. Ask for less, raise mine.limit.{unit}, or "
                    "name another file in mine.ledger to start a new budget"
                )


def total_cost(costs: Iterable[LabelCost]) -> LabelCost:
    """Return the sum of costs."""
    frames = boxes = 0.0
    for cost in costs:
        frames += cost.frames
        boxes += cost.boxes
    return LabelCost(frames=frames, boxes=boxes)
