"""What a vendor gets: frames without their names, sensors, guideline, and files to start from."""

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

import numpy as np

from admlops.annotation.acceptance_images import folder_of
from admlops.annotation.definition import DatasetDefinition
from admlops.annotation.delivery_schema import make_delivery_schema
from admlops.annotation.gold import PackageKey, PackedFrame
from admlops.annotation.image_labels import make_coco_task
from admlops.annotation.projects import make_cvat_labels
from admlops.config import Config
from admlops.files import (
    digest_file,
    open_atomically,
    write_atomically,
    write_folder_atomically,
)
from admlops.formats.cvat.writer import write_cvat
from admlops.formats.openlabel.writer import write_openlabel
from admlops.formats.pcd import encode_pcd
from admlops.structures.boxes import Boxes
from admlops.structures.frame import CalibratedSensor, CameraImage, Frame, LidarSweep

MANIFEST_FILE = "manifest.json"
OPENLABEL_FILE = "openlabel.json"
CVAT_FILE = "annotations.xml"
COCO_FILE = "coco.json"
GUIDELINE_FILE = "guideline.html"
PACKAGE_PREFIX = "package-"
_EPOCH = (1980, 1, 1, 0, 0, 0)

CloudFormat = Literal["pcd", "bin"]


class PackedFile(Config):
    """One file of a package."""

    size_bytes: int
    """Its size."""
    sha256: str
    """Digest of its bytes."""


class PackageManifest(Config):
    """What a package holds; written as ``manifest.json`` beside its files."""

    package_id: str
    """Name that a delivery carries."""
    definition: str
    """Name and version of the definition that labels must meet."""
    num_frames: int
    """Frames to label."""
    formats: tuple[str, ...]
    """Formats in which labels are accepted."""
    coordinates: str = (
        "Points and boxes are in the vehicle's frame: x forward, y left, z up, in metres; the "
        "origin is on the ground. Yaw is counter-clockwise from x. Length is along the heading. "
        "Boxes in images are in pixels, x to the right and y down from the upper left corner."
    )
    """Where points and boxes are."""
    files: dict[str, PackedFile]
    """Every file, by its path in the package."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the manifest of a package.

        Raises:
            DataError: there is none, or it is damaged.
        """
        return cls.read_record(folder / MANIFEST_FILE, "package's manifest")


@dataclass(frozen=True, slots=True)
class PackageContents:
    """What goes into a package beside the frames.

    Attributes:
        definition: of the dataset.
        guideline: an HTML page, asked for when it is written; None for none.
        guideline_id: tells guidelines apart that are not made from the definition.
        cloud_format: "pcd" (binary), or "bin" as in KITTI.
    """

    definition: DatasetDefinition
    guideline: Callable[[], str] | None = None
    guideline_id: str = ""
    cloud_format: CloudFormat = "pcd"


def write_package(
    folder: Path,
    key: PackageKey,
    frames: Iterable[tuple[PackedFrame, Frame, Boxes | None]],
    contents: PackageContents,
) -> PackageManifest:
    """Write a package, whole or not at all; one that is there already and whole is kept.

    Args:
        folder: becomes the package.
        key: what its frames are.
        frames: each frame of the key with its sensor data and the boxes to start from.
        contents: what else the vendor gets.
    """
    if (folder / MANIFEST_FILE).is_file():
        manifest = PackageManifest.read(folder)
        if manifest.package_id == key.package_id and not damaged_files(folder, manifest):
            return manifest
    with write_folder_atomically(folder) as draft:
        writer = _Writer(draft, contents.cloud_format)
        bare = [writer.add(packed, frame, start) for packed, frame, start in frames]
        write_openlabel(draft / OPENLABEL_FILE, bare, key.package_id, writer.uris)
        write_cvat(draft / CVAT_FILE, bare, key.package_id)
        _write_json(draft / "delivery_schema.json", make_delivery_schema(contents.definition))
        _write_json(draft / "cvat_labels.json", make_cvat_labels(contents.definition))
        if "coco" in contents.definition.acceptance.formats:
            _write_json(draft / COCO_FILE, make_coco_task(contents.definition, writer.images))
        if contents.guideline is not None:
            write_atomically(draft / GUIDELINE_FILE, contents.guideline())
        manifest = PackageManifest(
            package_id=key.package_id,
            definition=contents.definition.title,
            num_frames=len(bare),
            formats=(*contents.definition.acceptance.formats, "parquet"),
            files=_list_files(draft),
        )
        _write_json(draft / MANIFEST_FILE, manifest.to_json_dict())
    return manifest


