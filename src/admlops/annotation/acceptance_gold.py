"""Agreement of a delivery with frames whose labels are known: ANNO036 to ANNO040."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from admlops.annotation.acceptance_defects import Defect, box_defect
from admlops.config import Config
from admlops.geometry.boxes import iou_bev
from admlops.geometry.pose import wrap_angle
from admlops.structures.boxes import Boxes

NEAR_M = 2.5
"""A box whose centre is nearer than this, or that overlaps, is about the same object."""
FLIP_RAD = np.pi / 2
_YAW_FACTOR = 3.0
"""Times the yaw error that the labelling rules allow, a heading disagrees."""


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
    """Mean overlap on the ground of the boxes that are about the same object."""
    mean_yaw_error_deg: float = 0.0
    """Their mean difference in heading."""

    @property
    def recall(self) -> float:
        """Share of the known boxes that were labelled right."""
        return self.num_found / self.num_known if self.num_known else 1.0

    @property
    def precision(self) -> float:
        """Share of the delivered boxes that are right."""
        return self.num_found / self.num_delivered if self.num_delivered else 1.0


@dataclass
class GoldCheck:
    """Compares delivered with known labels, one frame after the other.

    Attributes:
        min_iou: overlap on the ground from which on place and size agree.
        max_yaw_error_deg: what the labelling rules allow.
        min_points: by category; known boxes with fewer points need not be labelled, but may.
    """

    min_iou: float
    max_yaw_error_deg: float
    min_points: Mapping[str, int]
    num_frames: int = 0
    num_known: int = 0
    num_delivered: int = 0
    num_found: int = 0
    ious: list[float] = field(default_factory=list)
    yaw_errors_rad: list[float] = field(default_factory=list)

    def look(self, known: Boxes, delivered: Boxes) -> list[Defect]:
        """Return where a frame's delivered boxes disagree with the known ones."""
        pairs, overlap = match_boxes(known, delivered)
        least = np.array([self.min_points.get(str(name), 0) for name in known.category])
        is_needed = (known.num_points < 0) | (known.num_points >= least)
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
                missing = box_defect("ANNO036", known, index, _missing(known, index))
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
            mean_yaw_error_deg=float(np.degrees(np.mean(self.yaw_errors_rad)))
            if self.yaw_errors_rad
            else 0.0,
        )

    def _compare(
        self, known: Boxes, delivered: Boxes, pair: tuple[int, int], iou: float
    ) -> Defect | None:
        first, second = pair
        error = float(abs(wrap_angle(delivered.yaw_rad[second] - known.yaw_rad[first])))
        self.ious.append(float(iou))
        self.yaw_errors_rad.append(error)
        if known.category[first] != delivered.category[second]:
            what = f"{delivered.category[second]!r}, known as {known.category[first]!r}"
            return box_defect("ANNO038", delivered, second, what)
        if error > FLIP_RAD:
            what = f"the heading is off by {np.degrees(error):.0f} degrees"
            return box_defect("ANNO040", delivered, second, what)
        if iou < self.min_iou:
            apart = delivered.center_m[second, :2] - known.center_m[first, :2]
            what = f"IoU {iou:.2f} with the known box, at least {self.min_iou:.2f} is needed; "
            what += f"the centre is {np.hypot(*apart):.2f} m off"
            return box_defect("ANNO039", delivered, second, what)
        if np.degrees(error) > _YAW_FACTOR * self.max_yaw_error_deg:
            what = f"the heading is off by {np.degrees(error):.0f} degrees"
            return box_defect("ANNO040", delivered, second, what)
        return None


def match_boxes(
    known: Boxes, delivered: Boxes
) -> tuple[list[tuple[int, int]], NDArray[np.float64]]:
    """Return pairs of boxes about the same object, and (N, M) overlaps on the ground.

    Greedy, best overlap first, then nearest centre; of equal ones that with the same category.
    """
    overlap = iou_bev(known.as_7(), delivered.as_7())
    apart = np.linalg.norm(known.center_m[:, None, :2] - delivered.center_m[None, :, :2], axis=2)
    same = known.category[:, None] == delivered.category[None, :]
    is_near = (overlap > 0) | (apart < NEAR_M)
    worth = np.where(is_near, overlap + 1e-3 * (NEAR_M - apart) + 1e-6 * same, -np.inf)
    order = np.argsort(-worth, axis=None, kind="stable")
    pairs: list[tuple[int, int]] = []
    used_known, used = set[int](), set[int]()
    for place in order[: int(is_near.sum())].tolist():
        first, second = divmod(place, len(delivered))
        if first not in used_known and second not in used:
            pairs.append((first, second))
            used_known.add(first)
            used.add(second)
    return sorted(pairs), overlap


def _missing(known: Boxes, index: int) -> str:
    x, y = known.center_m[index, :2]
    return (
        f"a {known.category[index]} with {known.num_points[index]} points is not labelled, "
        f"{np.hypot(x, y):.0f} m away at {x:.1f}, {y:.1f}"
    )
