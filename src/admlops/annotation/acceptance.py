"""Acceptance of a delivery: rules on all boxes, known labels, and a sampling plan."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from admlops.annotation.acceptance_config import AcceptanceConfig
from admlops.annotation.acceptance_defects import (
    CLASSES,
    Defect,
    DefectClass,
    keep_causes,
)
from admlops.annotation.acceptance_geometry import GeometryRules
from admlops.annotation.acceptance_gold import GoldAgreement, GoldCheck
from admlops.annotation.acceptance_tracks import TrackedFrame, TrackRules
from admlops.annotation.definition import DatasetDefinition
from admlops.annotation.definition_check import IGNORE_CATEGORY
from admlops.annotation.delivery import Delivery
from admlops.annotation.gold import PackageKey, PackedFrame
from admlops.annotation.sampling import draw_sample, plan_sampling
from admlops.config import Config
from admlops.geometry.boxes import count_points_in_boxes
from admlops.structures.boxes import Boxes
from admlops.structures.frame import Frame

Unit = tuple[str, int | str]


class Check(Config):
    """One thing that a delivery must reach."""

    name: str
    """What is looked at."""
    value: float
    """What was found."""
    limit: float
    """What is allowed."""
    passed: bool
    """Whether it is reached."""
    text: str
    """The same in words."""
    drawn: tuple[str, ...] = ()
    """Of a sample, the boxes that were drawn, as frame and number: for people who look again."""


class Acceptance(Config):
    """The judgement of a delivery."""

    package_id: str
    """The package that was delivered."""
    request_id: str
    """The label request behind it."""
    dataset: str
    """The dataset version that the package is of."""
    definition: str
    """Name and version of the definition."""
    format: str
    """Format of the delivery."""
    delivery_digest: str
    """SHA-256 of what was delivered."""
    accepted: bool
    """Whether every check is passed."""
    checks: tuple[Check, ...]
    """What was looked at."""
    num_frames: int
    """Frames of the package."""
    num_boxes: int
    """Boxes that were delivered."""
    agreement: GoldAgreement
    """How well known labels were met."""
    counts: dict[str, int]
    """How often each rule is broken."""
    defects: tuple[Defect, ...]
    """Every defect."""

    @property
    def failed(self) -> list[Check]:
        """The checks that are not passed."""
        return [check for check in self.checks if not check.passed]

    @property
    def sentence(self) -> str:
        """The judgement in one sentence."""
        if self.accepted:
            return f"Accepted: {self.num_boxes} boxes in {self.num_frames} frames."
        reasons = "; ".join(check.text for check in self.failed)
        return f"Rejected: {reasons}."

    def num_of(self, defect_class: DefectClass) -> int:
        """Return how many defects are of a class."""
        return sum(defect.defect_class == defect_class for defect in self.defects)


def judge_delivery(
    frames: Iterable[tuple[PackedFrame, Frame]],
    delivery: Delivery,
    key: PackageKey,
    definition: DatasetDefinition,
    config: AcceptanceConfig,
) -> Acceptance:
    """Judge a delivery.

    Args:
        frames: the frames of the package in its order, with points; gold frames have their boxes.
        delivery: what was delivered.
        key: what the package's frames are.
        definition: what labels must meet.
        config: further limits.
    """
    judge = _Judge(delivery, definition, config)
    for packed, frame in frames:
        if packed.frame_id in delivery.boxes:
            judge.look(packed, frame, delivery.boxes[packed.frame_id])
    defects = judge.finish()
    agreement = judge.gold.result()
    checks = _checks(judge.units(defects), defects, agreement, (delivery, definition, config))
    return Acceptance(
        package_id=key.package_id,
        request_id=key.request_id,
        dataset=key.dataset,
        definition=definition.title,
        format=delivery.format,
        delivery_digest=delivery.digest,
        accepted=all(check.passed for check in checks),
        checks=tuple(checks),
        num_frames=len(key.frames),
        num_boxes=judge.num_boxes,
        agreement=agreement,
        counts=dict(sorted(Counter(defect.rule_id for defect in defects).items())),
        defects=tuple(defects),
    )


@dataclass
class _Judge:
    """Looks at the frames of a package one after the other."""

    delivery: Delivery
    definition: DatasetDefinition
    config: AcceptanceConfig
    gold: GoldCheck = field(init=False)
    num_boxes: int = 0
    _delivered: list[Unit] = field(default_factory=list)
    _defects: list[Defect] = field(default_factory=list)
    _keys: dict[str, str] = field(default_factory=dict)
    _scene: str = ""
    _tracked: list[TrackedFrame] = field(default_factory=list)

    def __post_init__(self) -> None:
        names = self.definition.category_names
        self.gold = GoldCheck(
            self.definition.acceptance.min_gold_iou,
            self.definition.rules.max_yaw_error_deg,
            {name: self.definition.min_points_of(name) for name in names},
        )

    def look(self, packed: PackedFrame, frame: Frame, boxes: Boxes) -> None:
        """Hold one frame's boxes against the rules."""
        points = np.empty((0, 4), np.float32) if frame.lidar is None else frame.points_in_ego()
        rows = np.flatnonzero(boxes.category != IGNORE_CATEGORY)  # regions are no objects
        boxes = boxes.select(rows)
        grown_7 = np.nan_to_num(boxes.as_7())
        grown_7[:, 3:6] += 2 * self.definition.rules.margin_m  # as loose as a box may be
        boxes = boxes.replace(num_points=count_points_in_boxes(points, grown_7))
        self.num_boxes += len(boxes)
        self._keys[packed.frame_id] = str(packed.key)
        self._delivered += [(packed.frame_id, index) for index in rows.tolist()]
        rules = GeometryRules(self.definition, self.config.geometry)
        found = rules.find_defects(boxes, points)
        usable = np.flatnonzero(np.isfinite(boxes.as_7()).all(axis=1))
        if packed.is_gold and frame.boxes is not None:
            known = frame.boxes.select(self._is_judged(frame.boxes))
            agreed = self.gold.look(known, boxes.select(usable))
            found += [_renumbered(defect, usable) for defect in agreed]
        self._defects += [
            _renumbered(item, rows).replace(frame_id=packed.frame_id) for item in found
        ]
        self._track(packed, frame, boxes.select(usable), rows[usable])

    def _track(
        self, packed: PackedFrame, frame: Frame, boxes: Boxes, index: NDArray[np.int64]
    ) -> None:
        """Keep a frame's boxes until its scene ends."""
        scene = packed.alias_key.scene
        if scene != self._scene:
            self._finish_scene()
            self._scene = scene
        self._tracked.append(
            TrackedFrame(
                frame_id=packed.frame_id,
                time_s=packed.alias_key.timestamp_ns / 1e9,
                global_from_ego=frame.global_from_ego,
                boxes=boxes,
                index=index,
            )
        )

    def finish(self) -> list[Defect]:
        """Return all defects, one cause per box, in the order of the frames."""
        self._finish_scene()
        located = [defect.replace(frame=self._keys[defect.frame_id]) for defect in self._defects]
        return [*self.delivery.defects, *keep_causes(located)]

    def units(self, defects: Sequence[Defect]) -> list[Unit]:
        """Return what is inspected: every delivered box, and every place where one is missing."""
        missing = [item.unit for item in defects if item.frame_id and item.box is None]
        return [*self._delivered, *missing]

    def _is_judged(self, known: Boxes) -> NDArray[np.bool_]:
        """Return (N,) which known boxes are of the definition's categories and within reach."""
        names = np.isin(known.category.astype(str), list(self.definition.category_names))
        range_m = np.hypot(known.center_m[:, 0], known.center_m[:, 1])
        return np.asarray(names & (range_m <= self.definition.rules.max_range_m))

    def _finish_scene(self) -> None:
        rules = TrackRules(self.config.tracks, self.definition.rules.size_is_constant)
        self._defects += rules.find_defects(self._tracked)
        self._tracked = []


