"""What every format reader offers: frames by number, and what is wrong with those that are not."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from admlops.config import Config
from admlops.structures.finding import Finding
from admlops.structures.frame import Frame


class ReadOptions(Config):
    """What of a source is read; each format takes what it can offer."""

    categories: dict[str, str] = Field(default_factory=dict)
    """Our category of names in the source, beside the format's own table; "" leaves boxes out."""
    cameras: Literal["all", "front", "none"] = "all"
    """Whose images are read."""
    keyframes_only: bool = False
    """Whether frames between the annotated ones are passed over."""
    lidar_returns: Literal["all", "first"] = "all"
    """Which returns of a lidar pulse become points, where the source tells them apart."""


Mapped = Counter[tuple[str, str]]
"""How many boxes of a source's category became which of ours ("": left out on purpose)."""


@dataclass(frozen=True, slots=True)
class ReadResult:
    """One frame as read.

    Attributes:
        frame: None where a rule of severity "error" fired.
        findings: everything that was found.
        mapped: what became of the categories of its boxes; empty where it is left out.
    """

    frame: Frame | None
    findings: tuple[Finding, ...] = ()
    mapped: Mapped = field(default_factory=Counter)


class FrameSource(Protocol):
    """A folder or file of frames that are listed and not yet read.

    Frames are read by number, in any order and from several processes, so that a source can be
    cut into shards; the object can be sent to another process.
    """

    @property
    def root(self) -> Path:
        """Where the source is."""
        ...

    @property
    def findings(self) -> Sequence[Finding]:
        """What is wrong with the source as a whole, or with the list of its frames."""
        ...

    @property
    def num_refused(self) -> int:
        """Frames that the source names but that cannot be read at all."""
        ...

    def __len__(self) -> int:
        """Return how many frames can be read."""
        ...

    def read(self, index: int) -> ReadResult:
        """Read one frame; a frame with an error is left out, with the reason."""
        ...


def read_all(source: FrameSource) -> Iterator[Frame | Finding]:
    """Yield every frame that can be used, each after what was found about it."""
    yield from source.findings
    for index in range(len(source)):
        result = source.read(index)
        yield from result.findings
        if result.frame is not None:
            yield result.frame


@dataclass(frozen=True, slots=True)
class CategoryTable:
    """Our category of each name in a source.

    Attributes:
        names: by the source's name; "" leaves boxes out.
    """

    names: Mapping[str, str]

    def unknown(self, found: Sequence[str] | NDArray[np.object_]) -> list[str]:
        """Return the names that the table does not hold, sorted."""
        return sorted(set(found) - self.names.keys())

    def apply(
        self, found: Sequence[str] | NDArray[np.object_]
    ) -> tuple[NDArray[np.object_], NDArray[np.bool_], Mapped]:
        """Return our categories of the kept boxes, (N,) which are kept, and the account of all.

        Raises:
            KeyError: a name is unknown.
        """
        ours = np.array([self.names[name] for name in found], dtype=object)
        kept = np.array([bool(name) for name in ours], dtype=np.bool_)
        return ours[kept], kept, Counter(zip(map(str, found), ours, strict=True))


def read_head(path: Path) -> bytes:
    """Return a file's first 4,096 bytes, which tell formats apart; none if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(4096)
    except OSError:
        return b""
