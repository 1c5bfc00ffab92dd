"""Several dataset versions in one: streamed, named conflicts, totals of what was renamed."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from admlops.config import Config
from admlops.errors import DataError
from admlops.formats.source import CategoryTable
from admlops.lake.encoding import label_2d_digest, label_digest
from admlops.lake.store import Dataset
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import Frame, FrameKey

NUM_NAMED = 5

TableT = TypeVar("TableT", Boxes, Boxes2d)
_CHUNK_FRAMES = 256


class MergeSource(Config):
    """One dataset version, and how its frames are called afterwards."""

    reference: str
    """``uri@version`` or ``uri@tag``."""
    condition: str = "true"
    """SQL on the view `frames` that the frames to take meet."""
    categories: dict[str, str] = Field(default_factory=dict)
    """New names of categories; "" leaves their boxes out, others keep their names."""
    splits: dict[str, str] = Field(default_factory=dict)
    """New names of splits; others keep theirs."""
    tags: tuple[str, ...] = ()
    """Tags that the frames get besides their own."""


class MergeRule(Config):
    """What is merged, and where it goes."""

    lake_uri: str
    """Folder or s3:// of the merged dataset; frames that are in it already stay as they are."""
    sources: tuple[MergeSource, ...] = Field(min_length=1)
    """What is merged, in order."""
    on_conflict: Literal["refuse", "first"] = "refuse"
    """Where two sources hold one frame with other data or labels: refuse, or keep the first."""


