"""Writes labels in images as Pascal VOC's XML files, with the images beside them."""

from collections.abc import Iterable
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from admlops.errors import DataError
from admlops.files import write_atomically
from admlops.formats.voc.source import flags_of
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import Frame


def write_annotations(root: Path, frames: Iterable[Frame]) -> int:
    """Write `Annotations`, `JPEGImages` and `ImageSets/Main`; return the number of frames.

    Tracks, scores, ignore regions and other cameras have no place in the format.

    Raises:
        DataError: a frame has no front camera.
    """
    lists: dict[str, list[str]] = {}
    num_frames = 0
    for frame in frames:
        camera = frame.camera
        if camera is None:
            raise DataError(f"frame {frame.key} has no front camera; VOC holds images")
        name = f"{num_frames:06d}"
        if camera.encoded:
            write_atomically(root / "JPEGImages" / f"{name}.jpg", camera.encoded)
        tree = _annotation(name, (camera.width_px, camera.height_px), frame.boxes_2d)
        write_atomically(root / "Annotations" / f"{name}.xml", tree)
        lists.setdefault(frame.split or "train", []).append(name)
        num_frames += 1
    for split, names in lists.items():
        content = "".join(f"{name}\n" for name in names)
        write_atomically(root / "ImageSets" / "Main" / f"{split}.txt", content)
    return num_frames


def _annotation(name: str, size_px: tuple[int, int], boxes: Boxes2d | None) -> bytes:
    root = Element("annotation")
    SubElement(root, "filename").text = f"{name}.jpg"
    size = SubElement(root, "size")
    for tag, value in zip(("width", "height", "depth"), (*size_px, 3), strict=True):
        SubElement(size, tag).text = str(value)
    if boxes is not None:
        for row in range(len(boxes)):
            _write_box(SubElement(root, "object"), boxes, row)
    indent(root)
    return bytes(tostring(root, encoding="utf-8"))


def _write_box(item: Element, boxes: Boxes2d, row: int) -> None:
    SubElement(item, "name").text = str(boxes.category[row])
    for tag, text in flags_of(str(boxes.attributes[row])).items():
        SubElement(item, tag).text = text
    left, top, right, bottom = boxes.box2d_px[row].tolist()
    box = SubElement(item, "bndbox")
    values = (left + 1, top + 1, right, bottom)
    for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), values, strict=True):
        SubElement(box, tag).text = repr(value)
