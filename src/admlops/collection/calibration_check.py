"""A gate for calibration: is what a drive says about its cameras at the optimum, or near it?"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from admlops.checks.rules import find
from admlops.collection.edge_alignment import EdgeView, alignment, edge_view
from admlops.config import Config
from admlops.errors import DataError
from admlops.structures.boxes import Boxes
from admlops.structures.finding import Finding
from admlops.structures.frame import CameraImage, Frame

AXES = ("pitch", "yaw", "roll")
"""Rotations about the camera's x (right), y (down) and z (forward)."""

_MIN_BOX_HEIGHT_PX = 25.0
_MAX_TRUNCATION = 0.1
_BORDER_PX = 2.0


class CalibrationConfig(Config):
    """How far a calibration may be off."""

    num_frames: int = Field(default=12, ge=1)
    """Frames of a drive that are looked at, spread over it."""
    search_deg: float = Field(default=3.0, gt=0, le=10)
    """Rotations that are tried, to either side."""
    step_deg: float = Field(default=0.25, gt=0, le=1)
    """Step between them."""
    tolerance_deg: float = Field(default=0.75, gt=0)
    """A better rotation may lie so far from the given one."""
    min_gain: float = Field(default=0.02, ge=0)
    """By which share edges must fit better there than anywhere within the tolerance."""
    min_share: float = Field(default=0.75, ge=0, le=1)
    """Share of the frames that must each fit better there: a single frame often errs in pitch."""
    min_edges: int = Field(default=100, ge=1)
    """Lidar edges that a frame must have before a camera."""
    min_frames: int = Field(default=3, ge=1)
    """Frames that must have so many."""
    max_box_offset_deg: float = Field(default=0.5, gt=0)
    """Median angle between the centres of boxes in the image and of projected ones."""
    min_boxes: int = Field(default=10, ge=1)
    """Pairs of boxes that are needed to tell."""


@dataclass(frozen=True, slots=True)
class CameraAlignment:
    """What was measured of one camera.

    Attributes:
        camera: its name.
        tried_deg: (K,) rotations that were tried about each axis.
        frame_scores: (F, 3, K) alignment of each frame with enough edges about `AXES`, relative
            to that of the calibration as given.
        num_boxes: pairs of boxes.
        box_offset_deg: (2,) median angle to the right and down of labelled image boxes, seen from
            the projected ones; NaN without.
    """

    camera: str
    tried_deg: NDArray[np.float64]
    frame_scores: NDArray[np.float64]
    num_boxes: int
    box_offset_deg: NDArray[np.float64]

    @property
    def num_frames(self) -> int:
        """Frames with enough edges."""
        return len(self.frame_scores)

    @property
    def scores(self) -> NDArray[np.float64]:
        """(3, K) means over the frames; there must be one."""
        return np.asarray(self.frame_scores.mean(axis=0), dtype=np.float64)

    @property
    def best_deg(self) -> NDArray[np.float64]:
        """(3,) the rotations about `AXES` at which edges fit best."""
        return self.tried_deg[self.scores.argmax(axis=1)]


