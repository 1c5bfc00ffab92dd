"""Writes labels in images in BDD100K's format, with the images beside them."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from admlops.errors import DataError
from admlops.files import write_atomically
from admlops.formats.bdd100k.source import VIDEO_NS_PER_FRAME
from admlops.structures.frame import Frame

_NAMES = {"weather": "weather", "scene": "scene", "time": "timeofday"}


def write_labels(root: Path, name: str, frames: Iterable[Frame], *, is_video: bool) -> int:
    """Write `labels/<name>.json` and `images/`; return the number of frames.

    Of videos, the scene is the video and five frames make a second. Scores, other cameras, boxes
    in space and tags of other kinds have no place in the format.

    Raises:
        DataError: a frame has no front camera.
    """
    written = []
    for frame in frames:
        camera, boxes = frame.camera, frame.boxes_2d
        if camera is None:
            raise DataError(f"frame {frame.key} has no front camera; BDD100K holds images")
        index = frame.key.timestamp_ns // VIDEO_NS_PER_FRAME
        stem = f"{frame.key.scene}-{index + 1:07d}" if is_video else Path(frame.frame_id).stem
        if camera.encoded:
            write_atomically(root / "images" / f"{stem}.jpg", camera.encoded)
        item: dict[str, Any] = {"name": f"{stem}.jpg", "attributes": _attributes(frame.tags)}
        if is_video:
            item |= {"videoName": frame.key.scene, "frameIndex": index}
        if boxes is not None:
            rows = [
                {
                    "id": str(boxes.track_id[row]),
                    "category": str(boxes.category[row]),
                    "attributes": json.loads(boxes.attributes[row] or "{}"),
                    "box2d": _edges(boxes.box2d_px[row].tolist()),
                }
                for row in range(len(boxes))
            ]
            item["labels"] = rows + _crowds(np.asarray(camera.ignore_regions_px).tolist())
        written.append(item)
    write_atomically(root / "labels" / f"{name}.json", json.dumps(written, indent=1) + "\n")
    return len(written)


def _attributes(tags: tuple[str, ...]) -> dict[str, str]:
    pairs = (tag.split(":", 1) for tag in tags if ":" in tag)
    return {_NAMES[name]: value for name, value in pairs if name in _NAMES}


def _edges(corners: list[float]) -> dict[str, float]:
    return dict(zip(("x1", "y1", "x2", "y2"), corners, strict=True))


def _crowds(regions: list[list[float]]) -> list[dict[str, Any]]:
    return [
        {
            "id": f"crowd-{number}",
            "category": "other person",
            "attributes": {"crowd": True},
            "box2d": _edges(corners),
        }
        for number, corners in enumerate(regions)
    ]
