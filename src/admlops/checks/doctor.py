"""The doctor: why is my AP 0? Every rule, over a whole dataset, in bounded memory.

Two passes: `look_at_cloud` takes a few labelled frames with their points, `look_at_labels` every
frame, without payloads. What a finding explains is mended before the next rule looks, so that one
fault makes one finding.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from admlops.checks.clouds import CloudCheck
from admlops.checks.conventions import (
    Convention,
    ConventionEvidence,
    local_ground_m,
)
from admlops.checks.detector import DetectorCheck
from admlops.checks.findings import FindingLog
from admlops.checks.labels import LabelCheck, fold_name, is_in_degrees
from admlops.checks.splits import SplitCheck
from admlops.checks.units import UNITS_PER_METRE, name_size_unit
from admlops.detection.config import PillarDetectorConfig
from admlops.geometry.boxes import count_points_in_boxes
from admlops.structures.boxes import NUM_POINTS_UNKNOWN, Boxes
from admlops.structures.finding import Finding
from admlops.structures.frame import Frame

UNDER_GROUND_M = 0.2
BATCH_FRAMES = 256
"""Frames whose labels are held against the detector at once."""
WIDER_M = 6.0
"""How far more around a box the ground is looked for: close to it a wall may hide it."""
COUNT_TOLERANCE_SHARE = 0.1
COUNT_TOLERANCE_POINTS = 3


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the doctor found.

    Attributes:
        findings: worst first; of each rule the first 20.
        counts: per rule, in how many places it fired.
        convention: the convention that fits the points best, in words.
        convention_fits: some conventions and the mean share of a box's points that they hold.
        figures: numbers worth reading, by name.
    """

    findings: tuple[Finding, ...]
    counts: dict[str, int]
    convention: str
    convention_fits: tuple[tuple[str, float], ...]
    figures: dict[str, float]


@dataclass(frozen=True, slots=True)
class Writing:
    """How boxes are written: angle and length units, and the convention."""

    in_degrees: bool = False
    unit: str = "metres"
    convention: Convention = field(default_factory=Convention)

    def mend(self, boxes: Boxes, frame: Frame) -> Boxes:
        """Return the boxes in radians, metres and the project's convention."""
        if self == Writing():
            return boxes
        factor = UNITS_PER_METRE[self.unit]
        plain = boxes.replace(
            center_m=boxes.center_m / factor,
            size_m=boxes.size_m / factor,
            yaw_rad=np.deg2rad(boxes.yaw_rad) if self.in_degrees else boxes.yaw_rad,
        )
        return self.convention.mend(plain, frame)


