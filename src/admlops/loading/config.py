"""How frames are prepared for training."""

from typing import Annotated

from pydantic import Field

from admlops.config import Config

NotNegative = Annotated[float, Field(ge=0)]


class AugmentationConfig(Config):
    """Random changes that keep labels true; the defaults are those of the PointPillars paper."""

    flip_probability: Annotated[float, Field(ge=0, le=1)] = 0.5
    """How often left and right are exchanged."""
    rotation_rad: NotNegative = 0.7853981633974483
    """Largest turn about the vertical axis, either way."""
    scale_share: Annotated[float, Field(ge=0, lt=0.5)] = 0.05
    """Largest change of scale, up or down."""
    translation_m: NotNegative = 0.2
    """Standard deviation of a shift of the whole cloud, along each axis."""
    object_rotation_rad: NotNegative = 0.15707963267948966
    """Largest turn of a single object, either way."""
    object_translation_m: NotNegative = 0.25
    """Standard deviation of a single object's shift, along each axis."""
    objects_per_frame: dict[str, Annotated[int, Field(ge=0)]] = Field(
        default_factory=lambda: {"car": 15, "cyclist": 8}
    )
    """Ground-truth sampling: up to how many objects a frame is filled, by category."""
    min_sampled_points: Annotated[int, Field(ge=1)] = 5
    """Objects with fewer points are not put into other frames."""

    @classmethod
    def none(cls) -> "AugmentationConfig":
        """Return settings that change nothing."""
        return cls(
            flip_probability=0,
            rotation_rad=0,
            scale_share=0,
            translation_m=0,
            object_rotation_rad=0,
            object_translation_m=0,
            objects_per_frame={},
        )


class LoadingConfig(Config):
    """Which frames are read, and what is done to them."""

    split: str = "train"
    """Split of the dataset that is read."""
    condition: str = ""
    """SQL on the view `frames` that the frames must also meet, for example a tag."""
    camera_view: bool = False
    """Whether points outside the front camera's image are dropped, where labels end with it."""
    min_points: Annotated[int, Field(ge=0)] = 1
    """Boxes with fewer lidar points are not trained on; boxes of unknown count are."""
    augmentation: AugmentationConfig = AugmentationConfig()
    """Random changes in training."""
    cache_mib: Annotated[int, Field(ge=0)] = 512
    """Memory in which read frames are kept, so that small datasets are read once."""
