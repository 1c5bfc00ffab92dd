"""An export of CVAT with its images beside it, as a source of frames."""

from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from admlops.checks.rules import find
from admlops.errors import DataError
from admlops.formats.cvat.reader import is_cvat, read_cvat
from admlops.formats.reading import FrameReading
from admlops.formats.source import CategoryTable, ReadOptions, ReadResult
from admlops.structures.finding import Finding
from admlops.structures.frame import CalibratedSensor, CameraImage

IMAGE_FOLDER = "images"
CAMERA = CalibratedSensor("camera_front", "camera", np.eye(4))
"""CVAT knows nothing of the camera."""
_SUFFIXES = ("", ".jpg", ".png", ".jpeg")


def looks_like(root: Path) -> bool:
    """Return whether this is an XML file of CVAT, or a folder with one and no other labels."""
    return len(_files(root)) == 1 and not (root / "openlabel.json").exists()


def open_folder(root: Path, options: ReadOptions) -> "CvatSource":
    """List the frames of a task.

    Raises:
        DataError: there is no export or more than one, or it is no CVAT XML 1.1.
    """
    return CvatSource(root, options)


def _files(root: Path) -> list[Path]:
    found = sorted(root.glob("*.xml")) if root.is_dir() else [root]
    return [file for file in found if file.suffix == ".xml" and is_cvat(file)]


class CvatSource:
    """Frames of a task by number, with their images where they were exported too."""

    def __init__(self, root: Path, options: ReadOptions) -> None:
        files = _files(root)
        if len(files) != 1:
            raise DataError(f"{root}: {len(files)} exports of CVAT; expected one")
        self._root = root
        self._images = files[0].parent / IMAGE_FOLDER
        self._options = options
        self._labels = read_cvat(files[0])
        tables = [
            table
            for frame in self._labels.frames
            for table in (frame.boxes, frame.boxes_2d)
            if table is not None
        ]
        names = {str(name) for table in tables for name in table.category}
        self._categories = CategoryTable({name: name for name in names} | options.categories)

    def __reduce__(self) -> tuple[object, ...]:
        """Return how another process opens the same export."""
        return CvatSource, (self._root, self._options)

    @property
    def root(self) -> Path:
        """Where the source is."""
        return self._root

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong with labels in the file, and whether the images are there."""
        if self._images.is_dir():
            return self._labels.findings
        missing = find("READ019", self._root.name, f"no folder {IMAGE_FOLDER}")
        return (*self._labels.findings, missing)

    @property
    def num_refused(self) -> int:
        """Frames whose labels cannot be read."""
        return self._labels.num_refused

    def __len__(self) -> int:
        """Return how many frames there are."""
        return len(self._labels.frames)

    def read(self, index: int) -> ReadResult:
        """Read one frame with its image; one with an error is left out."""
        bare = self._labels.frames[index]
        reading = FrameReading(self._root)
        boxes, boxes_2d = bare.boxes, bare.boxes_2d
        if boxes is not None:
            boxes = reading.boxes(boxes, self._categories, str(bare.key))
        if boxes_2d is not None:
            boxes_2d = reading.boxes_2d(boxes_2d, self._categories, str(bare.key))
        camera = None if self._options.cameras == "none" else self._image(bare.frame_id, reading)
        frame = replace(bare, camera=camera, boxes=boxes, boxes_2d=boxes_2d, source=str(self._root))
        return reading.result(frame)

    def _image(self, name: str, reading: FrameReading) -> CameraImage | None:
        """Return a frame's image; without the folder of images, None."""
        if not self._images.is_dir():
            return None
        pure = PurePosixPath(name)
        if "\0" in name or pure.is_absolute() or ".." in pure.parts:
            reading.note("READ001", f"{name!r:.80}", "is no path below the folder of images")
            return None
        candidates = [
            self._images / f"{stem}{suffix}"
            for stem in (name, f"frame_{name}")
            for suffix in _SUFFIXES
        ]
        path = next((path for path in candidates if path.is_file()), candidates[0])
        return reading.image(path, CAMERA)
