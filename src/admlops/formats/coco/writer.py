"""Writes labels in images as COCO's instances, with the images beside them."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from admlops.errors import DataError
from admlops.files import write_atomically
from admlops.structures.frame import Frame

_SUFFIXES = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg"}


def write_instances(root: Path, name: str, frames: Iterable[Frame]) -> int:
    """Write `annotations/instances_<name>.json` and the images; return the number of frames.

    Ids are given anew; ignore regions are written as crowds of the first category. Tracks, other
    cameras and boxes in space have no place in the format.

    Raises:
        DataError: a frame has no front camera.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    categories: dict[str, int] = {}
    for number, frame in enumerate(frames, start=1):
        camera, boxes = frame.camera, frame.boxes_2d
        if camera is None:
            raise DataError(f"frame {frame.key} has no front camera; COCO holds images")
        suffix = _SUFFIXES.get(camera.encoded[:4], _SUFFIXES.get(camera.encoded[:3], ".jpg"))
        file_name = f"{number:012d}{suffix}"
        if camera.encoded:
            write_atomically(root / name / file_name, camera.encoded)
        size = {"width": camera.width_px, "height": camera.height_px}
        images.append({"id": number, "file_name": file_name, **size})
        rows = [] if boxes is None else zip(boxes.category, boxes.box2d_px.tolist(), strict=True)
        for category, corners in rows:
            category_id = categories.setdefault(str(category), len(categories) + 1)
            annotations.append(_annotation(number, category_id, corners))
        regions = np.asarray(camera.ignore_regions_px).reshape(-1, 4).tolist()
        annotations += [_annotation(number, 1, corners, is_crowd=1) for corners in regions]
    for number, annotation in enumerate(annotations, start=1):
        annotation["id"] = number
    if any(item["iscrowd"] for item in annotations) and not categories:
        categories["crowd"] = 1
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
    }
    path = root / "annotations" / f"instances_{name}.json"
    write_atomically(path, json.dumps(content) + "\n")
    return len(images)


def _annotation(
    image: int, category: int, corners: list[float], is_crowd: int = 0
) -> dict[str, Any]:
    left, top, right, bottom = corners
    width, height = right - left, bottom - top
    return {
        "image_id": image,
        "category_id": category,
        "bbox": [left, top, width, height],
        "area": width * height,
        "iscrowd": is_crowd,
    }
