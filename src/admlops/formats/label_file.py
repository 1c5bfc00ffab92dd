"""What a file of labels holds: frames without sensor data, and what was found while reading."""

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, overload

from admlops.checks.rules import find
from admlops.errors import DataError
from admlops.formats.source import CategoryTable
from admlops.structures.finding import Finding
from admlops.structures.frame import Frame, FrameKey


class BrokenLabelError(ValueError):
    """A part of a file of labels is not as its format says; the message names the part."""


class LabelledFrame(NamedTuple):
    """A frame of a file of labels.

    Attributes:
        frame: its sensors have their calibration, but no points and no images.
        uris: where the data of its sensors is, by their names.
    """

    frame: Frame
    uris: Mapping[str, str]


class LabelledFrames(Sequence[Frame]):
    """Frames that are read from their file whenever they are asked for.

    Reading one raises DataError where the file is no longer what it was.
    """

    def __init__(self, numbers: Sequence[int], read: Callable[[int], LabelledFrame]) -> None:
        self._numbers = numbers
        self._read = read

    def __len__(self) -> int:
        """Return how many frames there are."""
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Frame, ...]: ...
    def __getitem__(self, index: int | slice) -> Frame | tuple[Frame, ...]:
        """Read a frame, or some."""
        if isinstance(index, slice):
            return tuple(self._read(number).frame for number in self._numbers[index])
        return self._read(self._numbers[index]).frame

    def with_uris(self, index: int) -> LabelledFrame:
        """Read a frame, and where the data of its sensors is."""
        return self._read(self._numbers[index])


@dataclass(frozen=True, slots=True)
class LabelFile:
    """The frames of a file of labels.

    Attributes:
        frames: in the file's order.
        findings: what is wrong; an error says which frame was left out.
        num_refused: frames that were left out.
        own_categories: names of categories in the frames.
    """

    frames: LabelledFrames
    findings: tuple[Finding, ...] = ()
    num_refused: int = 0
    own_categories: frozenset[str] = frozenset()

    def categories(self, names: Mapping[str, str]) -> CategoryTable:
        """Return the table of the file's own categories as they are, but for those in `names`."""
        return CategoryTable({name: name for name in self.own_categories} | dict(names))

    def require_whole(self, where: str) -> "LabelFile":
        """Return the file itself.

        Raises:
            DataError: a frame was left out.
        """
        errors = [item for item in self.findings if item.rule.severity == "error"]
        if errors:
            raise DataError(f"{where}: {self.num_refused} frames cannot be read: {errors[0]}")
        return self


@dataclass
class FrameCollector:
    """Looks at frames as they are read for the first time, and refuses those that repeat a key.

    What is kept of a frame is its number.
    """

    findings: list[Finding] = field(default_factory=list)
    num_refused: int = 0
    _numbers: "array[int]" = field(default_factory=lambda: array("q"))
    _own_categories: set[str] = field(default_factory=set)
    _seen: set[FrameKey] = field(default_factory=set)

    def add(self, number: int, frame: Frame) -> None:
        """Keep the number of a frame, unless there is one with its key."""
        if frame.key in self._seen:
            self.refuse("EXCH004", f"frame {number}", f"a second frame {frame.key}")
            return
        self._seen.add(frame.key)
        self._numbers.append(number)
        for table in (frame.boxes, frame.boxes_2d):
            if table is not None:
                self._own_categories.update(map(str, table.category))

    def note(self, rule_id: str, where: str, what: str) -> None:
        """Record a finding that leaves the frame as it is."""
        self.findings.append(find(rule_id, where, what))

    def refuse(self, rule_id: str, where: str, what: str) -> None:
        """Record why a frame is left out."""
        self.note(rule_id, where, what)
        self.num_refused += 1

    def result(self, read: Callable[[int], LabelledFrame]) -> LabelFile:
        """Return what was collected; `read` reads a frame again by its number."""
        return LabelFile(
            LabelledFrames(self._numbers, read),
            tuple(self.findings),
            self.num_refused,
            frozenset(self._own_categories),
        )
