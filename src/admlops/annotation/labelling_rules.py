"""The parts of a dataset's definition: categories, attributes, rules, sensors, acceptance."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from admlops.config import Config

Span = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
DeliveryFormat = Literal["openlabel", "cvat", "kitti", "coco", "bdd100k"]
Shape = Literal["space_box", "image_box"]
FLAG_VALUES = ("true", "false")


class SizeRanges(Config):
    """Sizes that objects of a category typically have; outside, a box is looked at again."""

    length_m: Span
    """Least and greatest length, along the heading."""
    width_m: Span
    """Least and greatest width."""
    height_m: Span
    """Least and greatest height."""

    @model_validator(mode="after")
    def _spans_rise(self) -> Self:
        for name in ("length_m", "width_m", "height_m"):
            low, high = getattr(self, name)
            if low >= high:
                raise ValueError(f"{name} must rise")
        return self

    @property
    def spans_m(self) -> tuple[Span, Span, Span]:
        """Ranges of length, width and height."""
        return self.length_m, self.width_m, self.height_m


class CategoryDefinition(Config):
    """One category of objects."""

    name: Name
    """Name in the dataset: lower case and underscores."""
    description: str
    """What belongs to it, in words that an annotator can decide by."""
    includes: tuple[str, ...] = ()
    """Examples that belong to it."""
    excludes: tuple[str, ...] = ()
    """What is easily mistaken for it, and where that belongs."""
    size: SizeRanges | None = None
    """Typical sizes; None where any size is possible."""
    is_vulnerable: bool = False
    """Whether it is a vulnerable road user."""
    aliases: tuple[str, ...] = ()
    """Names in source datasets that are merged into this category."""
    min_points: int | None = Field(default=None, ge=0)
    """Lidar points from which on an object is labelled; None takes the rule for all."""
    max_range_m: float | None = Field(default=None, gt=0)
    """Distance up to which an object is labelled; None takes the rule for all."""
    min_height_px: float | None = Field(default=None, ge=0)
    """Height in an image from which on an object is labelled there; None takes the rule for all."""


class AttributeDefinition(Config):
    """Something that is said of an object beside its box."""

    name: Name
    """Name in the dataset."""
    description: str
    """The question that an annotator answers."""
    values: dict[str, str] = Field(default_factory=dict)
    """Allowed values and what each means; none for a flag, which is true or false."""
    categories: tuple[str, ...] = ()
    """Categories whose objects carry it; empty for all."""
    is_mandatory: bool = True
    """Whether every object of these categories must carry it."""
    is_mutable: bool = True
    """Whether it may change while an object is seen; if not, a track has one value."""

    @property
    def is_flag(self) -> bool:
        """Whether the values are true and false."""
        return not self.values

    @property
    def allowed(self) -> tuple[str, ...]:
        """Values that may be given, as text."""
        return FLAG_VALUES if self.is_flag else tuple(self.values)

    def applies_to(self, category: str) -> bool:
        """Return whether objects of the category carry the attribute."""
        return not self.categories or category in self.categories

    def allows(self, value: object) -> bool:
        """Return whether a value may be given: text for a choice, a boolean for a flag."""
        if self.is_flag:
            return isinstance(value, bool)
        return isinstance(value, str) and value in self.values


class LabellingRules(Config):
    """How boxes are drawn, for all categories."""

    min_points: int = Field(default=5, ge=0)
    """Lidar points of one sweep that an object must hold to be labelled."""
    max_range_m: float = Field(default=80.0, gt=0)
    """Distance from the ego origin on the ground up to which objects are labelled."""
    min_height_px: float = Field(default=0.0, ge=0)
    """Height in an image from which on an object is labelled there."""
    occluded: Literal["full_size", "visible_part"] = "full_size"
    """Whether the box of a partly hidden object has the object's whole extent."""
    occlusion_shares: tuple[Share, Share] = (0.1, 0.5)
    """Hidden share from which on an object is partly, and from which on it is largely occluded."""
    truncated: Literal["full_size", "visible_part"] = "full_size"
    """The same for objects that leave the camera image or the lidar's view."""
    riders: Literal["one_box", "two_boxes"] = "one_box"
    """Whether a rider and the vehicle share a box, or each has one."""
    rider_categories: tuple[str, ...] = ()
    """Categories that hold riders with their vehicle."""
    articulated: Literal["one_box", "box_per_part"] = "box_per_part"
    """Whether an articulated vehicle or a trailer is one box, or each stiff part has its own."""
    ignore_regions: Literal["none", "image_box", "space_box"] = "image_box"
    """How crowds and areas that cannot be told apart are marked: not, or with a box of the category
    `ignore` in the image or in space."""
    margin_m: float = Field(default=0.1, gt=0)
    """Widest gap between a face of the box and the outermost point of the object behind it."""
    image_margin_px: float = Field(default=2.0, gt=0)
    """Widest gap between an edge of a box in an image and the object."""
    max_yaw_error_deg: float = Field(default=5.0, gt=0, le=90)
    """How far the yaw may be off."""
    yaw: Literal["front", "motion"] = "front"
    """Where the heading points: to the object's front, or where it moves."""
    size_is_constant: bool = True
    """Whether a rigid object keeps one size over its track."""
    notes: tuple[str, ...] = ()
    """Further rules, in words."""

    @model_validator(mode="after")
    def _shares_rise(self) -> Self:
        if self.occlusion_shares[0] >= self.occlusion_shares[1]:
            raise ValueError("occlusion_shares must rise")
        return self


class SensorDefinition(Config):
    """One sensor of the vehicle."""

    name: str
    """Name in the dataset, for example "lidar_top"."""
    modality: Literal["lidar", "camera"]
    """Kind of sensor."""
    description: str = ""
    """Model, place and field of view, for people."""


class AcceptanceRules(Config):
    """When a delivery of labels is accepted. Defects are findings, weighed by their severity."""

    formats: tuple[DeliveryFormat, ...] = Field(default=("openlabel", "cvat"), min_length=1)
    """Formats in which labels are delivered."""
    inspection_level: Literal["I", "II", "III"] = "II"
    """General inspection level of the sampling plan (ISO 2859-1)."""
    aql_percent: float = Field(default=1.5, gt=0, le=100)
    """Acceptance quality limit: defective boxes in percent that are still tolerable."""
    max_error_rate: Share = 0.01
    """Share of boxes that may have a finding of severity error."""
    max_warning_rate: Share = 0.05
    """Share of boxes that may have a finding of severity warning."""
    gold_share: Share = 0.05
    """Share of the frames that are hidden gold frames, whose labels are known."""
    min_gold_iou: Share = 0.6
    """Overlap on the ground from which on a delivered box agrees with a gold box."""
    min_gold_image_iou: Share = 0.7
    """Overlap from which on a delivered box in an image agrees with a gold box."""
    min_gold_recall: Share = 0.95
    """Share of the gold boxes that must be found."""
    min_gold_precision: Share = 0.95
    """Share of the delivered boxes in gold frames that must be right."""
    num_corrections: int = Field(default=2, ge=0)
    """How often a rejected delivery may be corrected."""