@dataclass(slots=True)
class Doctor:
    """Examines a dataset, alone or against a detector's settings."""

    detector: PillarDetectorConfig | None = None
    log: FindingLog = field(default_factory=FindingLog)
    _labels: LabelCheck = field(init=False)
    _splits: SplitCheck = field(init=False)
    _clouds: CloudCheck = field(init=False)
    _fit: DetectorCheck | None = field(init=False)
    _evidence: ConventionEvidence = field(default_factory=ConventionEvidence)
    _seen: list[tuple[Frame, Boxes, NDArray[np.float32]]] = field(default_factory=list)
    _waiting: list[Boxes] = field(default_factory=list)
    _writing: Writing | None = None

    def __post_init__(self) -> None:
        """Set the single checks up."""
        self._labels = LabelCheck(self.log)
        self._splits = SplitCheck(self.log)
        self._clouds = CloudCheck(self.log)
        self._fit = None if self.detector is None else DetectorCheck(self.detector, self.log)

    def look_at_cloud(self, frame: Frame) -> None:
        """Examine a frame with its points; they stay in memory until `diagnose`."""
        points = self._clouds.look(frame)
        boxes = _usable(frame)
        if len(boxes) and len(points):
            slim = replace(frame, boxes=None)
            self._seen.append((slim, boxes, points))

    def look_at_labels(self, frame: Frame, sensor_digest: str = "") -> None:
        """Examine what a frame is without its payload; comes after every `look_at_cloud`.

        Args:
            frame: payloads may be empty.
            sensor_digest: digest of the payloads, empty where there are none.
        """
        self._labels.look(frame)
        self._splits.look(frame, sensor_digest)
        if self._fit is not None and frame.boxes is not None:
            self._waiting.append(self._settle().mend(_usable(frame), frame))
            if len(self._waiting) == BATCH_FRAMES:
                self._flush()

    def diagnose(self, figures: Mapping[str, float] | None = None) -> Diagnosis:
        """Conclude both passes.

        Args:
            figures: more numbers for the diagnosis.
        """
        writing = self._settle()
        self._labels.finish()
        self._splits.finish()
        self._clouds.finish()
        for frame, written, points in self._seen:
            boxes = writing.mend(written, frame)
            self._look_under_ground(frame, boxes, points)
            if writing == Writing():
                self._recount(frame, boxes, points)
            if self._fit is not None:
                self._fit.look_at_cloud(boxes, points)
        if self._fit is not None:
            self._flush()
            self._fit.finish()
        fits = self._evidence.mean_fits()
        return Diagnosis(
            findings=tuple(self.log.ordered()),
            counts=dict(sorted(self.log.counts.items())),
            convention=str(writing.convention),
            convention_fits=_shown_fits(fits, writing.convention),
            figures=self._figures(fits[writing.convention]) | dict(figures or {}),
        )

    def _flush(self) -> None:
        if self._fit is not None and self._waiting:
            self._fit.look_at_labels(Boxes.concatenate(self._waiting))
            self._waiting = []

    def _settle(self) -> Writing:
        """Decide, once, how the boxes are written."""
        if self._writing is None:
            plain = Writing(in_degrees=self._yaw_is_in_degrees(), unit=self._unit())
            for frame, boxes, points in self._seen:
                self._evidence.add(plain.mend(boxes, frame), points, frame)
            self._writing = replace(plain, convention=self._evidence.verdict())
            self._report_convention(self._writing.convention)
        return self._writing

    def _yaw_is_in_degrees(self) -> bool:
        yaws = np.concatenate([boxes.yaw_rad for _, boxes, _ in self._seen] or [np.empty(0)])
        return is_in_degrees(yaws)

    def _unit(self) -> str:
        boxes = Boxes.concatenate([boxes for _, boxes, _ in self._seen])
        names = np.array([fold_name(name) for name in boxes.category], dtype=object)
        return name_size_unit(names, boxes.size_m) or "metres"

    def _report_convention(self, convention: Convention) -> None:
        if convention.num_changes == 0:
            return
        fits = self._evidence.mean_fits()
        num_boxes = self._evidence.num_boxes
        what = (
            f"{convention}. Boxes then hold {fits[convention]:.0%} of the points that stand "
            f"near them, as written {fits[Convention()]:.0%} "
            f"({num_boxes} boxes of {len(self._seen)} frames)"
        )
        self.log.add("BOX004", "center_m, size_m and yaw_rad", what, num_boxes)

    def _look_under_ground(self, frame: Frame, boxes: Boxes, points: NDArray[np.float32]) -> None:
        xyz = np.ascontiguousarray(points[:, :3])
        for index, (row, name) in enumerate(zip(boxes.as_7(), boxes.category, strict=True)):
            reach = math.hypot(row[3], row[4]) / 2 + 2.0
            near = local_ground_m(xyz, row[0], row[1], reach)
            ground = min(near, local_ground_m(xyz, row[0], row[1], reach + WIDER_M))
            if row[2] < ground - UNDER_GROUND_M:
                what = f"its centre is at z = {row[2]:.2f} m, the ground there at {ground:.2f} m"
                self.log.add("BOX007", f"{frame.key} box {index} ({name})", what)

    def _recount(self, frame: Frame, boxes: Boxes, points: NDArray[np.float32]) -> None:
        stored = boxes.num_points
        counted = count_points_in_boxes(points, boxes.as_7())
        allowed = np.maximum(COUNT_TOLERANCE_POINTS, COUNT_TOLERANCE_SHARE * counted)
        wrong = (stored != NUM_POINTS_UNKNOWN) & (np.abs(stored - counted) > allowed)
        for index in np.flatnonzero(wrong):
            what = f"num_points says {stored[index]}, the cloud {counted[index]}"
            self.log.add("BOX011", f"{frame.key} box {index} ({boxes.category[index]})", what)

    def _figures(self, fit: float) -> dict[str, float]:
        labels = self._labels
        return {
            "num_frames": float(labels.num_frames),
            "num_labelled_frames": float(labels.num_labelled),
            "num_empty_frames": float(labels.num_empty),
            "num_boxes": float(labels.num_boxes),
            "num_clouds_examined": float(len(self._clouds.units)),
            "points_in_box_fit": fit,
        }


def _shown_fits(fits: dict[Convention, float], chosen: Convention) -> tuple[tuple[str, float], ...]:
    shown = [Convention(), chosen, *[item for item in fits if item.num_changes == 1]]
    unique = list(dict.fromkeys(shown))
    return tuple((str(item), fits[item]) for item in sorted(unique, key=lambda c: -fits[c]))


def _usable(frame: Frame) -> Boxes:
    boxes = Boxes.empty() if frame.boxes is None else frame.boxes
    usable = np.isfinite(boxes.as_7()).all(axis=1) & (boxes.size_m > 0).all(axis=1)
    return boxes if usable.all() else boxes.select(np.asarray(usable))
