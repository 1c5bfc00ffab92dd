"""Deliveries of boxes in images in COCO's and BDD100K's formats, and the task file of COCO."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from admlops.annotation.acceptance_defects import Defect
from admlops.annotation.definition import DatasetDefinition
from admlops.annotation.definition_check import IGNORE_CATEGORY, parse_attributes
from admlops.errors import DataError
from admlops.formats.bdd100k import source as bdd100k
from admlops.formats.box_details import attributes_text
from admlops.formats.coco import source as coco
from admlops.formats.json_file import read_json
from admlops.formats.source import FrameSource, ReadOptions
from admlops.structures.frame import Frame

ImageFormat = Literal["coco", "bdd100k"]
IMAGE_FORMATS = ("coco", "bdd100k")
_NOTES = ("annotation_id", "occluded", "truncated", "crowd", "trafficLightColor")
"""What the formats, and tools that write them, say of every box."""


def name_image_format(file: Path) -> str:
    """Return "coco" or "bdd100k" by what a JSON file holds; "" where it is none of them."""
    try:
        content = read_json(file)
    except DataError:
        return ""
    if isinstance(content, dict) and {"images", "annotations", "categories"} <= content.keys():
        return "coco"
    return "bdd100k" if bdd100k.looks_like(file) else ""


def read_image_labels(file: Path, format_name: ImageFormat) -> tuple[Iterable[Frame], list[Defect]]:
    """Return the labelled images of a file, called by their files, and what cannot be read.

    Raises:
        DataError: the file is not as its format says.
    """
    source: FrameSource
    if format_name == "coco":
        source = coco.open_folder(file, ReadOptions())
    else:
        names = {name: name for name in _bdd100k_categories(read_json(file))}
        source = bdd100k.open_folder(file, ReadOptions(categories=names))
    findings = list(source.findings)
    frames: list[Frame] = []
    for index in range(len(source)):
        result = source.read(index)
        findings += result.findings
        if result.frame is not None:
            frames.append(result.frame)
    return frames, [
        Defect(rule_id="ANNO023", what=f"{item.rule.rule_id} {item.where}: {item.what}")
        for item in findings
        if item.rule.severity == "error"
    ]


def without_notes(frame: Frame, definition: DatasetDefinition) -> Frame:
    """Return a frame whose boxes do not carry what its format says of every box.

    Attributes that the definition has stay.
    """
    boxes = frame.boxes_2d
    if boxes is None:
        return frame
    notes = set(_NOTES) - {item.name for item in definition.attributes}
    texts = [
        attributes_text({name: value for name, value in given.items() if name not in notes})
        for given in (parse_attributes(str(text)) or {} for text in boxes.attributes)
    ]
    attributes = np.array(texts, dtype=object).reshape(-1)
    return replace(frame, boxes_2d=boxes.replace(attributes=attributes))


def _bdd100k_categories(content: Any) -> Iterable[str]:  # noqa: ANN401 - any JSON
    """Yield the categories that a file names; it is for rules to tell those we do not have."""
    frames = content.get("frames") if isinstance(content, Mapping) else content
    for frame in frames if isinstance(frames, list) else ():
        labels = frame.get("labels") if isinstance(frame, Mapping) else None
        for label in labels if isinstance(labels, list) else ():
            if isinstance(label, Mapping) and isinstance(label.get("category"), str):
                yield label["category"]


def make_coco_task(
    definition: DatasetDefinition, images: Sequence[tuple[str, int, int]]
) -> dict[str, Any]:
    """Return a COCO file of a package's images without annotations, to label into.

    Args:
        definition: its categories, in their order, and regions to ignore.
        images: path in the package, width and height in px of each.
    """
    names = [*definition.category_names]
    if definition.rules.ignore_regions == "image_box":
        names.append(IGNORE_CATEGORY)
    return {
        "images": [
            {"id": number, "file_name": name, "width": width, "height": height}
            for number, (name, width, height) in enumerate(images, start=1)
        ],
        "annotations": [],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names, start=1)],
    }
