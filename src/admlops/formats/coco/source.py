"""COCO's instances: images with boxes; crowds are ignore regions.

Segmentations stay in the source. Images have no time: a frame's timestamp is the image's id.
Source: https://cocodataset.org/#format-data.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from admlops.checks.rules import find
from admlops.errors import DataError
from admlops.formats.box_details import attributes_text
from admlops.formats.json_file import read_json, split_in_name
from admlops.formats.reading import FrameReading
from admlops.formats.source import CategoryTable, ReadOptions, ReadResult
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.finding import Finding
from admlops.structures.frame import CalibratedSensor, Frame, FrameKey

CAMERA = CalibratedSensor("camera_front", "camera", np.eye(4))
"""Nothing is known of the camera."""
ANNOTATION_ID = "annotation_id"
_PARTS = ("images", "annotations", "categories")
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
    with file.open("rb") as opened:
        return opened.read(64).lstrip().startswith(b"[")


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
        self.findings: list[Finding] = []
        self.num_refused = 0
        self._frames: list[tuple[Path, dict[str, Any], list[dict[str, Any]]]] = []
        self._names: dict[int, str] = {}
        files = _files(root)
        if not files:
            raise DataError(f"{root}: no COCO file {_PATTERN}")
        for file in files:
            self._list(file)
        known = {name: name for name in self._names.values()}
        self._categories = CategoryTable(known | options.categories)

    def __len__(self) -> int:
        """Return how many images there are."""
        return len(self._frames)

    def read(self, index: int) -> ReadResult:
        """Read one image with its boxes; one with an error is left out."""
        file, image, annotations = self._frames[index]
        reading = FrameReading(self.root)
        size_px = (image["width"], image["height"])
        path = _image_folder(file) / image["file_name"]
        camera = reading.image_or_size(path, size_px, CAMERA)
        where = f"{file.name} image {image['id']}"
        boxes_2d = reading.boxes_2d(self._boxes(annotations), self._categories, where)
        crowds = [item["bbox"] for item in annotations if item.get("iscrowd")]
        if camera is None:
            return reading.result(None)
        frame = Frame(
            key=FrameKey("coco", file.stem, image["id"]),
            frame_id=image["file_name"],
            global_from_ego=np.eye(4),
            camera=replace(camera, ignore_regions_px=_corners(crowds)),
            boxes_2d=boxes_2d,
            split=split_in_name(file),
            source=str(self.root),
        )
        return reading.result(frame)

    def _boxes(self, annotations: list[dict[str, Any]]) -> Boxes2d:
        own = [item for item in annotations if not item.get("iscrowd")]
        details = [_attributes(item) for item in own]
        tracks = [str(item.pop("track_id", "")) for item in details]
        occluded = [item.get("occluded") for item in details]
        return Boxes2d.make(
            _corners([item["bbox"] for item in own]),
            [self._names.get(item["category_id"], str(item["category_id"])) for item in own],
            track_id=np.array(tracks, dtype=object),
            occlusion=np.array([int(item) if isinstance(item, bool) else -1 for item in occluded]),
            attributes=np.array([attributes_text(item) for item in details], dtype=object),
        )

    def _list(self, file: Path) -> None:
        content = read_json(file, _without_segmentation)
        if not isinstance(content, dict) or any(not _is_list(content.get(p)) for p in _PARTS):
            raise DataError(f"{file}: no COCO file: it has no lists {', '.join(_PARTS)}")
        for category in content["categories"]:
            if not isinstance(category.get("id"), int) or not isinstance(category.get("name"), str):
                raise DataError(f"{file}: a category has no id and name: {category!r:.80}")
            self._names[category["id"]] = category["name"]
        by_image = self._annotations(file, content["annotations"])
        seen: set[int] = set()
        for image in content["images"]:
            problem = _image_problem(image, seen)
            if problem:
                rule_id = "READ008" if problem.startswith("repeated") else "READ006"
                self._refuse(rule_id, file, problem)
                continue
            seen.add(image["id"])
            self._frames.append((file, image, by_image.pop(image["id"], [])))
        if by_image:
            what = (
                f"annotations of {len(by_image)} images that are not listed, first {min(by_image)}"
            )
            self.findings.append(find("READ016", file.name, what))
        if not _image_folder(file).is_dir():
            self.findings.append(find("READ019", file.name, "no folder of images"))

    def _annotations(
        self, file: Path, annotations: list[dict[str, Any]]
    ) -> dict[int, list[dict[str, Any]]]:
        by_image: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for item in annotations:
            if _is_annotation(item):
                by_image[item["image_id"]].append(item)
            else:
                self._refuse("READ006", file, f"annotation {item!r:.80}")
        return by_image

    def _refuse(self, rule_id: str, file: Path, what: str) -> None:
        self.findings.append(find(rule_id, file.name, what))
        self.num_refused += 1


def _is_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _without_segmentation(item: dict[str, Any]) -> dict[str, Any]:
    item.pop("segmentation", None)
    return item


def _attributes(item: dict[str, Any]) -> dict[str, Any]:
    """Return what is said of a box: its number, and attributes as labelling tools add them."""
    given = item.get("attributes")
    number = {ANNOTATION_ID: item["id"]} if "id" in item else {}
    return number | (given if isinstance(given, dict) else {})


def _is_annotation(item: Mapping[str, Any]) -> bool:
    box = item.get("bbox")
    return (
        isinstance(item.get("image_id"), int)
        and isinstance(item.get("category_id"), int)
        and isinstance(box, list)
        and len(box) == 4
        and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in box)
    )


def _image_problem(image: Mapping[str, Any], seen: set[int]) -> str:
    """Return what is wrong with an image's record, "" where nothing is."""
    numbers = [image.get(name) for name in ("id", "width", "height")]
    name = image.get("file_name")
    if not all(isinstance(value, int) and 0 <= value < 1 << 62 for value in numbers):
        return f"image {image!r:.80} has no id and size"
    if not isinstance(name, str) or name.startswith("/") or ".." in Path(name).parts:
        return f"image {image['id']} has no file name below the folder of images"
    return f"repeated image {image['id']}" if image["id"] in seen else ""


def _image_folder(file: Path) -> Path:
    """Return where the images of a file are: beside `annotations`, named as the file is."""
    base = file.parent.parent if file.parent.name == "annotations" else file.parent
    named = base / file.stem.removeprefix("instances_")
    return named if named.is_dir() else base / "images"


def _corners(boxes_xywh: list[list[float]]) -> NDArray[np.float64]:
    rows = np.array(boxes_xywh, dtype=np.float64).reshape(-1, 4)
    rows[:, 2:] += rows[:, :2]
    return rows
