"""What a delivery is held against, beside the definition of its dataset."""

from pydantic import Field

from admlops.config import Config

SPEED_LIMITS_MPS = {"pedestrian": 8.0, "cyclist": 25.0}


class GeometryLimits(Config):
    """From which numbers on single boxes are defects."""

    duplicate_iou: float = Field(default=0.5, gt=0, le=1)
    """Overlap on the ground from which on two boxes are one object."""
    overlap_iou: float = Field(default=0.1, gt=0, le=1)
    """Overlap in space from which on two objects are inside each other."""
    ground_tolerance_m: float = Field(default=0.6, gt=0)
    """How far the lower face of a box may be from the ground around it."""
    min_fit_points: int = Field(default=12, ge=1)
    """Points from which on it is told whether a box lies on its object."""
    shift_reach_m: float = Field(default=1.5, gt=0)
    """How far a box is moved in search of its points."""
    shift_gain: float = Field(default=1.5, gt=1)
    """How many times more points a moved box must hold to be the right place."""
    max_rim_share: float = Field(default=0.2, ge=0)
    """Points right outside a box, per point inside, up to which it holds a whole object."""


class TrackLimits(Config):
    """From which numbers on tracks are defects."""

    max_gap_s: float = Field(default=2.5, gt=0)
    """Boxes of a track that are farther apart in time are not compared."""
    max_speed_mps: float = Field(default=60.0, gt=0)
    """Greatest speed of categories without a limit of their own."""
    speed_limits_mps: dict[str, float] = Field(default_factory=lambda: dict(SPEED_LIMITS_MPS))
    """Greatest speed by category."""
    jump_allowance_m: float = Field(default=1.0, ge=0)
    """Distance that a box may move beyond its greatest speed."""
    max_size_change: float = Field(default=0.25, gt=0)
    """Change of length, width or height from the track's median, as a share."""
    min_size_change_m: float = Field(default=0.3, ge=0)
    """Smaller changes are not told."""
    heading_speed_mps: float = Field(default=2.0, gt=0)
    """Speed from which on the heading is held against the motion."""
    free_turning: tuple[str, ...] = ("pedestrian",)
    """Categories that may turn around on the spot."""
    switch_gain_m: float = Field(default=1.0, gt=0)
    """How much nearer both tracks must come when their ids are exchanged."""


class ImageLimits(Config):
    """From which numbers on boxes in images are defects."""

    border_px: float = Field(default=1.0, ge=0)
    """How far a box may reach over the border of its image."""
    duplicate_iou: float = Field(default=0.85, gt=0, le=1)
    """Overlap from which on two boxes of a category are one object."""
    max_gap_s: float = Field(default=0.6, gt=0)
    """Boxes of a track that are farther apart in time are not compared: too much may happen."""
    max_blind_gap_s: float = Field(default=0.3, gt=0)
    """Where poses or the camera's matrix are not known, so that a turning vehicle cannot be told
    from a moving object, boxes of a track that are farther apart in time are not compared."""
    min_track_iou: float = Field(default=0.25, ge=0, lt=1)
    """Least overlap of a box with the place that the rest of its track leads to."""
    max_size_factor: float = Field(default=1.6, gt=1)
    """Times the size that the rest of its track leads to, or a fraction, a box has an odd size."""
    switch_gain: float = Field(default=0.7, gt=0)
    """How much nearer both tracks must come when their ids are exchanged, in sizes of the boxes."""
    min_space_iou: float = Field(default=0.45, ge=0, lt=1)
    """Least overlap of a box with the projected box in space of the same object; with visible parts
    labelled, the least share of the box that lies in the projection."""


class OutlierLimits(Config):
    """From which numbers on sizes are unlike those of the category in the delivery."""

    min_boxes: int = Field(default=30, ge=3)
    """Boxes of a category that it takes to tell what is usual."""
    max_deviations: float = Field(default=6.0, gt=0)
    """Robust standard deviations from the median, of logarithms, up to which a box is usual."""


class AcceptanceConfig(Config):
    """How a delivery is judged."""

    definition: str = "urban_lidar"
    """Shipped definition, or a definition file: categories, attributes, rules, acceptance."""
    minor_aql_percent: float = Field(default=4.0, gt=0, le=1000)
    """Acceptance quality limit of minor defects; that of major ones is the definition's."""
    geometry: GeometryLimits = GeometryLimits()
    """Limits of single boxes."""
    tracks: TrackLimits = TrackLimits()
    """Limits of tracks."""
    images: ImageLimits = ImageLimits()
    """Limits of boxes in images."""
    outliers: OutlierLimits = OutlierLimits()
    """Limits of sizes that are compared with each other."""
    seed: int = Field(default=0, ge=0)
    """Of the sample, together with the delivery's digest: nobody knows it before delivering."""
    max_pictures: int = Field(default=24, ge=0)
    """Pictures of defects in the report, at least one of each kind first."""
