"""Pascal VOC: one XML file of boxes per image.

Pixels are counted from 1 and the last one belongs to the box; here a box ends where its last pixel
does. Images have no time: a frame's timestamp is its place in the list of names.
Source: Everingham et al., "The Pascal Visual Object Classes Challenge", IJCV 2010, development kit.
"""

import json
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from admlops.checks.rules import find
from admlops.errors import DataError
from admlops.formats.box_details import attributes_text
from admlops.formats.reading import FrameReading
from admlops.formats.source import CategoryTable, ReadOptions, ReadResult
from admlops.formats.xml_stream import iterate_parts
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.finding import Finding
from admlops.structures.frame import CalibratedSensor, Frame, FrameKey

CAMERA = CalibratedSensor("camera_front", "camera", np.eye(4))
"""Nothing is known of the camera."""
CATEGORIES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
_FLAGS = ("pose", "truncated", "difficult", "occluded")
_SPLITS = ("train", "val", "test")


def looks_like(root: Path) -> bool:
    """Return whether a folder holds VOC's XML files."""
    if not root.is_dir():
        return False
    first = next(iter(sorted(_annotation_folder(root).glob("*.xml"))), None)
    if first is None:
        return False
    with first.open("rb") as file:
        return b"<annotation>" in file.read(4096)


def _annotation_folder(root: Path) -> Path:
    named = root / "Annotations"
    return named if named.is_dir() else root


def open_folder(root: Path, options: ReadOptions) -> "VocSource":
    """List the images of a folder.

    Raises:
        DataError: the folder holds no XML file.
    """
    return VocSource(root, options)


class VocSource:
    """Images of a VOC folder by number."""

    def __init__(self, root: Path, options: ReadOptions) -> None:
        self.root = root
        self._files = sorted(_annotation_folder(root).glob("*.xml"))
        if not self._files:
            raise DataError(f"{root}: no VOC folder: there is no XML file in it or in Annotations")
        self._categories = CategoryTable({name: name for name in CATEGORIES} | options.categories)
        self._splits = _read_splits(root)
        self._images = root / "JPEGImages"
        self.findings: tuple[Finding, ...] = ()
        if not self._images.is_dir():
            self.findings = (find("READ019", root.name, "no folder JPEGImages"),)
        self.num_refused = 0  # frames are those with an XML file

    def __len__(self) -> int:
        """Return how many images there are."""
        return len(self._files)

    def read(self, index: int) -> ReadResult:
        """Read one image with its boxes; one with an error is left out."""
        file = self._files[index]
        reading = FrameReading(self.root)
        try:
            parts = list(iterate_parts(file, "annotation"))
            size_px, name = _size_px(parts), _text_of(parts, "filename", f"{file.stem}.jpg")
            found = _boxes([part for part in parts if part.tag == "object"])
        except (DataError, ValueError) as error:
            reading.note("READ006", file, str(error))
            return reading.result(None)
        path = self._images / Path(name).name
        camera = reading.image_or_size(path, size_px, CAMERA)
        boxes_2d = reading.boxes_2d(found, self._categories, file)
        frame = Frame(
            key=FrameKey("voc", self.root.resolve().name, index),
            frame_id=file.stem,
            global_from_ego=np.eye(4),
            camera=camera,
            boxes_2d=boxes_2d,
            split=self._splits.get(file.stem, ""),
            source=str(self.root),
        )
        return reading.result(frame)


def _read_splits(root: Path) -> dict[str, str]:
    splits: dict[str, str] = {}
    for split in _SPLITS:
        path = root / "ImageSets" / "Main" / f"{split}.txt"
        if path.is_file():
            splits |= {
                line.split()[0]: split
                for line in path.read_text(errors="replace").splitlines()
                if line.strip()
            }
    return splits


def _size_px(parts: list[Element]) -> tuple[int, int]:
    size = next((part for part in parts if part.tag == "size"), None)
    if size is None:
        return 0, 0
    width, height = (int(size.findtext(name) or "0") for name in ("width", "height"))
    return width, height


def _text_of(parts: list[Element], tag: str, absent: str) -> str:
    return next((part.text or absent for part in parts if part.tag == tag), absent)


def _boxes(objects: list[Element]) -> Boxes2d:
    corners, names, texts, truncation = [], [], [], []
    for item in objects:
        name, box = item.findtext("name"), item.find("bndbox")
        if name is None or box is None:
            raise ValueError("an object has no name or no bndbox")
        values = [float(box.findtext(tag) or "nan") for tag in ("xmin", "ymin", "xmax", "ymax")]
        corners.append([values[0] - 1, values[1] - 1, values[2], values[3]])
        names.append(name.strip())
        flags = {tag: (item.findtext(tag) or "").strip() for tag in _FLAGS}
        truncation.append(0.0 if flags["truncated"] == "0" else np.nan)
        texts.append(attributes_text({tag: text for tag, text in flags.items() if text}))
    return Boxes2d.make(
        np.array(corners).reshape(-1, 4),
        names,
        truncation=np.array(truncation),
        attributes=np.array(texts, dtype=object),
    )


def flags_of(attributes: str) -> dict[str, str]:
    """Return VOC's flags among a box's attributes."""
    values = json.loads(attributes) if attributes else {}
    return {tag: str(values[tag]) for tag in _FLAGS if tag in values}
