"""What readers share: what is wrong with a frame is noted while the rest of it is read."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from admlops.checks.rules import find
from admlops.errors import DataError
from admlops.formats.cloud_file import BYTES_PER_POINT
from admlops.formats.image_file import image_size_px
from admlops.formats.source import CategoryTable, Mapped, ReadResult
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.finding import Finding
from admlops.structures.frame import CalibratedSensor, CameraImage, Frame

MAX_COORDINATE_M = 500.0
MAX_FILE_BYTES = 1 << 30
"""No file of a frame is so large; one that says so is damaged or hostile."""

TableT = TypeVar("TableT", Boxes, Boxes2d)
ValueT = TypeVar("ValueT")


class FrameReading:
    """What was found while one frame is read.

    Attributes:
        root: where the source is; findings name files below it.
        findings: so far.
        mapped: what became of the categories of its boxes.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.findings: list[Finding] = []
        self.mapped: Mapped = Counter()

    def note(self, rule_id: str, where: Path | str, what: str) -> None:
        """Add a finding about a file of the source, or about something it names."""
        if isinstance(where, Path) and where.is_relative_to(self.root):
            where = where.relative_to(self.root)
        self.findings.append(find(rule_id, str(where), what))

    def result(self, frame: Frame | None) -> ReadResult:
        """Return the frame, unless an error was found."""
        findings = tuple(self.findings)
        if frame is None or any(finding.rule.severity == "error" for finding in findings):
            return ReadResult(None, findings)  # nor do its boxes count among those that came in
        return ReadResult(frame, findings, self.mapped)

    def bytes_of(self, path: Path) -> bytes | None:
        """Return what a file holds, or None with a finding."""
        try:
            size = path.stat().st_size
            if size > MAX_FILE_BYTES:
                self.note("READ002", path, f"{size} bytes, more than a frame can hold")
                return None
            return path.read_bytes()
        except OSError as error:
            self.note("READ001", path, f"cannot be read ({error.strerror})")
            return None
        except ValueError:  # a surrogate or a nought in the name
            self.note("READ001", ascii(str(path)), "no file can have this name")
            return None

    def parsed(self, path: Path, rule_id: str, parse: Callable[[bytes], ValueT]) -> ValueT | None:
        """Return what a file says, or None with a finding, of the rule where `parse` refuses it."""
        content = self.bytes_of(path)
        if content is None:
            return None
        try:
            return parse(content)
        except (ValueError, DataError) as error:
            self.note(rule_id, path, str(error))
            return None

    def cloud(self, path: Path) -> NDArray[np.float32] | None:
        """Return the (N, 4) points of a file as KITTI writes it, or None with a finding."""
        content = self.bytes_of(path)
        if content is None:
            return None
        if not content or len(content) % BYTES_PER_POINT:
            self.note("READ002", path, f"{len(content)} bytes")
            return None
        return self.points(np.frombuffer(content, "<f4").reshape(-1, 4), path)

    def points(self, points: NDArray[np.float32], where: Path) -> NDArray[np.float32] | None:
        """Return (N, 4) points that are finite and within reach, or None with a finding."""
        if len(points) == 0:
            self.note("READ002", where, "no points")
            return None
        is_finite = np.isfinite(points).all(axis=1)
        if not is_finite.all():
            num_bad = int((~is_finite).sum())
            self.note("READ003", where, f"{num_bad} of {len(points)} points are not finite")
            return None
        far_m = np.abs(points[:, :3]).max(axis=1)
        if far_m.max() > MAX_COORDINATE_M:
            num_far = int((far_m > MAX_COORDINATE_M).sum())
            what = f"{num_far} of {len(points)} points beyond {MAX_COORDINATE_M:.0f} m"
            self.note("READ004", where, f"{what}, the farthest at {far_m.max():.4g} m")
            return None
        return points

    def image(self, path: Path, sensor: CalibratedSensor) -> CameraImage | None:
        """Return an image with its size, or None with a finding."""
        encoded = self.bytes_of(path)
        if encoded is None:
            return None
        try:
            width_px, height_px = image_size_px(encoded)
        except ValueError as error:
            self.note("READ007", path, f"{error} ({len(encoded)} bytes)")
            return None
        return CameraImage(sensor, encoded, width_px, height_px)

    def images(self, files: Mapping[Path, CalibratedSensor | None]) -> dict[str, CameraImage]:
        """Return the images of known cameras by their names, from the folders that are there."""
        known = {path: sensor for path, sensor in files.items() if sensor and path.parent.is_dir()}
        images = {sensor.name: self.image(path, sensor) for path, sensor in known.items()}
        return {name: image for name, image in images.items() if image is not None}

    def boxes(self, boxes: Boxes, table: CategoryTable, where: Path | str) -> Boxes | None:
        """Return boxes of the source's categories as boxes of ours, or None with a finding."""
        rows_7 = boxes.as_7()
        return self._ours(boxes, rows_7, rows_7[:, 3:6] > 0, table, where)

    def boxes_2d(self, boxes: Boxes2d, table: CategoryTable, where: Path | str) -> Boxes2d | None:
        """Return labels in images with categories of ours, or None with a finding."""
        box2d_px = boxes.box2d_px
        return self._ours(boxes, box2d_px, box2d_px[:, 2:] > box2d_px[:, :2], table, where)

    def _ours(
        self,
        boxes: TableT,
        numbers: NDArray[np.float64],
        has_extent: NDArray[np.bool_],
        table: CategoryTable,
        where: Path | str,
    ) -> TableT | None:
        unknown = table.unknown(boxes.category)
        if unknown:
            what = f"{', '.join(map(repr, unknown))}; known are {', '.join(table.names)}"
            self.note("READ010", where, what)
            return None
        is_bad = ~(np.isfinite(numbers).all(axis=1) & has_extent.all(axis=1))
        if is_bad.any():
            first = int(np.flatnonzero(is_bad)[0])
            found = ", ".join(f"{value:g}" for value in numbers[first])
            self.note("READ011", where, f"box {first} is {found}")
            return None
        categories, kept, mapped = table.apply(boxes.category)
        self.mapped += mapped
        return boxes.select(kept).replace(category=categories)

    def labels(self, frame: Frame, table: CategoryTable) -> Frame:
        """Return a frame whose boxes of both kinds have categories of ours; None with a finding."""
        where, boxes, boxes_2d = str(frame.key), frame.boxes, frame.boxes_2d
        return replace(
            frame,
            boxes=None if boxes is None else self.boxes(boxes, table, where),
            boxes_2d=None if boxes_2d is None else self.boxes_2d(boxes_2d, table, where),
        )

    def image_or_size(
        self, path: Path, size_px: tuple[int, int], sensor: CalibratedSensor
    ) -> CameraImage | None:
        """Return an image of the stated size (0 0: any); without the images' folder, only its size.

        None with a finding, where the file cannot be read or is of another size.
        """
        if not path.parent.is_dir():
            return CameraImage(sensor, b"", *size_px)
        image = self.image(path, sensor)
        if image is None or size_px in ((0, 0), (image.width_px, image.height_px)):
            return image
        stated = f"{size_px[0]} x {size_px[1]}"
        self.note("READ007", path, f"{image.width_px} x {image.height_px} px, stated is {stated}")
        return None


class Latest(Generic[ValueT]):
    """Remembers the last few values that were made, by key: a log's tables, a sequence's labels.

    What it remembers stays behind when the object is sent to another process.
    """

    def __init__(self, make: Callable[[str], ValueT], num_kept: int = 2) -> None:
        self._make = make
        self._num_kept = num_kept
        self._values: OrderedDict[str, ValueT] = OrderedDict()

    def __call__(self, key: str) -> ValueT:
        """Return the value of a key."""
        if key not in self._values:
            self._values[key] = self._make(key)
            if len(self._values) > self._num_kept:
                self._values.popitem(last=False)
        self._values.move_to_end(key)
        return self._values[key]

    def __reduce__(self) -> tuple[object, ...]:
        """Return how another process makes it, empty."""
        return Latest, (self._make, self._num_kept)
