"""Agreement of a delivery with frames whose labels are known: ANNO036 to ANNO040."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from admlops.annotation.acceptance_defects import Defect, box_defect
from admlops.config import Config
from admlops.geometry.boxes import iou_bev
from admlops.geometry.image_boxes import iou_in_image
from admlops.geometry.pose import wrap_angle
from admlops.structures.box_table import BoxTable
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d

NEAR_M = 2.5
"""A box whose centre is nearer than this, or that overlaps, is about the same object."""
MIN_SAME_IOU = 0.1
"""Boxes in an image that overlap by so much are about the same object."""
FLIP_RAD = np.pi / 2
_YAW_FACTOR = 3.0
"""Times the yaw error that the labelling rules allow, a heading disagrees."""

TableT = TypeVar("TableT", bound=BoxTable)
ComparedT_contra = TypeVar("ComparedT_contra", bound=BoxTable, contravariant=True)
Pair = tuple[int, int]
"""Numbers of a known and of a delivered box."""


class GoldAgreement(Config):
    """How well a delivery agrees with the known labels."""

    num_frames: int = 0
    """Frames with known labels."""
    num_known: int = 0
    """Boxes that are known and to be labelled."""
    num_delivered: int = 0
    """Boxes that were delivered in these frames and are to be judged."""
    num_found: int = 0
    """Known boxes that were labelled with the right place and category."""
    mean_iou: float = 0.0
    """Mean overlap of the boxes that are about the same object, on the ground or in the image."""
    mean_yaw_error_deg: float = 0.0
    """Their mean difference in heading; 0 in images."""

    @property
    def recall(self) -> float:
        """Share of the known boxes that were labelled right."""
        return self.num_found / self.num_known if self.num_known else 1.0

    @property
    def precision(self) -> float:
        """Share of the delivered boxes that are right."""
        return self.num_found / self.num_delivered if self.num_delivered else 1.0


class Comparison(Protocol[ComparedT_contra]):
    """How a delivered box of one shape is held against a known one."""

    def overlaps(
        self, known: ComparedT_contra, delivered: ComparedT_contra
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return (N, M) overlaps, and how alike boxes are; -inf where they cannot be the same."""
        ...

    def is_needed(self, known: ComparedT_contra) -> NDArray[np.bool_]:
        """Return (N,) which known boxes must be labelled; the others may be."""
        ...

    @property
    def mean_yaw_error_deg(self) -> float:
        """How far headings were off, of all boxes that were compared."""
        ...

    def disagreement(
        self, known: ComparedT_contra, delivered: ComparedT_contra, pair: Pair, iou: float
    ) -> tuple[str, str] | None:
        """Return the rule that a delivered box breaks beside its category, and what was found."""
        ...

    def describe(self, known: ComparedT_contra, index: int) -> str:
        """Return what a missing box is and where."""
        ...


@dataclass
class GoldCheck(Generic[TableT]):
    """Compares delivered with known labels, one frame after the other.

    Attributes:
        comparison: of boxes of the shape.
    """

    comparison: Comparison[TableT]
    num_frames: int = 0
    num_known: int = 0
    num_delivered: int = 0
    num_found: int = 0
    ious: list[float] = field(default_factory=list)

    def look(self, known: TableT, delivered: TableT) -> list[Defect]:
        """Return where a frame's delivered boxes disagree with the known ones."""
        overlap, likeness = self.comparison.overlaps(known, delivered)
        pairs = match_greedily(likeness)
        is_needed = self.comparison.is_needed(known)
        paired_known = {first for first, _ in pairs}
        paired = {second for _, second in pairs}
        spare = {second for first, second in pairs if not is_needed[first]}
        self.num_frames += 1
        self.num_known += int(is_needed.sum())
        self.num_delivered += len(delivered) - len(spare)
        defects: list[Defect] = []
        for first, second in pairs:
            defect = self._compare(known, delivered, (first, second), overlap[first, second])
            if defect is not None:
                defects.append(defect)
            elif is_needed[first]:
                self.num_found += 1
        for index in np.flatnonzero(is_needed).tolist():
            if index not in paired_known:
                what = self.comparison.describe(known, index)
                missing = box_defect("ANNO036", known, index, what)
                defects.append(missing.replace(box=None, track_id=""))
        defects += [
            box_defect("ANNO037", delivered, index, "no object is known here")
            for index in range(len(delivered))
            if index not in paired
        ]
        return defects

    def result(self) -> GoldAgreement:
        """Return the agreement over all frames."""
        return GoldAgreement(
            num_frames=self.num_frames,
            num_known=self.num_known,
            num_delivered=self.num_delivered,
            num_found=self.num_found,
            mean_iou=float(np.mean(self.ious)) if self.ious else 0.0,
            mean_yaw_error_deg=self.comparison.mean_yaw_error_deg,
        )

    def _compare(self, known: TableT, delivered: TableT, pair: Pair, iou: float) -> Defect | None:
        first, second = pair
        self.ious.append(float(iou))
        if known.category[first] != delivered.category[second]:
            what = f"{delivered.category[second]!r}, known as {known.category[first]!r}"
            return box_defect("ANNO038", delivered, second, what)
        found = self.comparison.disagreement(known, delivered, pair, iou)
        return None if found is None else box_defect(found[0], delivered, second, found[1])


