"""What labels of each shape are held against, behind one interface."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol

import numpy as np
from numpy.typing import NDArray

from admlops.annotation.acceptance_config import AcceptanceConfig
from admlops.annotation.acceptance_defects import Defect
from admlops.annotation.acceptance_frames import DeliveredFrame, FramePlace, TableT
from admlops.annotation.acceptance_geometry import GeometryRules
from admlops.annotation.acceptance_gold import GoldCheck, ImageComparison, SpaceComparison
from admlops.annotation.acceptance_image_tracks import ImageTrackRules
from admlops.annotation.acceptance_images import (
    ImageBoxRules,
    cameras_by_name,
    is_positive,
    with_own_cameras,
)
from admlops.annotation.acceptance_outliers import find_outliers
from admlops.annotation.acceptance_space_tracks import SpaceTrackRules
from admlops.annotation.definition import DatasetDefinition
from admlops.annotation.definition_check import IGNORE_CATEGORY
from admlops.geometry.boxes import count_points_in_boxes
from admlops.geometry.image_boxes import share_inside
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import Frame

_MIN_SHARE_IGNORED = 0.5
"""Boxes with so much in a region where nothing is labelled are neither right nor wrong."""
_AXES = ("length", "width", "height")
_MIN_SIDE_M = 1e-3


@dataclass(frozen=True, slots=True)
class Looked(Generic[TableT]):
    """One frame's boxes after they were looked at by themselves.

    Attributes:
        boxes: completed by what the frame tells of them.
        defects: what is wrong with single boxes.
        is_usable: (N,) which have a place and a size.
        is_whole: (N,) which show all of their objects.
    """

    boxes: TableT
    defects: list[Defect]
    is_usable: NDArray[np.bool_]
    is_whole: NDArray[np.bool_]


class ShapeRules(Protocol[TableT]):
    """What boxes of one shape are held against."""

    gold: GoldCheck[TableT]

    def look(self, boxes: TableT, frame: Frame) -> Looked[TableT]:
        """Hold the boxes of one frame against the rules on single boxes."""
        ...

    def known_in(self, frame: Frame) -> TableT | None:
        """Return the known labels of a gold frame; None where there are none of the shape."""
        ...

    def is_open(self, boxes: TableT, frame: Frame) -> NDArray[np.bool_]:
        """Return (N,) which boxes of a gold frame are where nothing is known."""
        ...

    def find_in_tracks(self, frames: Sequence[DeliveredFrame[TableT]]) -> list[Defect]:
        """Return the defects of a scene's tracks; frames have rising times."""
        ...

    def find_outliers(self, frames: Sequence[DeliveredFrame[TableT]]) -> Iterable[Defect]:
        """Return the boxes that are unlike those of their category in the delivery."""
        ...


class SpaceRules:
    """What boxes in space are held against."""

    def __init__(self, definition: DatasetDefinition, config: AcceptanceConfig) -> None:
        self._definition = definition
        self._config = config
        self._geometry = GeometryRules(definition, config.geometry)
        self._tracks = SpaceTrackRules(
            config.tracks, definition.rules.size_is_constant, definition.lasting_attributes
        )
        names = definition.category_names
        self.gold = GoldCheck(
            SpaceComparison(
                definition.acceptance.min_gold_iou,
                definition.rules.max_yaw_error_deg,
                {name: definition.min_points_of(name) for name in names},
            )
        )

    def look(self, boxes: Boxes, frame: Frame) -> Looked[Boxes]:
        """Hold the boxes of one frame against definition, points, ground and each other."""
        points = np.empty((0, 4), np.float32) if frame.lidar is None else frame.points_in_ego()
        grown_7 = np.nan_to_num(boxes.as_7())
        grown_7[:, 3:6] += 2 * self._definition.rules.margin_m  # as loose as a box may be
        boxes = boxes.replace(num_points=count_points_in_boxes(points, grown_7))
        is_usable = np.asarray(np.isfinite(boxes.as_7()).all(axis=1))
        defects = self._geometry.find_defects(boxes, points)
        return Looked(boxes, defects, is_usable, np.ones(len(boxes), dtype=np.bool_))

    def known_in(self, frame: Frame) -> Boxes | None:
        """Return the known boxes of the definition's categories and within reach."""
        known = frame.boxes
        if known is None:
            return None
        names = np.isin(known.category.astype(str), list(self._definition.category_names))
        range_m = np.hypot(known.center_m[:, 0], known.center_m[:, 1])
        return known.select(names & (range_m <= self._definition.rules.max_range_m))

    def is_open(self, boxes: Boxes, frame: Frame) -> NDArray[np.bool_]:  # noqa: ARG002 - any frame
        """Return that all places are known."""
        return np.zeros(len(boxes), dtype=np.bool_)

    def find_in_tracks(self, frames: Sequence[DeliveredFrame[Boxes]]) -> list[Defect]:
        """Return the defects of a scene's tracks."""
        return self._tracks.find_defects(frames)

    def find_outliers(self, frames: Sequence[DeliveredFrame[Boxes]]) -> Iterable[Defect]:
        """Return odd sizes in categories for which the definition does not say what is typical."""
        sized = [item.name for item in self._definition.categories if item.size is not None]
        measures = [self._sizes(frame.boxes, sized) for frame in frames]
        return find_outliers(frames, measures, self._config.outliers)

    def _sizes(self, boxes: Boxes, sized: Sequence[str]) -> Mapping[str, NDArray[np.float64]]:
        is_free = ~np.isin(boxes.category.astype(str), sized) & (boxes.size_m > 0).all(axis=1)
        size_m = np.where(is_free[:, None], boxes.size_m.clip(min=_MIN_SIDE_M), np.nan)
        return {f"{name} (m)": size_m[:, axis] for axis, name in enumerate(_AXES)}


