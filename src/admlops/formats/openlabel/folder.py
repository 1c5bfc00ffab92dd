"""Writes frames with their sensor data: OpenLABEL, and the files that its streams name."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from admlops.formats.openlabel.writer import write_openlabel
from admlops.formats.pcd import encode_pcd
from admlops.structures.frame import CameraImage, Frame, LidarSweep

FILE_NAME = "openlabel.json"


def write_frames(root: Path, frames: Iterable[Frame], name: str = "") -> int:
    """Write frames below `root` and return their number; payloads are written as they come.

    Points go to ``pointclouds`` (PCD, in the lidar's frame), images to ``images``. The
    file of labels comes last: until it is there the folder is not whole.

    Raises:
        DataError: a box has a number that is not finite.
    """
    uris: dict[tuple[int, str], str] = {}
    return write_openlabel(root / FILE_NAME, list(_write_payloads(root, frames, uris)), name, uris)


def _write_payloads(
    root: Path, frames: Iterable[Frame], uris: dict[tuple[int, str], str]
) -> Iterator[Frame]:
    """Write each frame's data, note where, and yield the frame without it."""
    for number, frame in enumerate(frames):
        lidar = frame.lidar
        if lidar is not None:
            path = f"pointclouds/{number:06d}.pcd"
            uris[number, lidar.sensor.name] = path
            _write(root / path, encode_pcd(lidar.points))
            lidar = LidarSweep(lidar.sensor, np.empty((0, 4), np.float32))
        for place, image in enumerate(frame.cameras):
            if image.encoded:
                suffix = "png" if image.encoded.startswith(b"\x89PNG") else "jpg"
                path = f"images/{place}/{number:06d}.{suffix}"
                uris[number, image.sensor.name] = path
                _write(root / path, image.encoded)
        camera = None if frame.camera is None else _bare(frame.camera)
        others = tuple(map(_bare, frame.other_cameras))
        yield replace(frame, lidar=lidar, camera=camera, other_cameras=others)


def _bare(image: CameraImage) -> CameraImage:
    return replace(image, encoded=b"")


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
