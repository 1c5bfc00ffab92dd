"""Boxes in images against the boxes in space of the same objects: ANNO047 and ANNO048."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from admlops.annotation.acceptance_defects import Defect, box_defect
from admlops.annotation.acceptance_images import cameras_by_name, is_positive
from admlops.geometry.camera import project_boxes
from admlops.geometry.image_boxes import iou_in_image, share_inside
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import CameraImage, Frame

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
    """

    min_iou: float
    shows_parts: bool
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
                defects += self._places(boxes_2d, (boxes, pairs), image)
        return defects

    def end_scene(self) -> None:
        """Forget which ids are exchanged."""
        self._exchanged.clear()

    def _places(
        self, boxes_2d: Boxes2d, given: tuple[Boxes, list[tuple[int, int]]], image: CameraImage
    ) -> Iterator[Defect]:
        boxes, pairs = given
        sensor, size_px = image.sensor, (image.width_px, image.height_px)
        assert sensor.camera_matrix is not None  # noqa: S101 - looked at before
        measure = share_inside if self.shows_parts else iou_in_image
        projected = project_boxes(
            boxes.as_7(), sensor.ego_from_sensor, sensor.camera_matrix, size_px
        )
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


def _categories(boxes_2d: Boxes2d, boxes: Boxes, pairs: list[tuple[int, int]]) -> Iterator[Defect]:
    for index, row in pairs:
        if boxes_2d.category[index] != boxes.category[row]:
            what = f"a {boxes_2d.category[index]} in the image, a {boxes.category[row]} in space"
            yield box_defect("ANNO048", boxes_2d, index, what)