def _renumbered(defect: Defect, index: NDArray[np.int64]) -> Defect:
    return defect if defect.box is None else defect.replace(box=int(index[defect.box]))


def _checks(
    units: Sequence[Unit],
    defects: Sequence[Defect],
    agreement: GoldAgreement,
    given: tuple[Delivery, DatasetDefinition, AcceptanceConfig],
) -> list[Check]:
    rules = given[1].acceptance
    bad: Mapping[DefectClass, set[Unit]] = {
        name: {item.unit for item in defects if item.defect_class == name} for name in CLASSES
    }
    num_critical = sum(item.defect_class == "critical" for item in defects)
    noun = "defect" if num_critical == 1 else "defects"
    text = f"{num_critical} critical {noun}, none is allowed"
    checks = [
        Check(name="critical", value=num_critical, limit=0, passed=not num_critical, text=text)
    ]
    if units:
        checks += _sample_checks(units, bad, given)
        for name, limit in (("error", rules.max_error_rate), ("warning", rules.max_warning_rate)):
            grave = bad["critical"] | bad["major"] if name == "error" else bad["minor"]
            rate = len(grave & set(units)) / len(units)
            text = f"{rate:.1%} of the boxes have a defect of severity {name}, {limit:.1%} may"
            checks.append(_at_most(f"{name}_rate", rate, limit, text))
    if agreement.num_frames:
        for name, value, least in (
            ("recall", agreement.recall, rules.min_gold_recall),
            ("precision", agreement.precision, rules.min_gold_precision),
        ):
            text = f"{name} {value:.1%} in {agreement.num_frames} gold frames, {least:.1%} needed"
            passed = value >= least
            checks.append(
                Check(name=f"gold_{name}", value=value, limit=least, passed=passed, text=text)
            )
    return checks


def _sample_checks(
    units: Sequence[Unit],
    bad: Mapping[DefectClass, set[Unit]],
    given: tuple[Delivery, DatasetDefinition, AcceptanceConfig],
) -> Iterator[Check]:
    delivery, definition, config = given
    level = definition.acceptance.inspection_level
    limits: Mapping[DefectClass, float] = {
        "major": definition.acceptance.aql_percent,
        "minor": config.minor_aql_percent,
    }
    for name, aql in limits.items():
        plan = plan_sampling(len(units), aql, level)
        places = draw_sample(plan, _seed(config.seed, delivery.digest, name))
        drawn = [units[place] for place in places.tolist()]
        count = len(set(drawn) & bad[name])
        text = f"{count} of {plan.sample_size} boxes drawn from {len(units)} have {name} "
        text += f"defects, at most {plan.acceptance_number} may (AQL {plan.aql:g}, level "
        text += f"{level}, code {plan.code_letter})"
        check = _at_most(f"{name}_sample", count, plan.acceptance_number, text)
        yield check.replace(drawn=tuple(f"{frame} {item}" for frame, item in drawn))


def _at_most(name: str, value: float, limit: float, text: str) -> Check:
    return Check(name=name, value=value, limit=limit, passed=value <= limit, text=text)


def _seed(seed: int, digest: str, name: str) -> int:
    text = f"{seed} {digest} {name}"
    return int(hashlib.sha256(text.encode()).hexdigest()[:16], 16)
