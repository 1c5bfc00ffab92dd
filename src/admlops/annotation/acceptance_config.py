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
    seed: int = Field(default=0, ge=0)
    """Of the sample, together with the delivery's digest: nobody knows it before delivering."""
    max_pictures: int = Field(default=24, ge=0)
    """Pictures of defects in the report, at least one of each kind first."""
