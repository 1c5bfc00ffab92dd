"""Boxes in images against the boxes in space of the same objects: ANNO047 and ANNO048."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from admlops.annotation.acceptance_defects import Defect, box_defect
from admlops.annotation.acceptance_images import cameras_by_name, is_positive
from admlops.geometry.camera import project_boxes
from admlops.geometry.image_boxes import iou_in_image, share_inside
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import CameraImage, Frame


@dataclass(frozen=True, slots=True)
class AgreementRules:
    """What boxes in images are held against where their objects have boxes in space.

    Boxes are of one object where they have one track id.

    Attributes:
        min_iou: least overlap with the projected box in space.
        shows_parts: whether a box in an image ends where its object is hidden; then the share of it
            that lies in the projection must reach `min_iou`.
    """

    min_iou: float
    shows_parts: bool

    def find_defects(self, boxes_2d: Boxes2d, boxes: Boxes, frame: Frame) -> list[Defect]:
        """Return where the two disagree; cameras with distortion or without a matrix are skipped.

        Args:
            boxes_2d: with the names of the frame's cameras, "" for the front one.
            boxes: in the ego frame.
            frame: with its cameras; images may be empty.
        """
        rows = np.flatnonzero((boxes.track_id != "") & np.isfinite(boxes.as_7()).all(axis=1))
        by_track = {str(boxes.track_id[row]): row for row in rows.tolist()}
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

    def _places(
        self, boxes_2d: Boxes2d, given: tuple[Boxes, list[tuple[int, int]]], image: CameraImage
    ) -> Iterator[Defect]:
        boxes, pairs = given
        size_px = (image.width_px, image.height_px)
        matrix = image.sensor.camera_matrix
        assert matrix is not None  # noqa: S101 - looked at before
        rows_7 = boxes.as_7()[[row for _, row in pairs]]
        projected = project_boxes(rows_7, image.sensor.ego_from_sensor, matrix, size_px)
        for place, (index, _) in enumerate(pairs):
            share = self._overlap(boxes_2d.box2d_px[index], projected[place])
            if not share >= self.min_iou:
                seen = np.isfinite(projected[place]).all()
                what = f"track {str(boxes_2d.track_id[index])!r}: the box in space "
                what += "is projected beside it" if seen else "is not in the image"
                measure = "share inside" if self.shows_parts else "IoU"
                yield box_defect("ANNO047", boxes_2d, index, f"{what} ({measure} {share:.2f})")

    def _overlap(self, edges_px: NDArray[np.float64], projected_px: NDArray[np.float64]) -> float:
        measure = share_inside if self.shows_parts else iou_in_image
        return float(measure(edges_px, projected_px)[0, 0])


def _categories(boxes_2d: Boxes2d, boxes: Boxes, pairs: list[tuple[int, int]]) -> Iterator[Defect]:
    for index, row in pairs:
        if boxes_2d.category[index] != boxes.category[row]:
            what = f"a {boxes_2d.category[index]} in the image, a {boxes.category[row]} in space"
            yield box_defect("ANNO048", boxes_2d, index, what)
