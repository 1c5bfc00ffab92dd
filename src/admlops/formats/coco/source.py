"""COCO's instances: images with boxes; crowds are ignore regions.

Segmentations stay in the source. Images have no time: a frame's timestamp is the image's id.
Source: https://cocodataset.org/#format-data.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from admlops.checks.rules import find
from admlops.errors import DataError
from admlops.formats.box_details import attributes_text
from admlops.formats.coco.index import CocoIndex
from admlops.formats.json_file import split_in_name
from admlops.formats.reading import FrameReading
from admlops.formats.source import CategoryTable, ReadOptions, ReadResult, read_head
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.finding import Finding
from admlops.structures.frame import CalibratedSensor, Frame, FrameKey

CAMERA = CalibratedSensor("camera_front", "camera", np.eye(4))
"""Nothing is known of the camera."""
ANNOTATION_ID = "annotation_id"
_PATTERN = "instances_*.json"


def looks_like(root: Path) -> bool:
    """Return whether a folder holds `instances_*.json`, or a file is one."""
    if root.is_file():
        return root.suffix == ".json" and root.name.startswith("instances_")
    return bool(_files(root))


def _files(root: Path) -> list[Path]:
    if root.is_file():
        return [root]
    found = sorted([*root.glob(_PATTERN), *root.glob(f"annotations/{_PATTERN}")])
    return [file for file in found if not _is_list_file(file)]


def _is_list_file(file: Path) -> bool:
    """Return whether a file is a list, as files of results are."""
    return read_head(file).lstrip().startswith(b"[")


def open_folder(root: Path, options: ReadOptions) -> "CocoSource":
    """List the images of a folder, or of one file of instances.

    Raises:
        DataError: there is no such file, or one is not as the format says.
    """
    return CocoSource(root, options)


class CocoSource:
    """Images of COCO files by number."""

    def __init__(self, root: Path, options: ReadOptions) -> None:
        self.root = root
        self._files = [CocoIndex.of(file) for file in _files(root)]
        if not self._files:
            raise DataError(f"{root}: no COCO file {_PATTERN}")
        self.findings = [finding for file in self._files for finding in _findings(file)]
        self.num_refused = sum(file.num_refused for file in self._files)
        self._starts = np.cumsum([0, *(len(file.images) for file in self._files)])
        known = {name: name for file in self._files for name in file.names.values()}
        self._categories = CategoryTable(known | options.categories)

    def __len__(self) -> int:
        """Return how many images there are."""
        return int(self._starts[-1])

    def read(self, index: int) -> ReadResult:
        """Read one image with its boxes; one with an error is left out."""
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        file, place = self._files[number], int(index - self._starts[number])
        image, reading = file.images[place], FrameReading(self.root)
        try:
            annotations = file.annotations(place)
        except DataError as error:
            reading.note("READ006", file.path, str(error))
            return reading.result(None)
        path = _image_folder(file.path) / image.file_name
        camera = reading.image_or_size(path, (image.width_px, image.height_px), CAMERA)
        where = f"{file.path.name} image {image.id}"
        boxes_2d = reading.boxes_2d(_boxes(annotations, file.names), self._categories, where)
        crowds = [item["bbox"] for item in annotations if item.get("iscrowd")]
        if camera is None:
            return reading.result(None)
        frame = Frame(
            key=FrameKey("coco", file.path.stem, image.id),
            frame_id=image.file_name,
            global_from_ego=np.eye(4),
            camera=replace(camera, ignore_regions_px=_corners(crowds)),
            boxes_2d=boxes_2d,
            split=split_in_name(file.path),
            source=str(self.root),
        )
        return reading.result(frame)


def _findings(file: CocoIndex) -> list[Finding]:
    """Return what is wrong with a file, and whether its images are there."""
    if _image_folder(file.path).is_dir():
        return file.findings
    return [*file.findings, find("READ019", file.path.name, "no folder of images")]


def _boxes(annotations: list[dict[str, Any]], names: Mapping[int, str]) -> Boxes2d:
    own = [item for item in annotations if not item.get("iscrowd")]
    details = [_attributes(item) for item in own]
    tracks = [str(item.pop("track_id", "")) for item in details]
    occluded = [item.get("occluded") for item in details]
    return Boxes2d.make(
        _corners([item["bbox"] for item in own]),
        [names.get(item["category_id"], str(item["category_id"])) for item in own],
        track_id=np.array(tracks, dtype=object),
        occlusion=np.array([int(item) if isinstance(item, bool) else -1 for item in occluded]),
        attributes=np.array([attributes_text(item) for item in details], dtype=object),
    )


def _attributes(item: dict[str, Any]) -> dict[str, Any]:
    """Return what is said of a box: its number, and attributes as labelling tools add them."""
    given = item.get("attributes")
    number = {ANNOTATION_ID: item["id"]} if "id" in item else {}
    return number | (given if isinstance(given, dict) else {})


def _image_folder(file: Path) -> Path:
    """Return where the images of a file are: beside `annotations`, named as the file is."""
    base = file.parent.parent if file.parent.name == "annotations" else file.parent
    named = base / file.stem.removeprefix("instances_")
    return named if named.is_dir() else base / "images"


def _corners(boxes_xywh: list[list[float]]) -> NDArray[np.float64]:
    rows = np.array(boxes_xywh, dtype=np.float64).reshape(-1, 4)
    rows[:, 2:] += rows[:, :2]
    return rows
