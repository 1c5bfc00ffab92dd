"""Tracks in images: ANNO045 and ANNO046, beside what holds for all tracks.

Where an object moves evenly in space as seen from a camera that does not turn, any two of its
boxes tell all others: edges divided by the height, and one divided by the height, are linear in
time (coordinates and depth in units of the object's height). Poses tell how the camera turns.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from admlops.annotation.acceptance_config import ImageLimits
from admlops.annotation.acceptance_defects import Defect
from admlops.annotation.acceptance_frames import DeliveredFrame
from admlops.annotation.acceptance_tracks import IdentityLimits, TrackedBox, identify
from admlops.geometry.image_boxes import areas, iou_in_image
from admlops.structures.boxes_2d import Boxes2d

_REACH = 3
"""Boxes before and after one that it can mislead."""


@dataclass(frozen=True, slots=True)
class ImageBox(TrackedBox):
    """A box of a track in one camera.

    Attributes:
        edges_px: left, top, right, bottom.
        is_whole: whether it shows all of its object.
        rays_from_px: (3, 3) directions in the global frame of homogeneous pixels; None where pose
            or matrix are not known.
    """

    edges_px: tuple[float, ...] = ()
    is_whole: bool = True
    rays_from_px: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class _Misfit:
    """A box that is not where the rest of its track leads to."""

    rule_id: str
    iou: float
    what: str


@dataclass(frozen=True, slots=True)
class ImageTrackRules:
    """What tracks in images are held against.

    Attributes:
        limits: of boxes in images.
        lasting: attributes that have one value over a track.
    """

    limits: ImageLimits
    lasting: tuple[str, ...] = ()

    def find_defects(self, frames: Sequence[DeliveredFrame[Boxes2d]]) -> list[Defect]:
        """Return the defects of a scene's tracks, camera by camera; frames have rising times."""
        cameras = sorted({str(name) for frame in frames for name in frame.boxes.camera})
        limits = IdentityLimits(self.limits.max_gap_s, self.limits.switch_gain, self.lasting)
        defects: list[Defect] = []
        for camera in cameras:
            boxes = (box for frame in frames for box in _of_camera(frame, camera))
            found = identify(boxes, limits)
            defects += found.defects
            for track, members in found.tracks.items():
                for part in self._parts(track, members, found.switched):
                    defects += self._misfits(track, part)
        return defects

    def _parts(
        self, track: str, boxes: Sequence[ImageBox], switched: frozenset[tuple[str, str]]
    ) -> Iterator[list[ImageBox]]:
        """Yield pieces of a track that can be compared: near in time, of one object, whole."""
        part: list[ImageBox] = []
        for box in boxes:
            is_blind = box.rays_from_px is None
            max_gap_s = self.limits.max_blind_gap_s if is_blind else self.limits.max_gap_s
            is_far = bool(part) and not 0 < box.time_s - part[-1].time_s <= max_gap_s
            if is_far or (track, box.frame_id) in switched:
                yield part
                part = []
            if box.is_whole:
                part.append(box)
        yield part

    def _misfits(self, track: str, boxes: list[ImageBox]) -> Iterator[Defect]:
        """Yield boxes that the rest of their track does not lead to.

        A box out of place lets its neighbours look so, too: it is the one without which they fit.
        """
        while True:
            found = {place: self._misfit(boxes, place) for place in range(len(boxes))}
            known = {place: misfit for place, misfit in found.items() if misfit is not None}
            if not known:
                return
            left = {place: self._count_without(boxes, place) for place in known}
            worst = min(known, key=lambda place: (left[place], known[place].iou))
            what = f"track {track!r}: {known[worst].what}"
            yield boxes[worst].defect(known[worst].rule_id, what)
            if left[worst]:  # another object begins here
                yield from self._misfits(track, boxes[:worst])
                boxes = boxes[worst + 1 :]
            else:
                boxes = boxes[:worst] + boxes[worst + 1 :]

    def _count_without(self, boxes: list[ImageBox], place: int) -> int:
        """Return how many boxes around a place miss it still, once the box there is left out."""
        rest = boxes[:place] + boxes[place + 1 :]
        around = range(max(0, place - _REACH), min(len(rest), place + _REACH))
        return sum(self._misfit(rest, near) is not None for near in around)

    def _misfit(self, boxes: Sequence[ImageBox], place: int) -> _Misfit | None:
        """Return how a box misses the place that its neighbours in time lead to."""
        if len(boxes) < 3:
            return None
        first = min(max(place - 1, 0), len(boxes) - 3)
        one, two = (boxes[near] for near in range(first, first + 3) if near != place)
        box = boxes[place]
        expected = _lead((one, two), box)
        if expected is None:
            return None
        edges = np.array(box.edges_px)
        iou = float(iou_in_image(edges, expected)[0, 0])
        own, usual = areas(np.stack([edges, expected])).tolist()
        factor = float(np.sqrt(max(own, usual) / max(min(own, usual), 1e-9)))
        away = np.abs(edges.reshape(2, 2).mean(axis=0) - expected.reshape(2, 2).mean(axis=0))
        is_beside = bool((away > (expected[2:] - expected[:2]) / 2).any())
        if is_beside and iou < self.limits.min_track_iou:
            what = f"{np.hypot(*away):.0f} px from where its other boxes lead to (IoU {iou:.2f})"
            return _Misfit("ANNO045", iou, what)
        if factor > self.limits.max_size_factor and not is_beside:
            what = f"{_size(edges)}, its other boxes lead to {_size(expected)}"
            return _Misfit("ANNO046", iou, what)
        return None