class ImageRules:
    """What boxes in images are held against."""

    def __init__(self, definition: DatasetDefinition, config: AcceptanceConfig) -> None:
        self._definition = definition
        self._config = config
        self._single = ImageBoxRules(definition, config.images)
        self._tracks = ImageTrackRules(config.images, definition.lasting_attributes)
        names = definition.category_names
        self.gold = GoldCheck(
            ImageComparison(
                definition.acceptance.min_gold_image_iou,
                {name: definition.min_height_of(name) for name in names},
            )
        )

    def look(self, boxes: Boxes2d, frame: Frame) -> Looked[Boxes2d]:
        """Hold the boxes of one frame against definition, images and each other."""
        defects = self._single.find_defects(boxes, frame)
        is_whole = self._single.is_whole(boxes, frame)
        return Looked(boxes, defects, is_positive(boxes), is_whole)

    def known_in(self, frame: Frame) -> Boxes2d | None:
        """Return the known boxes of the definition's categories."""
        if frame.boxes_2d is None:
            return None
        known = with_own_cameras(frame.boxes_2d, frame)
        names = np.isin(known.category.astype(str), list(self._definition.category_names))
        return known.select(names & is_positive(known))

    def is_open(self, boxes: Boxes2d, frame: Frame) -> NDArray[np.bool_]:
        """Return which boxes lie in a region where nothing is labelled."""
        is_open = np.zeros(len(boxes), dtype=np.bool_)
        known = None if frame.boxes_2d is None else with_own_cameras(frame.boxes_2d, frame)
        for name, image in cameras_by_name(frame).items():
            regions = np.asarray(image.ignore_regions_px).reshape(-1, 4)
            if known is not None:
                own = (known.category == IGNORE_CATEGORY) & (known.camera == name)
                regions = np.concatenate([regions, known.box2d_px[own]])
            share = share_inside(boxes.box2d_px, regions).max(axis=1, initial=0.0)
            is_open |= (boxes.camera == name) & (share >= _MIN_SHARE_IGNORED)
        return is_open

    def find_in_tracks(self, frames: Sequence[DeliveredFrame[Boxes2d]]) -> list[Defect]:
        """Return the defects of a scene's tracks."""
        return self._tracks.find_defects(frames)

    def find_outliers(self, frames: Sequence[DeliveredFrame[Boxes2d]]) -> Iterable[Defect]:
        """Return odd heights and proportions of boxes that show all of their objects."""
        measures = [self._sizes(frame) for frame in frames]
        return find_outliers(frames, measures, self._config.outliers)

    def _sizes(self, frame: DeliveredFrame[Boxes2d]) -> Mapping[str, NDArray[np.float64]]:
        edges = frame.boxes.box2d_px
        size_px = np.where(frame.is_whole[:, None], edges[:, 2:] - edges[:, :2], np.nan)
        return {"width by height": size_px[:, 0] / size_px[:, 1], "height (px)": size_px[:, 1]}


@dataclass
class ShapeJudge(Generic[TableT]):
    """Looks at the boxes of one shape in the frames of a package, one after the other.

    Attributes:
        rules: what they are held against.
        num_boxes: boxes so far, regions to ignore left out.
        delivered: frames and numbers of the boxes so far.
    """

    rules: ShapeRules[TableT]
    num_boxes: int = 0
    delivered: list[tuple[str, int]] = field(default_factory=list)
    _frames: list[DeliveredFrame[TableT]] = field(default_factory=list)
    _scene_start: int = 0

    def look(self, boxes: TableT, frame: Frame, place: FramePlace) -> list[Defect]:
        """Return what is wrong with the boxes of one frame."""
        rows = np.flatnonzero(boxes.category != IGNORE_CATEGORY)  # regions are no objects
        looked = self.rules.look(boxes.select(rows), frame)
        self.num_boxes += len(rows)
        self.delivered += [(place.frame_id, index) for index in rows.tolist()]
        found = list(looked.defects)
        usable = np.flatnonzero(looked.is_usable)
        known = self.rules.known_in(frame) if place.is_gold else None
        if known is not None:
            judged = usable[~self.rules.is_open(looked.boxes.select(usable), frame)]
            agreed = self.rules.gold.look(known, looked.boxes.select(judged))
            found += [_renumbered(defect, judged) for defect in agreed]
        self._frames.append(
            DeliveredFrame(
                frame_id=place.frame_id,
                time_s=place.time_s,
                global_from_ego=frame.global_from_ego,
                boxes=looked.boxes.select(usable),
                index=rows[usable],
                is_whole=looked.is_whole[usable],
                cameras={name: image.sensor for name, image in cameras_by_name(frame).items()},
            )
        )
        return [_renumbered(item, rows).replace(frame_id=place.frame_id) for item in found]

    def end_scene(self) -> list[Defect]:
        """Return what is wrong with the tracks of the frames since the last scene ended."""
        start, self._scene_start = self._scene_start, len(self._frames)
        return self.rules.find_in_tracks(self._frames[start:])

    def finish(self) -> list[Defect]:
        """Return what only the whole delivery shows."""
        return list(self.rules.find_outliers(self._frames))


def _renumbered(defect: Defect, index: NDArray[np.int64]) -> Defect:
    return defect if defect.box is None else defect.replace(box=int(index[defect.box]))
