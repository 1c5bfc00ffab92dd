"""Single boxes in images against the definition, their image and each other: ANNO041, ANNO042."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from admlops.annotation.acceptance_config import ImageLimits
from admlops.annotation.acceptance_defects import Defect, box_defect
from admlops.annotation.definition import DatasetDefinition
from admlops.annotation.definition_check import BoxRules
from admlops.geometry.image_boxes import iou_in_image
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import CameraImage, Frame

_AT_BORDER_PX = 1.5


@dataclass(frozen=True, slots=True)
class ImageBoxRules:
    """What single boxes in images are held against."""

    definition: DatasetDefinition
    limits: ImageLimits

    def find_defects(self, boxes: Boxes2d, frame: Frame) -> list[Defect]:
        """Return the defects of the boxes of one frame, the definition's rules included.

        Args:
            boxes: with the names of the frame's cameras, "" for the front one.
            frame: with its cameras; images may be empty.
        """
        usable = is_positive(boxes)
        defects = [
            box_defect("ANNO029", boxes, index, f"the box is {_text(boxes.box2d_px[index])}")
            for index in np.flatnonzero(~usable).tolist()
        ]
        defects += [
            box_defect(item.rule_id, boxes, item.index, item.what)
            for item in BoxRules(self.definition).find_defects_2d(boxes)
            if usable[item.index] or item.rule_id == "ANNO001"
        ]
        rows = np.flatnonzero(usable)
        defects += self._unknown_cameras(boxes, frame)
        defects += self._outside(boxes, rows, image_sizes_px(boxes, frame))
        defects += self._doubles(boxes, rows)
        return defects

    def _unknown_cameras(self, boxes: Boxes2d, frame: Frame) -> Iterator[Defect]:
        known = cameras_by_name(frame)
        names = ", ".join(image.sensor.name for image in frame.cameras) or "none"
        for index, name in enumerate(boxes.camera):
            if str(name) not in known:
                what = f"camera {str(name)!r}; the frame's cameras are {names}"
                yield box_defect("ANNO041", boxes, index, what)

    def _outside(
        self, boxes: Boxes2d, rows: NDArray[np.int64], size_px: NDArray[np.float64]
    ) -> Iterator[Defect]:
        edges = boxes.box2d_px
        over = np.column_stack([-edges[:, :2], edges[:, 2:] - size_px]).max(axis=1, initial=-np.inf)
        for index in rows[over[rows] > self.limits.border_px].tolist():
            what = f"{over[index]:.0f} px beyond the image of {size_px[index, 0]:.0f} x "
            what += f"{size_px[index, 1]:.0f} px"
            yield box_defect("ANNO042", boxes, index, what)

    def _doubles(self, boxes: Boxes2d, rows: NDArray[np.int64]) -> Iterator[Defect]:
        edges, category, camera = boxes.box2d_px[rows], boxes.category[rows], boxes.camera[rows]
        overlap = np.triu(iou_in_image(edges, edges), k=1)
        overlap *= (category[:, None] == category[None]) & (camera[:, None] == camera[None])
        for first, second in np.argwhere(overlap >= self.limits.duplicate_iou).tolist():
            what = f"{category[second]} and box {rows[first]} ({category[first]}) overlap with IoU "
            what += f"{overlap[first, second]:.2f}"
            yield box_defect("ANNO024", boxes, int(rows[second]), what)

    def is_whole(self, boxes: Boxes2d, frame: Frame) -> NDArray[np.bool_]:
        """Return (N,) which boxes show all of their objects, as far as can be told."""
        edges, size_px = boxes.box2d_px, image_sizes_px(boxes, frame)
        inside = (edges[:, :2] > _AT_BORDER_PX).all(axis=1)
        inside &= (edges[:, 2:] < size_px - 1.0 - _AT_BORDER_PX).all(axis=1)
        if self.definition.rules.occluded == "visible_part":
            inside &= boxes.occlusion <= 0
        return inside & ~(boxes.truncation > 0)


def is_positive(boxes: Boxes2d) -> NDArray[np.bool_]:
    """Return (N,) which boxes have a finite place and a positive size."""
    size = boxes.box2d_px[:, 2:] - boxes.box2d_px[:, :2]
    return np.asarray(np.isfinite(boxes.box2d_px).all(axis=1) & (size > 0).all(axis=1))


def cameras_by_name(frame: Frame) -> dict[str, CameraImage]:
    """Return a frame's images by the names of their cameras; the front one is called ""."""
    others = {image.sensor.name: image for image in frame.other_cameras}
    return others if frame.camera is None else {"": frame.camera, **others}


def with_own_cameras(boxes: Boxes2d, frame: Frame) -> Boxes2d:
    """Return boxes with the names of the frame's cameras, where they name its folder of images."""
    own = {folder_of(name): name for name in cameras_by_name(frame) if name}
    if frame.camera is not None:
        front = frame.camera.sensor.name
        own |= {front: "", folder_of(front): ""}
    elif len(frame.other_cameras) == 1:
        own[""] = frame.other_cameras[0].sensor.name
    names = [own.get(str(name), str(name)) for name in boxes.camera]
    return boxes.replace(camera=np.array(names, dtype=object).reshape(-1))


def folder_of(camera: str) -> str:
    """Return the name of the folder in which a package has a camera's images."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", camera)


def image_sizes_px(boxes: Boxes2d, frame: Frame) -> NDArray[np.float64]:
    """Return (N, 2) width and height of the image that each box is in; infinite if not known."""
    known = cameras_by_name(frame)
    sizes = [
        (image.width_px, image.height_px) if image is not None and image.width_px else (np.inf,) * 2
        for image in (known.get(str(name)) for name in boxes.camera)
    ]
    return np.array(sizes, dtype=np.float64).reshape(-1, 2)


def _text(values: NDArray[np.float64]) -> str:
    return " ".join(f"{value:.1f}" for value in values)
