"""Waymo Open Dataset, perception v1: TFRecord segments of frames, read without TensorFlow.

The ego frame is Waymo's vehicle frame: x forward, y left, z up, its origin on the road below the
middle of the rear axle. The points of all lidars and returns are merged into one sweep in that
frame at the frame's pose. Waymo's intensity has no upper bound; ours is its hyperbolic tangent,
as is usual with this dataset. Elongation, segmentation, scene flow and maps are not read.
Source: Sun et al., "Scalability in Perception for Autonomous Driving: Waymo Open Dataset",
CVPR 2020, and dataset.proto.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from admlops.checks.rules import find
from admlops.errors import DataError
from admlops.formats.reading import FrameReading
from admlops.formats.source import CategoryTable, ReadOptions, ReadResult
from admlops.formats.waymo.frame import FrameDecoder
from admlops.formats.waymo.labels import CATEGORIES
from admlops.formats.waymo.tfrecord import (
    BrokenRecordError,
    RecordIndex,
    index_records,
    read_record,
)
from admlops.formats.waymo.wire import BrokenMessageError
from admlops.structures.finding import Finding

SPLITS = {"training": "train", "validation": "val", "testing": "test"}
_DEPTHS = ("", "*/", "*/*/")


def looks_like(root: Path) -> bool:
    """Return whether a path is a TFRecord file or a folder of them."""
    return bool(_files(root))


def _files(root: Path) -> list[Path]:
    if root.is_file():
        return [root] if root.suffix == ".tfrecord" else []
    return sorted(file for depth in _DEPTHS for file in root.glob(f"{depth}*.tfrecord"))


def open_folder(root: Path, options: ReadOptions) -> "WaymoSource":
    """List the frames of a segment, or of all segments in a folder.

    Raises:
        DataError: there is no TFRecord file.
    """
    return WaymoSource(root, options)


class WaymoSource:
    """Frames of Waymo segments by number."""

    def __init__(self, root: Path, options: ReadOptions) -> None:
        self.root = root
        self.findings: list[Finding] = []
        self._options = options
        self._categories = CategoryTable({**CATEGORIES, **options.categories})
        self._files = _files(root)
        if not self._files:
            raise DataError(f"{root}: no TFRecord file, nor a folder of them")
        self._index = [self._read_index(file) for file in self._files]
        self.num_refused = len(self.findings)  # how many frames a damaged file hides is not known
        self._starts = np.cumsum([0, *(len(index.offsets) for index in self._index)])

    def _read_index(self, file: Path) -> RecordIndex:
        try:
            index = index_records(file)
        except OSError as error:
            what = f"cannot be read ({error.strerror})"
            self.findings.append(find("READ001", file.name, what))
            return RecordIndex(np.empty(0, np.int64), np.empty(0, np.int64))
        if index.broken or not len(index.offsets):
            what = f"{index.broken or 'empty'}; {len(index.offsets)} frames before that"
            self.findings.append(find("READ002", file.name, what))
        return index

    def __len__(self) -> int:
        """Return how many frames were found."""
        return int(self._starts[-1])

    def read(self, index: int) -> ReadResult:
        """Read one frame; one with an error is left out, with the reason."""
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        file, records = self._files[number], self._index[number]
        record = int(index - self._starts[number])
        reading = FrameReading(self.root)
        try:
            content = read_record(file, int(records.offsets[record]), int(records.sizes[record]))
        except OSError as error:
            reading.note("READ001", file, f"cannot be read ({error.strerror})")
            return reading.result(None)
        except BrokenRecordError as error:
            reading.note("READ002", file, f"frame {record}: {error}")
            return reading.result(None)
        where = f"{file.name} frame {record}"
        try:
            decoder = FrameDecoder(content, where, reading, self._options)
            frame = decoder.frame(self._categories)
        except BrokenMessageError as error:
            reading.note("READ006", where, str(error))
            return reading.result(None)
        if frame is None:
            return reading.result(None)
        split = next((SPLITS[name] for name in _parents(file) if name in SPLITS), "")
        return reading.result(replace(frame, split=split, source=str(self.root)))


def _parents(file: Path) -> tuple[str, ...]:
    return tuple(parent.name for parent in file.parents)[: len(_DEPTHS)]
