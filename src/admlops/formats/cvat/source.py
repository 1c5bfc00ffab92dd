"""An export of CVAT with its images beside it, as a source of frames."""

from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from admlops.checks.rules import find
from admlops.errors import DataError
from admlops.formats.cvat.reader import is_cvat, read_cvat
from admlops.formats.reading import FrameReading
from admlops.formats.source import ReadOptions, ReadResult
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
        self.root = root
        self._images = files[0].parent / IMAGE_FOLDER
        self._options = options
        self._labels = read_cvat(files[0])
        self._categories = self._labels.categories(options.categories)
        self.findings = self._labels.findings
        self.num_refused = self._labels.num_refused
        if not self._images.is_dir():
            self.findings += (find("READ019", root.name, f"no folder {IMAGE_FOLDER}"),)

    def __reduce__(self) -> tuple[object, ...]:
        """Return how another process opens the same export."""
        return CvatSource, (self.root, self._options)

    def __len__(self) -> int:
        """Return how many frames there are."""
        return len(self._labels.frames)

    def read(self, index: int) -> ReadResult:
        """Read one frame with its image; one with an error is left out."""
        bare = self._labels.frames[index]
        reading = FrameReading(self.root)
        labelled = reading.labels(bare, self._categories)
        camera = None if self._options.cameras == "none" else self._image(bare.frame_id, reading)
        return reading.result(replace(labelled, camera=camera, source=str(self.root)))

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
