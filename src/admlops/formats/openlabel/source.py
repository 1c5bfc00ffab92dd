"""A file of OpenLABEL with its sensor data beside it, as a source of frames."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from admlops.errors import DataError
from admlops.formats.label_file import BrokenLabelError
from admlops.formats.openlabel.reader import is_openlabel, read_openlabel
from admlops.formats.pcd import decode_pcd
from admlops.formats.reading import FrameReading
from admlops.formats.source import ReadOptions, ReadResult
from admlops.geometry.boxes import count_points_in_boxes
from admlops.structures.boxes import NUM_POINTS_UNKNOWN, Boxes
from admlops.structures.frame import CameraImage, Frame, LidarSweep


def looks_like(root: Path) -> bool:
    """Return whether this is a file of OpenLABEL, or a folder with one."""
    return len(_files(root)) == 1


def open_folder(root: Path, options: ReadOptions) -> "OpenLabelSource":
    """List the frames of a file, or of the one in a folder.

    Raises:
        DataError: there is none or more than one, or it is no OpenLABEL 1.0 document.
    """
    return OpenLabelSource(root, options)


def _files(root: Path) -> list[Path]:
    found = sorted(root.glob("*.json")) if root.is_dir() else [root]
    return [file for file in found if file.suffix == ".json" and is_openlabel(file)]


class OpenLabelSource:
    """Frames of a file by number.

    Points and images are read from the streams' URIs, which are paths below the file's folder: PCD
    files as `formats.pcd` writes them, or KITTI's four numbers per point, in the lidar's frame.
    """

    def __init__(self, root: Path, options: ReadOptions) -> None:
        files = _files(root)
        if len(files) != 1:
            raise DataError(f"{root}: {len(files)} files of OpenLABEL; expected one")
        self.root = root
        self._file, self._folder = files[0], files[0].parent
        self._options = options
        self._labels = read_openlabel(files[0])
        self._categories = self._labels.categories(options.categories)
        self.findings = self._labels.findings
        self.num_refused = self._labels.num_refused

    def __reduce__(self) -> tuple[object, ...]:
        """Return how another process opens the same file."""
        return OpenLabelSource, (self.root, self._options)

    def __len__(self) -> int:
        """Return how many frames there are."""
        return len(self._labels.frames)

    def read(self, index: int) -> ReadResult:
        """Read the sensor data of one frame; one with an error is left out."""
        reading = FrameReading(self._folder)
        try:
            bare, uris = self._labels.frames.with_uris(index)
        except DataError as error:
            reading.note("READ006", self._file, str(error))
            return reading.result(None)
        lidar = self._lidar(bare, uris, reading)
        wanted = {"all": bare.cameras, "front": bare.cameras[:1], "none": ()}
        images = {
            image.sensor.name: self._image(image, uris, reading)
            for image in wanted[self._options.cameras]
        }
        camera = None if bare.camera is None else images.get(bare.camera.sensor.name)
        others = [images.get(image.sensor.name) for image in bare.other_cameras]
        frame = replace(
            reading.labels(bare, self._categories),
            lidar=lidar,
            camera=camera,
            other_cameras=tuple(image for image in others if image is not None),
            source=bare.source or str(self.root),
        )
        if frame.boxes is not None and lidar is not None:
            frame = replace(frame, boxes=_counted(frame, frame.boxes))
        return reading.result(frame)

    def _lidar(
        self, bare: Frame, uris: Mapping[str, str], reading: FrameReading
    ) -> LidarSweep | None:
        if bare.lidar is None or bare.lidar.sensor.name not in uris:
            return None
        path = self._path(uris[bare.lidar.sensor.name], reading)
        content = None if path is None else reading.bytes_of(path)
        if path is None or content is None:
            return None
        try:
            points = _decode(path, content)
        except BrokenLabelError as error:
            reading.note("READ002", path, str(error))
            return None
        checked = reading.points(points, path)
        return None if checked is None else LidarSweep(bare.lidar.sensor, checked)

    def _image(
        self, bare: CameraImage, uris: Mapping[str, str], reading: FrameReading
    ) -> CameraImage | None:
        if bare.sensor.name not in uris:
            return bare
        path = self._path(uris[bare.sensor.name], reading)
        if path is None:
            return None
        size_px = bare.width_px, bare.height_px
        image = reading.image_or_size(path, size_px, bare.sensor)
        return None if image is None else replace(image, ignore_regions_px=bare.ignore_regions_px)

    def _path(self, uri: str, reading: FrameReading) -> Path | None:
        """Return the file of a URI; None with a finding, where it is not below the folder."""
        pure = PurePosixPath(uri)
        if "://" in uri or "\0" in uri or pure.is_absolute() or ".." in pure.parts:
            reading.note("READ001", f"{uri!r:.80}", "is no path below the folder of the labels")
            return None
        return self._folder / pure


def _decode(path: Path, content: bytes) -> NDArray[np.float32]:
    if path.suffix == ".pcd":
        return decode_pcd(content)
    if path.suffix != ".bin" or len(content) % 16:
        raise BrokenLabelError(f"{len(content)} bytes; PCD and KITTI's .bin are read")
    return np.frombuffer(content, dtype="<f4").reshape(-1, 4).astype(np.float32)


def _counted(frame: Frame, boxes: Boxes) -> Boxes:
    """Return boxes with their numbers of points, where the file does not name them."""
    counted = count_points_in_boxes(frame.points_in_ego(), boxes.as_7())
    is_unknown = boxes.num_points == NUM_POINTS_UNKNOWN
    return boxes.replace(num_points=np.where(is_unknown, counted, boxes.num_points))
