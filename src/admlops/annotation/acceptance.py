"""Acceptance of a delivery: rules on all boxes, known labels, and a sampling plan."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from admlops.annotation.acceptance_agreement import AgreementRules
from admlops.annotation.acceptance_checks import Check, Lot, check_gold, check_lot
from admlops.annotation.acceptance_config import AcceptanceConfig
from admlops.annotation.acceptance_defects import Defect, DefectClass, Unit, keep_causes
from admlops.annotation.acceptance_frames import FramePlace
from admlops.annotation.acceptance_gold import GoldAgreement
from admlops.annotation.acceptance_images import with_own_cameras
from admlops.annotation.acceptance_shapes import ImageRules, ShapeJudge, SpaceRules
from admlops.annotation.definition import DatasetDefinition
from admlops.annotation.delivery import Delivery
from admlops.annotation.gold import PackageKey, PackedFrame
from admlops.config import Config
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import Frame


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
    """Boxes in space that were delivered."""
    num_boxes_2d: int = 0
    """Boxes in images that were delivered."""
    agreement: GoldAgreement
    """How well known labels in space were met."""
    agreement_2d: GoldAgreement = GoldAgreement()
    """How well known labels in images were met."""
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
            kinds = ((self.num_boxes, "boxes"), (self.num_boxes_2d, "boxes in images"))
            counts = " and ".join(f"{count} {name}" for count, name in kinds if count)
            return f"Accepted: {counts or 'no boxes'} in {self.num_frames} frames."
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
        judge.look(packed, frame)
    defects = judge.finish()
    agreement = judge.space.rules.gold.result()
    agreement_2d = judge.images.rules.gold.result()
    lot = Lot(judge.units(defects), defects, delivery.digest)
    checks = [
        *check_lot(lot, definition.acceptance, config),
        *check_gold(agreement, definition.acceptance),
        *check_gold(agreement_2d, definition.acceptance, "gold_image"),
    ]
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
        num_boxes=judge.space.num_boxes,
        num_boxes_2d=judge.images.num_boxes,
        agreement=agreement,
        agreement_2d=agreement_2d,
        counts=dict(sorted(Counter(defect.rule_id for defect in defects).items())),
        defects=tuple(defects),
    )


@dataclass
class _Judge:
    """Looks at the frames of a package one after the other."""

    delivery: Delivery
    definition: DatasetDefinition
    config: AcceptanceConfig
    space: ShapeJudge[Boxes] = field(init=False)
    images: ShapeJudge[Boxes2d] = field(init=False)
    _agreement: AgreementRules = field(init=False)
    _defects: list[Defect] = field(default_factory=list)
    _keys: dict[str, str] = field(default_factory=dict)
    _scene: str = ""

    def __post_init__(self) -> None:
        self.space = ShapeJudge(SpaceRules(self.definition, self.config))
        self.images = ShapeJudge(ImageRules(self.definition, self.config))
        definition = self.definition
        needed = "image_box" in definition.shapes
        self._agreement = AgreementRules(
            self.config.images.min_space_iou,
            definition.rules.occluded == "visible_part",
            {name: definition.min_height_of(name) for name in definition.category_names if needed},
        )

    def look(self, packed: PackedFrame, frame: Frame) -> None:
        """Hold what was delivered for one frame against the rules."""
        if packed.alias_key.scene != self._scene:
            self._end_scene()
            self._scene = packed.alias_key.scene
        self._keys[packed.frame_id] = str(packed.key)
        place = FramePlace(packed.frame_id, packed.alias_key.timestamp_ns / 1e9, packed.is_gold)
        boxes = self.delivery.boxes.get(packed.frame_id)
        boxes_2d = self.delivery.boxes_2d.get(packed.frame_id)
        if boxes is not None:
            found = self.space.look(boxes, frame, place)
            self._defects += found
            wrong = {item.box for item in found if item.defect_class != "minor"}
            boxes = boxes.select([row for row in range(len(boxes)) if row not in wrong])
        if boxes_2d is not None:
            boxes_2d = with_own_cameras(boxes_2d, frame)
            self._defects += self.images.look(boxes_2d, frame, place)
        if boxes is not None and boxes_2d is not None:
            found = self._agreement.find_defects(boxes_2d, boxes, frame)
            self._defects += [item.replace(frame_id=packed.frame_id) for item in found]

    def finish(self) -> list[Defect]:
        """Return all defects, one cause per box, in the order of the frames."""
        self._end_scene()
        self._defects += self.space.finish() + self.images.finish()
        located = [defect.replace(frame=self._keys[defect.frame_id]) for defect in self._defects]
        return [*self.delivery.defects, *keep_causes(located)]

    def units(self, defects: Sequence[Defect]) -> list[Unit]:
        """Return what is inspected: every delivered box, and every place where one is missing."""
        boxes: list[Unit] = [(frame, "space_box", box) for frame, box in self.space.delivered]
        boxes += [(frame, "image_box", box) for frame, box in self.images.delivered]
        missing = [item.unit for item in defects if item.frame_id and item.box is None]
        return [*boxes, *missing]

    def _end_scene(self) -> None:
        self._defects += self.space.end_scene() + self.images.end_scene()
        self._agreement.end_scene()