class CalibrationCheck:
    """Collects frames of one drive, whose calibration does not change, and judges it."""

    def __init__(self, config: CalibrationConfig) -> None:
        """Start without frames."""
        self.config = config
        count = round(config.search_deg / config.step_deg)
        steps = np.arange(-count, count + 1, dtype=np.float64)
        self._tried_deg: NDArray[np.float64] = np.asarray(steps * config.step_deg, dtype=np.float64)
        self._scores: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
        self._offsets_deg: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
        self._reasons: dict[str, str] = {}

    def add(self, frame: Frame) -> None:
        """Measure one frame."""
        for image in frame.cameras:
            name = image.sensor.name
            self._reasons.setdefault(name, "")
            self._offsets_deg[name].append(box_offsets_deg(frame, image))
            if frame.lidar is None or image.sensor.camera_matrix is None:
                self._reasons[name] = "no lidar, or no camera matrix"
            elif image.sensor.distortion.any():
                self._reasons[name] = "the images are distorted; rectified ones are judged"
            else:
                try:
                    view = edge_view(frame.lidar, image)
                except DataError as error:
                    self._reasons[name] = str(error)
                    continue
                if len(view.weights) >= self.config.min_edges:
                    self._scores[name].append(self._try(view))

    def measure(self) -> list[CameraAlignment]:
        """Return what was measured of each camera so far."""
        found = []
        for name in self._reasons:
            blank = np.empty((0, 3, len(self._tried_deg)))
            kept = [scores for scores in self._scores[name] if np.isfinite(scores).all()]
            scores = np.stack(kept) if kept else blank
            offsets = np.concatenate([np.empty((0, 2)), *self._offsets_deg[name]])
            median = np.full(2, np.nan)
            if len(offsets):
                median = np.asarray(np.median(offsets, axis=0), dtype=np.float64)
            found.append(CameraAlignment(name, self._tried_deg, scores, len(offsets), median))
        return found

    def judge(self, where: str) -> tuple[Finding, ...]:
        """Return what is wrong with the calibration of a drive.

        Args:
            where: names the drive in findings.
        """
        findings: list[Finding] = []
        for measured in self.measure():
            place = f"{where} {measured.camera}"
            if measured.num_frames < self.config.min_frames:
                reason = self._reasons[measured.camera] or "too few edges of the lidar"
                what = f"{measured.num_frames} frames can be judged: {reason}"
                findings.append(find("CALIB003", place, what))
            else:
                findings += self._judge_edges(measured, place)
            findings += self._judge_boxes(measured, place)
        return tuple(findings)

    def _judge_edges(self, measured: CameraAlignment, place: str) -> Iterable[Finding]:
        within = np.abs(measured.tried_deg) <= self.config.tolerance_deg + 1e-9
        best = measured.scores.argmax(axis=1)
        gains = measured.scores.max(axis=1) / measured.scores[:, within].max(axis=1) - 1.0
        of_frames = measured.frame_scores[:, np.arange(3), best]
        shares = (of_frames > measured.frame_scores[:, :, within].max(axis=2)).mean(axis=0)
        off = ~within[best] & (gains >= self.config.min_gain) & (shares >= self.config.min_share)
        if not off.any():
            return
        worst = int(np.where(off, gains, -np.inf).argmax())
        yield find(
            "CALIB001",
            place,
            f"edges fit {gains[worst]:.1%} better when the camera is turned by "
            f"{measured.best_deg[worst]:+.2f} degrees of {AXES[worst]}, "
            f"in {shares[worst]:.0%} of {measured.num_frames} frames",
        )

    def _judge_boxes(self, measured: CameraAlignment, place: str) -> Iterable[Finding]:
        if measured.num_boxes < self.config.min_boxes:
            return
        right, down = measured.box_offset_deg
        if max(abs(right), abs(down)) > self.config.max_box_offset_deg:
            yield find(
                "CALIB002",
                place,
                f"{measured.num_boxes} labelled boxes lie {right:+.2f} degrees to the right and "
                f"{down:+.2f} degrees below their projections (median)",
            )

    def _try(self, view: EdgeView) -> NDArray[np.float64]:
        """Return (3, K) scores of all rotations, relative to none."""
        given = alignment(view, np.eye(3))
        scores = [
            [alignment(view, rotation_about(axis, angle_deg)) for angle_deg in self._tried_deg]
            for axis in range(3)
        ]
        return np.array(scores) / given if given > 0 else np.full_like(scores, np.nan)


def rotation_about(axis: int, angle_deg: float) -> NDArray[np.float64]:
    """Return the (3, 3) rotation about a coordinate axis, by the right-hand rule."""
    cosine, sine = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    rotation = np.eye(3)
    rotation[first, first] = rotation[second, second] = cosine
    rotation[first, second], rotation[second, first] = -sine, sine
    return rotation


def box_offsets_deg(frame: Frame, image: CameraImage) -> NDArray[np.float64]:
    """Return (M, 2) angles right and down from projected boxes to those labelled in an image.

    Counted are boxes that are wholly visible, and in the image with some distance to its border:
    those with a box of their own in the front image, and those with the same track in `boxes_2d`.
    """
    if frame.boxes is None or image.sensor.camera_matrix is None:
        return np.empty((0, 2))
    boxes, matrix = frame.boxes, image.sensor.camera_matrix
    labelled = _labelled_px(frame, image)
    size_px = (image.width_px, image.height_px)
    projected = image.places_of(boxes.as_7())
    last = np.array([*size_px, *size_px]) - 1.0 - _BORDER_PX
    with np.errstate(invalid="ignore"):
        inside = [((px > _BORDER_PX) & (px < last)).all(axis=1) for px in (labelled, projected)]
        is_high = labelled[:, 3] - labelled[:, 1] >= _MIN_BOX_HEIGHT_PX
        is_whole = (boxes.occlusion <= 0) & ~(boxes.truncation > _MAX_TRUNCATION)
    chosen = inside[0] & inside[1] & is_high & is_whole
    centres = [(px[chosen, :2] + px[chosen, 2:]) / 2.0 for px in (labelled, projected)]
    rays = [(centre - matrix[:2, 2]) / matrix[[0, 1], [0, 1]] for centre in centres]
    return np.degrees(np.arctan(rays[0]) - np.arctan(rays[1]))


def _labelled_px(frame: Frame, image: CameraImage) -> NDArray[np.float64]:
    """Return (N, 4) the box in the image of each box in space; NaN where there is none."""
    boxes: Boxes | None = frame.boxes
    if boxes is None:
        return np.empty((0, 4))
    labelled = boxes.box2d_px.copy() if image is frame.camera else np.full((len(boxes), 4), np.nan)
    if frame.boxes_2d is None:
        return labelled
    in_image = frame.boxes_2d
    rows = {
        track: row
        for row, (track, camera) in enumerate(zip(in_image.track_id, in_image.camera, strict=True))
        if track and camera == image.sensor.name
    }
    for row, track in enumerate(boxes.track_id):
        if track in rows:
            labelled[row] = in_image.box2d_px[rows[track]]
    return labelled