def damaged_files(folder: Path, manifest: PackageManifest) -> list[str]:
    """Return the files of a package that are absent or are not what the manifest says."""
    return [
        name
        for name, file in sorted(manifest.files.items())
        if not (folder / name).is_file() or digest_file(folder / name) != file.sha256
    ]


def pack_zip(folder: Path, target: Path) -> None:
    """Write a package as one ZIP file; equal packages give equal bytes."""
    with open_atomically(target) as opened, zipfile.ZipFile(opened, "w") as archive:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(str(file.relative_to(folder)), _EPOCH)
            entry.external_attr = 0o644 << 16
            is_text = file.suffix in (".json", ".xml", ".html")
            entry.compress_type = zipfile.ZIP_DEFLATED if is_text else zipfile.ZIP_STORED
            with file.open("rb") as source, archive.open(entry, "w") as sink:
                while chunk := source.read(1 << 20):
                    sink.write(chunk)


def package_id_of(content: Mapping[str, object]) -> str:
    """Return the name of the package that `content` decides."""
    text = json.dumps(content, sort_keys=True)
    return PACKAGE_PREFIX + hashlib.sha256(text.encode()).hexdigest()[:16]


class _Writer:
    """Writes the sensor data of frames, and keeps what the task files say of them."""

    def __init__(self, folder: Path, cloud_format: CloudFormat) -> None:
        self._folder = folder
        self._cloud_format = cloud_format
        self.uris: dict[tuple[int, str], str] = {}
        self.images: list[tuple[str, int, int]] = []

    def add(self, packed: PackedFrame, frame: Frame, start: Boxes | None) -> Frame:
        """Write a frame's data; return the frame as the vendor may see it."""
        lidar = None
        if frame.lidar is not None:
            name = frame.lidar.sensor.name
            suffix = self._cloud_format
            points = frame.points_in_ego()
            content = encode_pcd(points) if suffix == "pcd" else points.astype("<f4").tobytes()
            self._write(packed, name, f"pointclouds/{packed.frame_id}.{suffix}", content)
            lidar = LidarSweep(
                CalibratedSensor(name, "lidar", np.eye(4)), np.empty((0, 4), np.float32)
            )
        images = tuple(self._image(packed, image) for image in frame.cameras)
        return Frame(
            key=packed.alias_key,
            frame_id=packed.frame_id,
            global_from_ego=frame.global_from_ego,
            lidar=lidar,
            camera=images[0] if frame.camera is not None else None,
            other_cameras=images[1:] if frame.camera is not None else images,
            boxes=Boxes.empty() if start is None else start,
        )

    def _image(self, packed: PackedFrame, image: CameraImage) -> CameraImage:
        if image.encoded:
            suffix = "png" if image.encoded.startswith(b"\x89PNG") else "jpg"
            name = f"images/{folder_of(image.sensor.name)}/{packed.frame_id}.{suffix}"
            self._write(packed, image.sensor.name, name, image.encoded)
            self.images.append((name, image.width_px, image.height_px))
        return replace(image, encoded=b"", ignore_regions_px=np.empty((0, 4)))

    def _write(self, packed: PackedFrame, sensor: str, name: str, content: bytes) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.uris[int(packed.frame_id), sensor] = name


def _list_files(folder: Path) -> dict[str, PackedFile]:
    return {
        str(path.relative_to(folder)): PackedFile(
            size_bytes=path.stat().st_size, sha256=digest_file(path)
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _write_json(path: Path, values: object) -> None:
    write_atomically(path, json.dumps(values, indent=1) + "\n")
