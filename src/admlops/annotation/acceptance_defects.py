"""Defects of delivered labels: where, which rule, how grave, and one per box."""

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from admlops.annotation.labelling_rules import Shape
from admlops.checks.rules import RULES
from admlops.config import Config
from admlops.structures.box_table import BoxTable
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.finding import Severity

DefectClass = Literal["critical", "major", "minor"]
Unit = tuple[str, Shape, int | str]
"""An inspected item: frame, shape, and number of the box or what is missing."""

CLASSES: tuple[DefectClass, ...] = ("critical", "major", "minor")
CRITICAL = frozenset({"ANNO020", "ANNO021", "ANNO022", "ANNO023", "ANNO029"})
"""What makes a delivery unusable as a whole."""
GOLD_RULES = frozenset({"ANNO036", "ANNO037", "ANNO038", "ANNO039", "ANNO040"})
"""Rules that need known labels; to tell a vendor of them is to tell which frames are gold."""
PRECEDENCE = (
    *("ANNO029", "ANNO041", "ANNO001", "ANNO009", "ANNO035", "ANNO024", "ANNO026"),
    *("ANNO042", "ANNO038", "ANNO040"),
    *(
        "ANNO034",
        "ANNO027",
        "ANNO005",
        "ANNO039",
        "ANNO037",
        "ANNO033",
        "ANNO032",
        "ANNO048",
        "ANNO045",
        "ANNO047",
        "ANNO030",
        "ANNO006",
    ),
    *("ANNO028", "ANNO025", "ANNO031", "ANNO046", "ANNO043", "ANNO044"),
)
"""Of several rules that one box breaks, the first here tells the cause; others may follow from it.
What is said of attributes and range is a defect of its own."""


class Defect(Config):
    """One place where a delivery breaks a rule."""

    rule_id: str
    """The rule."""
    what: str
    """What was found, with numbers."""
    frame_id: str = ""
    """The frame's number in the package; empty for the delivery as a whole."""
    frame: str = ""
    """The frame's key in the dataset."""
    shape: Shape = "space_box"
    """Whether it is about a box in space or in an image."""
    box: int | None = None
    """Number of the delivered box among those of its shape in the frame; None where it is
    missing."""
    track_id: str = ""
    """Its track."""
    category: str = ""
    """Its category; of a missing box the known one."""
    box_7: tuple[float, ...] = ()
    """Centre, size and yaw in the vehicle's frame, m and rad; empty where they are not finite."""
    camera: str = ""
    """Of a box in an image, the camera; empty for the front one."""
    box_px: tuple[float, ...] = ()
    """Of a box in an image, left top right bottom; empty where they are not finite."""

    @property
    def severity(self) -> Severity:
        """The rule's severity."""
        return RULES[self.rule_id].severity

    @property
    def defect_class(self) -> DefectClass:
        """How grave it is: errors are major, warnings minor, unless they spoil the delivery."""
        if self.rule_id in CRITICAL:
            return "critical"
        return "major" if self.severity == "error" else "minor"

    @property
    def statement(self) -> str:
        """What must hold."""
        return RULES[self.rule_id].statement

    @property
    def mend(self) -> str:
        """How to mend it."""
        return RULES[self.rule_id].mend

    @property
    def is_drawn(self) -> bool:
        """Whether it is at a place that can be shown."""
        return bool(self.box_7 or self.box_px)

    @property
    def unit(self) -> Unit:
        """The inspected item: a delivered box, or a place where one is missing."""
        return self.frame_id, self.shape, self.what if self.box is None else self.box


def box_defect(rule_id: str, boxes: BoxTable, index: int, what: str) -> Defect:
    """Return a defect of one box in space or in an image; its frame is filled in later."""
    if isinstance(boxes, Boxes):
        place: dict[str, Any] = {"shape": "space_box", "box_7": _finite(boxes.as_7()[index])}
    else:
        assert isinstance(boxes, Boxes2d)  # noqa: S101 - there are two tables
        place = {"shape": "image_box", "box_px": _finite(boxes.box2d_px[index])}
        place["camera"] = str(boxes.camera[index])
    return Defect(
        rule_id=rule_id,
        what=what,
        box=index,
        track_id=str(boxes.track_id[index]),
        category=str(boxes.category[index]),
        **place,
    )


def _finite(numbers: NDArray[np.float64]) -> tuple[float, ...]:
    """Return numbers, none where one is not finite: JSON has no others."""
    return tuple(numbers.tolist()) if np.isfinite(numbers).all() else ()


def keep_causes(defects: Iterable[Defect]) -> list[Defect]:
    """Return the defects of one frame with one cause per box, and all that cause nothing else."""
    causes: dict[Unit, Defect] = {}
    kept: list[Defect] = []
    rank = {rule_id: place for place, rule_id in enumerate(PRECEDENCE)}
    for defect in defects:
        if defect.rule_id not in rank or defect.box is None:
            kept.append(defect)
            continue
        other = causes.get(defect.unit)
        if other is None or rank[defect.rule_id] < rank[other.rule_id]:
            causes[defect.unit] = defect
    return sorted([*kept, *causes.values()], key=_place)


def _place(defect: Defect) -> tuple[str, bool, float, str, str]:
    """Return where a defect stands in the report: by frame, in space before in images, by box."""
    box = float("inf") if defect.box is None else defect.box
    return defect.frame_id, defect.shape == "image_box", box, defect.rule_id, defect.what
