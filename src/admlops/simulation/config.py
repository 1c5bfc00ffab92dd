"""What the synthetic world holds: scenes, objects, conditions and sensors."""

import hashlib
import json
from typing import Literal, Self

from pydantic import Field, model_validator

from admlops.config import Config

WORLD_VERSION = 1
"""Rises when equal configs no longer give the frames that they gave before."""

SplitName = Literal["train", "val", "pool"]


class ObjectRates(Config):
    """Expected numbers of objects along 100 m of road."""

    car: float = Field(default=6.0, ge=0, le=30)
    """Cars that drive or wait in a lane."""
    parked_car: float = Field(default=5.0, ge=0, le=30)
    """Cars parked along the kerb."""
    van: float = Field(default=0.0, ge=0, le=30)
    """Vans in a lane."""
    truck: float = Field(default=0.8, ge=0, le=30)
    """Trucks in a lane."""
    pedestrian: float = Field(default=6.0, ge=0, le=60)
    """Pedestrians on the pavement or crossing the road."""
    cyclist: float = Field(default=3.0, ge=0, le=30)
    """Cyclists at the edge of the road."""
    clutter: float = Field(default=5.0, ge=0, le=60)
    """Bins, boxes and bushes: things that are not labelled."""


class SceneGroup(Config):
    """The scenes of one split."""

    num_scenes: int = Field(default=4, ge=0, le=10_000)
    """How many scenes."""
    frames_per_scene: int = Field(default=10, ge=1, le=1_000)
    """How many key frames each scene has."""
    rain_share: float = Field(default=0.25, ge=0, le=1)
    """Share of the scenes in which it rains: returns are lost and ranges shrink."""
    night_share: float = Field(default=0.25, ge=0, le=1)
    """Share of the scenes at night: the image is dark, the lidar is not affected."""
    rates: ObjectRates = ObjectRates()
    """How many objects of each kind."""


class LidarConfig(Config):
    """A spinning lidar on the roof."""

    num_beams: int = Field(default=32, ge=1, le=256)
    """Number of beams between the two elevations."""
    min_elevation_deg: float = Field(default=-22.0, ge=-89, le=0)
    """Elevation of the lowest beam."""
    max_elevation_deg: float = Field(default=3.0, ge=-45, le=89)
    """Elevation of the highest beam."""
    beam_exponent: float = Field(default=1.4, ge=1, le=3)
    """1 spreads beams evenly; more sets them closer towards the highest, as newer sensors do."""
    azimuth_step_deg: float = Field(default=0.2, ge=0.02, le=5)
    """Angle between two firings."""
    azimuth_view_deg: float = Field(default=90.0, ge=1, le=360)
    """Width of the field of view, centred on forward; 360 is a full rotation."""
    max_range_m: float = Field(default=55.0, ge=5, le=300)
    """No return comes from farther away."""
    range_noise_m: float = Field(default=0.02, ge=0, le=1)
    """Standard deviation of the measured range."""
    dropout: float = Field(default=0.03, ge=0, le=1)
    """Share of returns lost at random."""
    height_m: float = Field(default=1.73, ge=0.2, le=5)
    """Height of the sensor over the road."""
    x_m: float = Field(default=-0.27, ge=-5, le=5)
    """Position of the sensor along the vehicle; the camera is at 0."""

    @model_validator(mode="after")
    def _beams_rise(self) -> Self:
        if self.min_elevation_deg >= self.max_elevation_deg:
            raise ValueError("min_elevation_deg must be less than max_elevation_deg")
        return self


class CameraConfig(Config):
    """A rectified front camera."""

    width_px: int = Field(default=1242, ge=16, le=8192)
    """Image width."""
    height_px: int = Field(default=375, ge=16, le=8192)
    """Image height."""
    focal_px: float = Field(default=707.0, gt=0)
    """Focal length."""
    height_m: float = Field(default=1.65, ge=0.2, le=5)
    """Height of the camera over the road."""
    y_m: float = Field(default=0.06, ge=-2, le=2)
    """Position of the camera to the left of the vehicle's middle."""


class WorldConfig(Config):
    """A synthetic driving world; equal configs give equal worlds, byte for byte."""

    seed: int = Field(default=0, ge=0, lt=2**31)
    """Seed of everything random."""
    train: SceneGroup = SceneGroup(num_scenes=12)
    """Labelled scenes to train on."""
    val: SceneGroup = SceneGroup(num_scenes=4)
    """Labelled scenes to evaluate on."""
    pool: SceneGroup = SceneGroup(num_scenes=8)
    """Scenes whose frames are written without labels."""
    keyframe_interval_s: float = Field(default=1.0, ge=0.1, le=10)
    """Time between two frames of a scene; 0.1 is every rotation of a 10 Hz lidar."""
    min_points: int = Field(default=3, ge=0, le=1_000)
    """Objects with fewer lidar points are not labelled; the image ignores their place."""
    lidar: LidarConfig = LidarConfig()
    """The lidar."""
    camera: CameraConfig = CameraConfig()
    """The camera."""
    images: bool = True
    """Whether images are rendered; without, frames keep the camera's calibration."""
    image_labels: bool = False
    """Whether labelled frames also have boxes in the image."""

    def group(self, split: SplitName) -> SceneGroup:
        """Return the scenes of a split."""
        return {"train": self.train, "val": self.val, "pool": self.pool}[split]

    @property
    def num_frames(self) -> int:
        """Number of frames of all splits."""
        return sum(g.num_scenes * g.frames_per_scene for g in (self.train, self.val, self.pool))

    @property
    def digest(self) -> str:
        """SHA-256 of everything that decides what the world looks like."""
        content = json.dumps(self.to_json_dict(), sort_keys=True)
        return hashlib.sha256(f"{WORLD_VERSION} {content}".encode()).hexdigest()
