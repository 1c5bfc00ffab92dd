"""What a file of labels holds: frames without sensor data, and what was found while reading."""

from collections.abc import Mapping
from dataclasses import dataclass

from admlops.checks.rules import find
from admlops.errors import DataError
from admlops.formats.source import CategoryTable
from admlops.structures.finding import Finding
from admlops.structures.frame import Frame, FrameKey


class BrokenLabelError(ValueError):
    """A part of a file of labels is not as its format says; the message names the part."""


@dataclass(frozen=True, slots=True)
class LabelFile:
    """The frames of a file of labels.

    Attributes:
        frames: in the file's order; sensors have their calibration, but no points and no images.
        findings: what is wrong; an error says which frame was left out.
        num_refused: frames that were left out.
        uris: of each frame, where the data of its sensors is, by their names.
    """

    frames: tuple[Frame, ...]
    findings: tuple[Finding, ...] = ()
    num_refused: int = 0
    uris: tuple[Mapping[str, str], ...] = ()

    def categories(self, names: Mapping[str, str]) -> CategoryTable:
        """Return the table of the file's own categories as they are, but for those in `names`."""
        tables = [table for frame in self.frames for table in (frame.boxes, frame.boxes_2d)]
        own = {str(name) for table in tables if table is not None for name in table.category}
        return CategoryTable({name: name for name in own} | dict(names))

    def require_whole(self, where: str) -> "LabelFile":
        """Return the file itself.

        Raises:
            DataError: a frame was left out.
        """
        errors = [item for item in self.findings if item.rule.severity == "error"]
        if errors:
            raise DataError(f"{where}: {self.num_refused} frames cannot be read: {errors[0]}")
        return self


class FrameCollector:
    """Collects frames as they are read, and refuses those that repeat a key."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.findings: list[Finding] = []
        self.num_refused = 0
        self.uris: list[Mapping[str, str]] = []
        self._seen: set[FrameKey] = set()

    def add(self, frame: Frame, where: str, uris: Mapping[str, str] | None = None) -> None:
        """Keep a frame and where its data is, unless there is one with its key."""
        if frame.key in self._seen:
            self.refuse("EXCH004", where, f"a second frame {frame.key}")
            return
        self._seen.add(frame.key)
        self.frames.append(frame)
        self.uris.append(uris or {})

    def note(self, rule_id: str, where: str, what: str) -> None:
        """Record a finding that leaves the frame as it is."""
        self.findings.append(find(rule_id, where, what))

    def refuse(self, rule_id: str, where: str, what: str) -> None:
        """Record why a frame is left out."""
        self.note(rule_id, where, what)
        self.num_refused += 1

    def result(self) -> LabelFile:
        """Return what was collected."""
        return LabelFile(
            tuple(self.frames), tuple(self.findings), self.num_refused, tuple(self.uris)
        )