class CategoryTotal(Config):
    """What became of one category of one source."""

    source: str
    """Reference of the source."""
    before: str
    """Its name there."""
    after: str
    """Its name in the merged dataset; "" where it was left out."""
    num_boxes: int
    """Boxes of it, of the frames that were taken."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """One frame that two sources describe differently.

    Attributes:
        key: the frame.
        kept: reference of the first one that holds it.
        other: reference of the other.
        what: what differs.
    """

    key: FrameKey
    kept: str
    other: str
    what: Literal["sensor data", "labels"]

    def __str__(self) -> str:
        """Return the conflict on one line."""
        return f"{self.key}: {self.what} of {self.other} differ from those of {self.kept}"


@dataclass(frozen=True, slots=True)
class Part:
    """One opened source.

    Attributes:
        source: how its frames are called afterwards.
        dataset: the version.
        rows: (N,) the rows that are taken.
    """

    source: MergeSource
    dataset: Dataset
    rows: NDArray[np.int64]


def open_part(source: MergeSource) -> Part:
    """Open a source.

    Raises:
        DataError: there is no such version, or a category or split that is renamed is not in it.
    """
    dataset = Dataset.open(source.reference)
    for column, table, renamed in (
        ("category", "boxes", source.categories),
        ("split", "frames", source.splits),
    ):
        found = dataset.query(f"SELECT DISTINCT {column} AS name FROM {table} ORDER BY 1")
        names = found["name"].to_pylist()
        if column == "category":
            names += dataset.query("SELECT DISTINCT category AS n FROM boxes_2d")["n"].to_pylist()
        unknown = sorted(set(renamed) - set(names))
        if unknown:
            raise DataError(
                f"{source.reference}: no {column} is called {', '.join(map(repr, unknown))}; "
                f"there are {', '.join(map(repr, sorted(set(names)))) or 'none'}"
            )
    return Part(source, dataset, dataset.rows_where(source.condition))


def find_conflicts(parts: Sequence[Part]) -> list[Conflict]:
    """Return where a frame of a later part differs from that of the first part that holds it.

    Sensor data is compared by digest; labels as they are called afterwards.
    """
    first: dict[FrameKey, tuple[int, str]] = {}
    doubtful: list[tuple[FrameKey, int, int]] = []
    conflicts = []
    for number, part in enumerate(parts):
        digests = part.dataset.frame_digests()
        keys = part.dataset.keys()
        for row in part.rows.tolist():
            key = keys[row]
            sensor = digests[key].sensor
            kept, known = first.setdefault(key, (number, sensor))
            if kept == number:
                continue
            if known != sensor:
                names = [parts[n].dataset.reference for n in (kept, number)]
                conflicts.append(Conflict(key, names[0], names[1], "sensor data"))
            else:
                doubtful.append((key, kept, number))
    return conflicts + list(_label_conflicts(parts, doubtful))


def _label_conflicts(
    parts: Sequence[Part], doubtful: Sequence[tuple[FrameKey, int, int]]
) -> Iterator[Conflict]:
    wanted: dict[int, list[FrameKey]] = {}
    for key, kept, number in doubtful:
        wanted.setdefault(kept, []).append(key)
        wanted.setdefault(number, []).append(key)
    labels = {
        number: _label_digests(parts[number], list(dict.fromkeys(keys)))
        for number, keys in wanted.items()
    }
    for key, kept, number in doubtful:
        if labels[kept][key] != labels[number][key]:
            names = [parts[n].dataset.reference for n in (kept, number)]
            yield Conflict(key, names[0], names[1], "labels")


def _label_digests(part: Part, keys: Sequence[FrameKey]) -> dict[FrameKey, tuple[str, str]]:
    where = {key: row for row, key in enumerate(part.dataset.keys())}
    rows = np.array([where[key] for key in keys], np.int64)
    digests = {}
    for start in range(0, len(rows), _CHUNK_FRAMES):
        for frame in part.dataset.take(rows[start : start + _CHUNK_FRAMES], lidar=False):
            renamed = rename_frame(frame, part.source)
            digests[frame.key] = (
                label_digest(renamed.boxes, renamed.split),
                label_2d_digest(renamed.boxes_2d),
            )
    return digests


def refuse_conflicts(conflicts: Sequence[Conflict]) -> None:
    """Insist that there are none.

    Raises:
        DataError: names the first ones and says what can be done.
    """
    if conflicts:
        named = "; ".join(map(str, conflicts[:NUM_NAMED]))
        raise DataError(
            f"{len(conflicts)} frames cannot be merged, nothing was written: {named}. Leave them "
            "out with a source's condition, or set on_conflict to 'first'"
        )


def read_part(part: Part) -> Iterator[Frame]:
    """Yield the frames of a part as they are called afterwards, a few in memory at a time."""
    for frame in part.dataset.iterate(part.rows, camera=True, other_cameras=True):
        yield rename_frame(frame, part.source)


def rename_frame(frame: Frame, source: MergeSource) -> Frame:
    """Return the frame with the names that the merged dataset uses."""
    return replace(
        frame,
        boxes=None if frame.boxes is None else _rename(frame.boxes, source.categories),
        boxes_2d=None if frame.boxes_2d is None else _rename(frame.boxes_2d, source.categories),
        split=source.splits.get(frame.split, frame.split),
        tags=tuple(sorted({*frame.tags, *source.tags})),
    )


def _rename(boxes: TableT, categories: Mapping[str, str]) -> TableT:
    names = {name: categories.get(name, name) for name in boxes.category}
    ours, kept, _ = CategoryTable(names).apply(boxes.category)
    return boxes.select(kept).replace(category=ours)


def count_categories(part: Part) -> list[CategoryTotal]:
    """Return how many boxes each category of a part has, and what it is called afterwards."""
    counts: Counter[str] = Counter()
    for table in ("boxes", "boxes_2d"):
        found = part.dataset.query(
            f"SELECT {table}.category AS name, count(*) AS n FROM {table} SEMI JOIN "
            f"(SELECT log, scene, timestamp_ns FROM frames WHERE {part.source.condition}) "
            "USING (log, scene, timestamp_ns) GROUP BY 1"
        )
        counts.update(dict(zip(found["name"].to_pylist(), found["n"].to_pylist(), strict=True)))
    return [
        CategoryTotal(
            source=part.dataset.reference,
            before=name,
            after=part.source.categories.get(name, name),
            num_boxes=count,
        )
        for name, count in sorted(counts.items())
    ]