@dataclass(frozen=True, slots=True)
class SpaceComparison:
    """Boxes in space, on the ground.

    Attributes:
        min_iou: overlap from which on place and size agree.
        max_yaw_error_deg: what the labelling rules allow.
        min_points: by category; known boxes with fewer points need not be labelled, but may.
        yaw_errors_rad: of the boxes compared so far.
    """

    min_iou: float
    max_yaw_error_deg: float
    min_points: Mapping[str, int]
    yaw_errors_rad: list[float] = field(default_factory=list)

    @property
    def mean_yaw_error_deg(self) -> float:
        """How far headings were off, of all boxes that were compared."""
        errors = self.yaw_errors_rad
        return float(np.degrees(np.mean(errors))) if errors else 0.0

    def overlaps(
        self, known: Boxes, delivered: Boxes
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return overlaps; boxes that overlap or are near may be the same, best overlap first."""
        overlap = iou_bev(known.as_7(), delivered.as_7())
        apart = known.center_m[:, None, :2] - delivered.center_m[None, :, :2]
        apart_m = np.linalg.norm(apart, axis=2)
        likeness = overlap + 1e-3 * (NEAR_M - apart_m) + _alike(known, delivered)
        return overlap, np.where((overlap > 0) | (apart_m < NEAR_M), likeness, -np.inf)

    def is_needed(self, known: Boxes) -> NDArray[np.bool_]:
        """Return which known boxes hold enough points."""
        least = np.array([self.min_points.get(str(name), 0) for name in known.category])
        return np.asarray((known.num_points < 0) | (known.num_points >= least))

    def disagreement(
        self, known: Boxes, delivered: Boxes, pair: Pair, iou: float
    ) -> tuple[str, str] | None:
        """Return what is wrong with heading, place and size."""
        error = float(abs(wrap_angle(delivered.yaw_rad[pair[1]] - known.yaw_rad[pair[0]])))
        self.yaw_errors_rad.append(error)
        turned = "ANNO040", f"the heading is off by {np.degrees(error):.0f} degrees"
        if error > FLIP_RAD:
            return turned
        if iou < self.min_iou:
            apart = delivered.center_m[pair[1], :2] - known.center_m[pair[0], :2]
            what = f"IoU {iou:.2f} with the known box, at least {self.min_iou:.2f} is needed; "
            return "ANNO039", what + f"the centre is {np.hypot(*apart):.2f} m off"
        return turned if np.degrees(error) > _YAW_FACTOR * self.max_yaw_error_deg else None

    def describe(self, known: Boxes, index: int) -> str:
        """Return what a missing box is and where."""
        x, y = known.center_m[index, :2]
        return (
            f"a {known.category[index]} with {known.num_points[index]} points is not labelled, "
            f"{np.hypot(x, y):.0f} m away at {x:.1f}, {y:.1f}"
        )


@dataclass(frozen=True, slots=True)
class ImageComparison:
    """Boxes in images, camera by camera.

    Attributes:
        min_iou: overlap from which on place and size agree.
        min_height_px: by category; known boxes that are lower need not be labelled, but may.
        mean_yaw_error_deg: 0, since boxes in images have no heading.
    """

    min_iou: float
    min_height_px: Mapping[str, float]
    mean_yaw_error_deg: float = 0.0

    def overlaps(
        self, known: Boxes2d, delivered: Boxes2d
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return overlaps; boxes of one camera that overlap may be the same."""
        same_camera = known.camera[:, None] == delivered.camera[None, :]
        overlap = np.where(same_camera, iou_in_image(known.box2d_px, delivered.box2d_px), 0.0)
        likeness = overlap + _alike(known, delivered)
        return overlap, np.where(overlap >= MIN_SAME_IOU, likeness, -np.inf)

    def is_needed(self, known: Boxes2d) -> NDArray[np.bool_]:
        """Return which known boxes are high enough."""
        least = np.array([self.min_height_px.get(str(name), 0.0) for name in known.category])
        return np.asarray(known.box2d_px[:, 3] - known.box2d_px[:, 1] >= least)

    def disagreement(
        self,
        known: Boxes2d,  # noqa: ARG002 - the overlap says it all
        delivered: Boxes2d,  # noqa: ARG002
        pair: Pair,  # noqa: ARG002
        iou: float,
    ) -> tuple[str, str] | None:
        """Return what is wrong with place and size."""
        if iou >= self.min_iou:
            return None
        what = f"IoU {iou:.2f} with the known box, at least {self.min_iou:.2f} is needed"
        return "ANNO039", what

    def describe(self, known: Boxes2d, index: int) -> str:
        """Return what a missing box is and where."""
        left, top, right, bottom = known.box2d_px[index]
        return (
            f"a {known.category[index]} of {right - left:.0f} x {bottom - top:.0f} px is not "
            f"labelled, at {(left + right) / 2:.0f}, {(top + bottom) / 2:.0f}"
        )


def match_greedily(likeness: NDArray[np.float64]) -> list[Pair]:
    """Return pairs of rows and columns, each used once, the likest first; -inf never pairs."""
    order = np.argsort(-likeness, axis=None, kind="stable")
    pairs: list[Pair] = []
    used_rows, used = set[int](), set[int]()
    for place in order[: int(np.isfinite(likeness).sum())].tolist():
        first, second = divmod(place, likeness.shape[1])
        if first not in used_rows and second not in used:
            pairs.append((first, second))
            used_rows.add(first)
            used.add(second)
    return sorted(pairs)


def _alike(known: TableT, delivered: TableT) -> NDArray[np.float64]:
    """Return (N, M) a little for boxes of one category: of equal overlaps it decides."""
    same: NDArray[np.bool_] = known.category[:, None] == delivered.category[None, :]
    return np.where(same, 1e-6, 0.0)
