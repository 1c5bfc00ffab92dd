"""The shapes of a task by frame: in a file tracks follow one another, and each spans many frames.

What is said of a shape waits in a temporary file; in memory are the frames in which it is seen.
Boxes between two shapes of a track are computed when their frame is read.
"""

import json
from array import array
from bisect import bisect_left
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from admlops.formats.cvat.interpolation import STAYS, move
from admlops.formats.record_file import RecordFile


class Shape(NamedTuple):
    """One shape, with what stands beside it in the file.

    Attributes:
        kind: "cuboid" or "box".
        track: its identity.
        label: its category.
        order: place among the boxes of the frame.
        numbers: x y z length width height yaw, or left top right bottom.
        details: what else is said of it.
    """

    kind: str
    track: str
    label: str
    order: int
    numbers: list[float]
    details: Mapping[str, Any]


class TaskShapes:
    """Shapes that are added track by track, and then read frame by frame.

    Attributes:
        kinds: of shapes that are seen in any frame.
        num_seen: shapes in all frames, those between others included.
    """

    def __init__(self, path: Path) -> None:
        self.kinds: set[str] = set()
        self.num_seen = 0
        self._records = RecordFile(path)
        self._spans: array[int] = array("q")
        self._frames = np.empty(0, np.int32)
        self._of_span = np.empty(0, np.int32)

    def keep(self, shape: Shape) -> int:
        """Keep a shape and return its number.

        Raises:
            DataError: there is no room for it.
        """
        return self._records.append(json.dumps(shape).encode())

    def show(self, kind: str, spans: NDArray[np.int64]) -> None:
        """Add (N, 4) spans of frames in which shapes of a kind are seen, see `spans_of`."""
        if len(spans):
            self.kinds.add(kind)
            self.num_seen += int((spans[:, 1] - spans[:, 0]).sum())
            self._spans.frombytes(spans.astype(np.int64).tobytes())

    def sort(self) -> NDArray[np.int64]:
        """Bring the shapes in the order of their frames; return the numbers of these, rising."""
        spans = self._table
        counts = spans[:, 1] - spans[:, 0]
        of_span = np.repeat(np.arange(len(spans), dtype=np.int32), counts)
        place = np.arange(len(of_span)) - np.repeat(np.cumsum(counts) - counts, counts)
        frames = (spans[of_span, 0] + place).astype(np.int32)
        order = np.argsort(frames, kind="stable")
        self._frames, self._of_span = frames[order], of_span[order]
        return np.unique(self._frames).astype(np.int64)

    def of_frame(self, frame: int) -> list[Shape]:
        """Return the shapes in a frame, in the file's order.

        Raises:
            DataError: the disk does not give them.
        """
        first, stop = bisect_left(self._frames, frame), bisect_left(self._frames, frame + 1)
        return [self._seen(self._table[span], frame) for span in self._of_span[first:stop]]

    @property
    def _table(self) -> NDArray[np.int64]:
        return np.frombuffer(self._spans, np.int64).reshape(-1, 4)

    def _seen(self, span: NDArray[np.int64], frame: int) -> Shape:
        """Return the shape of a span as it is in a frame."""
        start, stop, number, following = span.tolist()
        shape = self._read(number)
        if frame == start or following == STAYS:
            return shape
        share = (frame - start) / (stop - start)
        end = np.array(self._read(following).numbers)
        return shape._replace(numbers=move(np.array(shape.numbers), end, share).tolist())

    def _read(self, number: int) -> Shape:
        return Shape(*json.loads(self._records.read(number)))
