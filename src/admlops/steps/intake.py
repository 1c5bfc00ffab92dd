"""What reading a source yields beside frames: findings, categories and what was left out.

A source is read whole or shard by shard; the accounts of shards add up to that of the whole.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from pydantic import Field
from rich.console import Console
from rich.progress import track

from admlops.checks.findings import FindingLog
from admlops.checks.rules import find
from admlops.collection.screening import FrameScreen
from admlops.config import Config
from admlops.errors import ConfigError, DataError
from admlops.files import write_atomically
from admlops.formats.source import FrameSource, Mapped
from admlops.lake.known_labels import KnownLabels
from admlops.lake.staging import Staged
from admlops.structures.finding import Finding
from admlops.structures.frame import Frame, FrameKey

FINDINGS_FILE = "findings.json"
QUARANTINE_FILE = "quarantine.jsonl"
PART_FILE = "part.json"


class FoundPlace(Config):
    """A finding, without what its rule says."""

    rule_id: str
    """The rule that fired."""
    where: str
    """File, frame key or field."""
    what: str
    """What was found there."""


class Part(Config):
    """What the reader of a shard hands to the task that merges; `quarantine.jsonl` is beside it."""

    source: str
    """Digest of the source and of what was read of it."""
    num_frames: int = Field(ge=0)
    """Frames of the whole source."""
    start: int = Field(ge=0)
    """Number of the shard's first frame."""
    stop: int = Field(ge=0)
    """Number after the shard's last frame."""
    staged: Staged
    """The good frames, in files of the dataset."""
    num_quarantined: int = Field(ge=0)
    """Frames that were left out."""
    num_dropped: int = Field(default=0, ge=0)
    """Good frames that were not worth keeping."""
    counts: dict[str, int]
    """How often each rule fired."""
    kept: tuple[FoundPlace, ...]
    """The first findings of each rule."""
    mapped: tuple[tuple[str, str, int], ...]
    """Category of the source, ours, and the number of boxes."""

    @property
    def numbers(self) -> range:
        """The numbers of the shard's frames."""
        return range(self.start, self.stop)


