"""Defects of delivered labels: where, which rule, how grave, and one per box."""

from collections.abc import Iterable
from typing import Literal

import numpy as np

from admlops.checks.rules import RULES
from admlops.config import Config
from admlops.structures.boxes import Boxes
from admlops.structures.finding import Severity

DefectClass = Literal["critical", "major", "minor"]

CLASSES: tuple[DefectClass, ...] = ("critical", "major", "minor")
CRITICAL = frozenset({"ANNO020", "ANNO021", "ANNO022", "ANNO023", "ANNO029"})
"""What makes a delivery unusable as a whole."""
GOLD_RULES = frozenset({"ANNO036", "ANNO037", "ANNO038", "ANNO039", "ANNO040"})
"""Rules that need known labels; to tell a vendor of them is to tell which frames are gold."""
PRECEDENCE = (
    *("ANNO029", "ANNO001", "ANNO009", "ANNO035", "ANNO024", "ANNO026", "ANNO038", "ANNO040"),
    *(
        "ANNO034",
        "ANNO027",
        "ANNO005",
        "ANNO039",
        "ANNO037",
        "ANNO033",
        "ANNO032",
        "ANNO030",
        "ANNO006",
    ),
    *("ANNO028", "ANNO025", "ANNO031"),
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
    box: int | None = None
    """Number of the delivered box in its frame; None where the box is missing."""
    track_id: str = ""
    """Its track."""
    category: str = ""
    """Its category; of a missing box the known one."""
    box_7: tuple[float, ...] = ()
    """Centre, size and yaw in the vehicle's frame, m and rad; empty where they are not finite."""

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
    def unit(self) -> tuple[str, int | str]:
        """The inspected item: a delivered box, or a place where one is missing."""
        return self.frame_id, self.what if self.box is None else self.box


def box_defect(rule_id: str, boxes: Boxes, index: int, what: str) -> Defect:
    """Return a defect of one box; its frame is filled in later."""
    row = boxes.as_7()[index]
    is_finite = bool(np.isfinite(row).all())  # JSON has no other numbers
    return Defect(
        rule_id=rule_id,
        what=what,
        box=index,
        track_id=str(boxes.track_id[index]),
        category=str(boxes.category[index]),
        box_7=tuple(row.tolist()) if is_finite else (),
    )


def keep_causes(defects: Iterable[Defect]) -> list[Defect]:
    """Return the defects of one frame with one cause per box, and all that cause nothing else."""
    causes: dict[tuple[str, int | str], Defect] = {}
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


def _place(defect: Defect) -> tuple[str, float, str, str]:
    box = float("inf") if defect.box is None else defect.box
    return defect.frame_id, box, defect.rule_id, defect.what