def _lead(pair: tuple[ImageBox, ImageBox], box: ImageBox) -> NDArray[np.float64] | None:
    """Return (4,) where two boxes of an object that moves evenly lead to at the time of a third.

    None once the object has passed the camera.
    """
    share = (box.time_s - pair[0].time_s) / (pair[1].time_s - pair[0].time_s)
    seen = [_as_seen_from(other, box) for other in pair]
    first, second = (np.array([*edges, 1.0]) / (edges[3] - edges[1]) for edges in seen)
    at = (1.0 - share) * first + share * second
    return None if at[4] <= 0.0 else at[:4] / at[4]


def _as_seen_from(other: ImageBox, box: ImageBox) -> NDArray[np.float64]:
    """Return (4,) a box in an image that looks where the image of another box looks."""
    left, top, right, bottom = other.edges_px
    if other.rays_from_px is None or box.rays_from_px is None:
        return np.array(other.edges_px)
    x, y = (left + right) / 2, (top + bottom) / 2
    middles = np.array([[left, y, 1], [x, top, 1], [right, y, 1], [x, bottom, 1]])
    turned = middles @ other.rays_from_px.T @ np.linalg.inv(box.rays_from_px).T
    pixels = turned[:, :2] / turned[:, 2:]
    return np.array([pixels[0, 0], pixels[1, 1], pixels[2, 0], pixels[3, 1]])


def _rays_from_px(frame: DeliveredFrame[Boxes2d], camera: str) -> NDArray[np.float64] | None:
    sensor = frame.cameras.get(camera)
    if sensor is None or sensor.camera_matrix is None:
        return None
    if np.array_equal(frame.global_from_ego, np.eye(4)):
        return None  # where the source has no poses
    global_from_camera = frame.global_from_ego[:3, :3] @ sensor.ego_from_sensor[:3, :3]
    return np.asarray(global_from_camera @ np.linalg.inv(sensor.camera_matrix))


def _of_camera(frame: DeliveredFrame[Boxes2d], camera: str) -> Iterator[ImageBox]:
    boxes, rays = frame.boxes, _rays_from_px(frame, camera)
    for row in np.flatnonzero(boxes.camera == camera).tolist():
        edges = boxes.box2d_px[row]
        yield ImageBox(
            frame_id=frame.frame_id,
            time_s=frame.time_s,
            boxes=boxes,
            row=row,
            index=int(frame.index[row]),
            place=(edges[:2] + edges[2:]) / 2,
            unit=float(np.sqrt(areas(edges[None])[0])),
            edges_px=tuple(edges.tolist()),
            is_whole=bool(frame.is_whole[row]),
            rays_from_px=rays,
        )


def _size(edges_px: NDArray[np.float64]) -> str:
    return f"{edges_px[2] - edges_px[0]:.0f} x {edges_px[3] - edges_px[1]:.0f} px"
