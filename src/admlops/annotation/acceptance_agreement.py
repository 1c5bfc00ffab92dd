"""Boxes in images against the boxes in space of the same objects: ANNO047 to ANNO049."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from admlops.annotation.acceptance_defects import Defect, box_defect
from admlops.annotation.acceptance_images import cameras_by_name, is_positive
from admlops.geometry.camera import project_boxes
from admlops.geometry.image_boxes import iou_in_image, share_inside
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import Frame

_MIN_DRAWN_IOU = 0.2
"""From this overlap on, a box in an image may be meant for a box in space."""
_LARGELY_HIDDEN = 2
_MIN_EXCHANGED_IOU = 0.6
"""A box in space of another track that covers a box in an image so well is of the same object."""


@dataclass
class AgreementRules:
    """What boxes in images are held against where their objects have boxes in space.

    Boxes are of one object where they have one track id. Where ids are exchanged, that is told once
    in a scene.

    Attributes:
        min_iou: least overlap with the projected box in space.
        shows_parts: whether a box in an image ends where its object is hidden; then the share of it
            that lies in the projection must reach `min_iou`.
        min_height_px: by category, from which height on a projected box in space asks for one in
            the image; empty where boxes in images are not asked for.
    """

    min_iou: float
    shows_parts: bool
    min_height_px: Mapping[str, float] = field(default_factory=dict)
    _exchanged: set[tuple[str, str, str]] = field(default_factory=set)

    def find_defects(self, boxes_2d: Boxes2d, boxes: Boxes, frame: Frame) -> list[Defect]:
        """Return where the two disagree; cameras with distortion or without a matrix are skipped.

        Args:
            boxes_2d: with the names of the frame's cameras, "" for the front one.
            boxes: in the ego frame.
            frame: with its cameras; images may be empty.
        """
        boxes = boxes.select((boxes.track_id != "") & np.isfinite(boxes.as_7()).all(axis=1))
        by_track = {str(track): row for row, track in enumerate(boxes.track_id)}
        defects: list[Defect] = []
        for name, image in cameras_by_name(frame).items():
            in_camera = np.flatnonzero((boxes_2d.camera == name) & is_positive(boxes_2d))
            pairs = [
                (index, by_track[str(boxes_2d.track_id[index])])
                for index in in_camera.tolist()
                if str(boxes_2d.track_id[index]) in by_track
            ]
            defects += _categories(boxes_2d, boxes, pairs)
            if image.sensor.camera_matrix is not None and not len(image.sensor.distortion):
                projected = project_boxes(
                    boxes.as_7(),
                    image.sensor.ego_from_sensor,
                    image.sensor.camera_matrix,
                    (image.width_px, image.height_px),
                )
                defects += self._places(boxes_2d, (boxes, pairs), projected)
                last = np.array([image.width_px, image.height_px]) - 1.0
                missing = self._missing((boxes_2d, in_camera), boxes, projected, last)
                defects += [defect.replace(camera=name) for defect in missing]
        return defects

    def end_scene(self) -> None:
        """Forget which ids are exchanged."""
        self._exchanged.clear()

    def _places(
        self,
        boxes_2d: Boxes2d,
        given: tuple[Boxes, list[tuple[int, int]]],
        projected: NDArray[np.float64],
    ) -> Iterator[Defect]:
        boxes, pairs = given
        measure = share_inside if self.shows_parts else iou_in_image
        for index, row in pairs:
            shares = measure(boxes_2d.box2d_px[index], projected)[0]
            if shares[row] >= self.min_iou:
                continue
            track, best = str(boxes_2d.track_id[index]), int(shares.argmax())
            what = f"track {track!r}: the box in space "
            what += "is projected beside it" if np.isfinite(projected[row]).all() else "is not seen"
            what += f" ({'share inside' if self.shows_parts else 'IoU'} {shares[row]:.2f})"
            if shares[best] >= _MIN_EXCHANGED_IOU:
                exchange = (str(boxes_2d.camera[index]), track, str(boxes.track_id[best]))
                if exchange in self._exchanged:
                    continue
                self._exchanged.add(exchange)
                what += f"; the one that covers it has the track {exchange[2]!r}"
            yield box_defect("ANNO047", boxes_2d, index, what)

    def _missing(
        self,
        drawn: tuple[Boxes2d, NDArray[np.int64]],
        boxes: Boxes,
        projected: NDArray[np.float64],
        last: NDArray[np.float64],
    ) -> Iterator[Defect]:
        """Yield boxes in space that show wholly in an image in which nothing is drawn there."""
        boxes_2d, in_camera = drawn
        with np.errstate(invalid="ignore"):
            is_whole = (projected[:, :2] > 0).all(axis=1) & (projected[:, 2:] < last).all(axis=1)
        overlap = iou_in_image(projected, boxes_2d.box2d_px[in_camera]).max(axis=1, initial=0.0)
        is_drawn = np.isin(boxes.track_id, boxes_2d.track_id) | (overlap >= _MIN_DRAWN_IOU)
        is_hidden = boxes.occlusion >= _LARGELY_HIDDEN
        for row in np.flatnonzero(is_whole & ~is_drawn & ~is_hidden).tolist():
            category = str(boxes.category[row])
            width_px, height_px = projected[row, 2:] - projected[row, :2]
            if height_px < self.min_height_px.get(category, np.inf):
                continue
            what = f"the {category} of track {str(boxes.track_id[row])!r} has no box here, its box "
            what += f"in space shows as {width_px:.0f} x {height_px:.0f} px"
            yield Defect(
                rule_id="ANNO049",
                what=what,
                shape="image_box",
                category=category,
                box_px=tuple(projected[row].tolist()),
            )


def _categories(boxes_2d: Boxes2d, boxes: Boxes, pairs: list[tuple[int, int]]) -> Iterator[Defect]:
    for index, row in pairs:
        if boxes_2d.category[index] != boxes.category[row]:
            what = f"a {boxes_2d.category[index]} in the image, a {boxes.category[row]} in space"
            yield box_defect("ANNO048", boxes_2d, index, what)
