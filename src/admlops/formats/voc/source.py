"""Pascal VOC: one XML file of boxes per image.

Pixels are counted from 1 and the last one belongs to the box; here a box ends where its last pixel
does. Images have no time: a frame's timestamp is the number in its name, or made of the name.
Source: Everingham et al., "The Pascal Visual Object Classes Challenge", IJCV 2010, development kit.
"""

import hashlib
import json
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from admlops.checks.rules import find
from admlops.errors import DataError
from admlops.formats.box_details import attributes_text
from admlops.formats.reading import FrameReading
from admlops.formats.source import CategoryTable, ReadOptions, ReadResult, read_head
from admlops.formats.xml_stream import iterate_parts
from admlops.structures.boxes import OCCLUSION_UNKNOWN
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
_MAX_DIGITS = 16
_DEPTHS = ("", "*/", "*/*/")
_OCCLUSION = {"0": 0, "1": 1}


def looks_like(root: Path) -> bool:
    """Return whether a folder holds VOC's XML files."""
    first = next((file for years in _years(root) for file in _files(years)), None)
    return first is not None and b"<annotation>" in read_head(first)


def _years(root: Path) -> list[Path]:
    """Return the folders that hold annotations: this one, or those of the years in it."""
    years = sorted(path.parent for depth in _DEPTHS for path in root.glob(f"{depth}Annotations/"))
    return years or [root]


def _files(year: Path) -> list[Path]:
    named = year / "Annotations"
    return sorted((named if named.is_dir() else year).glob("*.xml"))


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
        self.findings: list[Finding] = []
        self.num_refused = 0
        self._categories = CategoryTable({name: name for name in CATEGORIES} | options.categories)
        self._listed: list[tuple[Path, Path, FrameKey, str]] = []
        for year in _years(root):
            self._list(year)
        if not self._listed:
            raise DataError(f"{root}: no VOC folder: there is no XML file in it or in Annotations")

    def _list(self, year: Path) -> None:
        """Add the files of a folder, each with its key and split."""
        splits = _read_splits(year)
        seen: set[FrameKey] = set()
        for file in _files(year):
            key = FrameKey("voc", year.resolve().name, number_in_name(file.stem))
            if key in seen:
                self.findings.append(find("READ008", file.name, f"a second frame {key}"))
                self.num_refused += 1
                continue
            seen.add(key)
            self._listed.append((file, year, key, splits.get(file.stem, "")))
        if not (year / "JPEGImages").is_dir():
            self.findings.append(find("READ019", year.name, "no folder JPEGImages"))

    def __len__(self) -> int:
        """Return how many images there are."""
        return len(self._listed)

    def read(self, index: int) -> ReadResult:
        """Read one image with its boxes; one with an error is left out."""
        file, year, key, split = self._listed[index]
        reading = FrameReading(self.root)
        try:
            parts = list(iterate_parts(file, "annotation"))
            size_px, name = _size_px(parts), _text_of(parts, "filename", f"{file.stem}.jpg")
            found = _boxes([part for part in parts if part.tag == "object"])
        except (DataError, ValueError) as error:
            reading.note("READ006", file, str(error))
            return reading.result(None)
        path = year / "JPEGImages" / Path(name).name
        camera = reading.image_or_size(path, size_px, CAMERA)
        boxes_2d = reading.boxes_2d(found, self._categories, file)
        frame = Frame(
            key=key,
            frame_id=file.stem,
            global_from_ego=np.eye(4),
            camera=camera,
            boxes_2d=boxes_2d,
            split=split,
            source=str(self.root),
        )
        return reading.result(frame)


def number_in_name(name: str) -> int:
    """Return the number of "000012" or "2007_000549"; of other names one that is made of them."""
    digits = name.replace("_", "", 1)
    if digits.isascii() and digits.isdigit() and len(digits) < _MAX_DIGITS:
        return int(digits)
    return int.from_bytes(hashlib.sha256(name.encode(errors="replace")).digest()[:7], "big")


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
    corners, names, texts, truncation, occlusion = [], [], [], [], []
    for item in objects:
        name, box = item.findtext("name"), item.find("bndbox")
        if name is None or box is None:
            raise ValueError("an object has no name or no bndbox")
        values = [float(box.findtext(tag) or "nan") for tag in ("xmin", "ymin", "xmax", "ymax")]
        corners.append([values[0] - 1, values[1] - 1, values[2], values[3]])
        names.append(name.strip())
        flags = {tag: (item.findtext(tag) or "").strip() for tag in _FLAGS}
        truncation.append(0.0 if flags["truncated"] == "0" else np.nan)
        occlusion.append(_OCCLUSION.get(flags["occluded"], OCCLUSION_UNKNOWN))
        texts.append(attributes_text({tag: text for tag, text in flags.items() if text}))
    return Boxes2d.make(
        np.array(corners).reshape(-1, 4),
        names,
        truncation=np.array(truncation),
        occlusion=np.array(occlusion, dtype=np.int64),
        attributes=np.array(texts, dtype=object),
    )


def flags_of(attributes: str) -> dict[str, str]:
    """Return VOC's flags among a box's attributes."""
    values = json.loads(attributes) if attributes else {}
    return {tag: str(values[tag]) for tag in _FLAGS if tag in values}