@dataclass
class Intake:
    """Yields the good frames of a source and keeps account of the rest.

    Attributes:
        source: the frames.
        known: the labels that the dataset has already.
        quarantine: takes a line for every reason to leave a frame out.
        log: what was found.
        mapped: what became of the source's categories.
        num_quarantined: frames left out.
        screen: says which good frames are worth keeping; None keeps all.
        num_dropped_in_parts: good frames that the readers of shards did not keep.
    """

    source: FrameSource
    known: KnownLabels
    quarantine: TextIO
    log: FindingLog = field(default_factory=FindingLog)
    mapped: Mapped = field(default_factory=Counter)
    num_quarantined: int = 0
    screen: FrameScreen | None = None
    num_dropped_in_parts: int = 0

    @property
    def num_listed(self) -> int:
        """How many frames the source names, readable or not."""
        return len(self.source) + self.source.num_refused

    @property
    def num_labels_ignored(self) -> int:
        """How many frames are in the dataset with other labels than the source's."""
        return self.log.counts["READ021"]

    @property
    def num_dropped(self) -> int:
        """How many good frames were not worth keeping, here and in parts."""
        here = 0 if self.screen is None else self.screen.num_seen - self.screen.num_kept
        return here + self.num_dropped_in_parts

    def frames(self, numbers: range) -> Iterator[Frame]:
        """Read frames by number and yield those that can be used and are worth keeping."""
        frames = self._good_frames(numbers)
        if self.screen is None:
            return frames
        return self.screen.kept(frames, lambda finding: self._note((finding,)))

    def _good_frames(self, numbers: range) -> Iterator[Frame]:
        console = Console(stderr=True)
        for number in track(numbers, description="read", console=console):
            result = self.source.read(number)
            self._note(result.findings)
            self.mapped.update(result.mapped)
            if result.frame is None:
                self.num_quarantined += 1
            else:
                self._compare(result.frame)
                yield result.frame

    def _compare(self, frame: Frame) -> None:
        """Note a frame whose labels will not be taken, as the dataset has others."""
        if self.known.differ(frame):
            what = "the dataset holds the frame with other labels, and keeps them"
            self._note((find("READ021", str(frame.key), what),))

    def add_source(self) -> None:
        """Take account of what is wrong with the source as a whole."""
        self._note(self.source.findings)
        self.num_quarantined += self.source.num_refused

    def add_part(self, part: Part, folder: Path) -> None:
        """Take over the account of a shard."""
        for place in part.kept:
            self.log.add(place.rule_id, place.where, place.what, times=0)
        self.log.counts.update(part.counts)
        for name, ours, num_boxes in part.mapped:
            self.mapped[name, ours] += num_boxes
        self.num_quarantined += part.num_quarantined
        self.num_dropped_in_parts += part.num_dropped
        self.quarantine.write((folder / QUARANTINE_FILE).read_text())

    def add_conflicts(self, keys: Iterable[FrameKey]) -> None:
        """Take account of frames that the dataset holds with other sensor data."""
        for key in keys:
            what = "the dataset holds other sensor data under this key"
            self._note((find("READ015", str(key), what),))
            self.num_quarantined += 1

    def add_unused(self, categories: Mapping[str, str]) -> None:
        """Take account of names that the config maps and no box bore; call it when all is read.

        Some formats write names in another case than ours, so that the lower case counts too.
        """
        found = ", ".join(sorted({name for name, _ in self.mapped})) or "none"
        for name, ours in sorted(categories.items()):
            if not self.mapped.keys() & {(name, ours), (name.lower(), ours)}:
                what = f"{name!r} is of no box that was read; names found: {found:.400}"
                self._note((find("READ020", "categories", what),))

    def part(self, source: str, numbers: range, staged: Staged) -> Part:
        """Return the account of one shard."""
        kept = (
            FoundPlace(rule_id=f.rule.rule_id, where=f.where, what=f.what) for f in self.log.kept
        )
        return Part(
            source=source,
            num_frames=len(self.source),
            start=numbers.start,
            stop=numbers.stop,
            staged=staged,
            num_quarantined=self.num_quarantined,
            num_dropped=self.num_dropped,
            counts=dict(self.log.counts),
            kept=tuple(kept),
            mapped=tuple((name, ours, n) for (name, ours), n in sorted(self.mapped.items())),
        )

    def write_findings(self, path: Path) -> None:
        """Write what was found, by rule, and what became of categories."""
        log = self.log
        values = {
            "subject": str(self.source.root),
            "num_frames": self.num_listed,
            "num_quarantined": self.num_quarantined,
            "num_places": {name: log.count(name) for name in ("error", "warning", "info")},
            "rules": dict(sorted(log.counts.items())),
            "categories": [
                {"source": name, "ours": ours, "num_boxes": count}
                for (name, ours), count in sorted(self.mapped.items())
            ],
            "findings": [finding.to_json_dict() for finding in log.ordered()],
        }
        write_atomically(path, json.dumps(values, indent=2) + "\n")

    def _note(self, findings: Sequence[Finding]) -> None:
        for finding in findings:
            self.log.add(finding.rule.rule_id, finding.where, finding.what)
            if finding.rule.severity == "error":
                self.quarantine.write(json.dumps(finding.to_json_dict()) + "\n")


def read_parts(folders: Sequence[Path], source: str, num_frames: int) -> list[tuple[Part, Path]]:
    """Return the parts of a source in the order of its frames, each with its folder.

    Raises:
        DataError: a part cannot be read or is of another source, or they do not cover the source
            exactly once.
    """
    parts = [(_read_part(folder / PART_FILE), folder) for folder in folders]
    parts.sort(key=lambda item: (item[0].start, item[0].stop))
    expected = 0
    for part, folder in parts:
        if (part.source, part.num_frames) != (source, num_frames):
            raise DataError(
                f"{folder}: read from another source, or with other settings; read all shards "
                "of one source with one config"
            )
        if part.start != expected:
            break
        expected = part.stop
    if expected != num_frames or sum(len(part.numbers) for part, _ in parts) != num_frames:
        found = ", ".join(f"{part.start} to {part.stop}" for part, _ in parts)
        raise DataError(
            f"the parts hold frames {found}, but the source has frames 0 to {num_frames}; give "
            "every shard exactly once"
        )
    return parts


def _read_part(path: Path) -> Part:
    try:
        return Part.parse(json.loads(path.read_bytes()), where=str(path))
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); read the shard again"
        ) from error
    except (ValueError, ConfigError) as error:
        raise DataError(f"{path}: not the part of a source: {error}") from error
