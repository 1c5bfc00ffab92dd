"""Who can fulfil a label request: the simulator, a delivered folder, or a vendor."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from admlops.annotation.acceptance_config import AcceptanceConfig
from admlops.annotation.package import CloudFormat
from admlops.config import Config
from admlops.errors import DataError
from admlops.formats.kitti.source import open_folder
from admlops.formats.source import ReadOptions, read_all
from admlops.simulation.config import WorldConfig
from admlops.simulation.vendor import VendorConfig
from admlops.simulation.world import oracle_labels
from admlops.structures.boxes import Boxes
from admlops.structures.finding import Finding
from admlops.structures.frame import FrameKey


class OracleAnnotator(Config):
    """The simulator, which knows the truth about its own frames."""

    kind: Literal["oracle"] = "oracle"
    """Tells the annotators apart."""
    world: WorldConfig = WorldConfig()
    """The world that the frames were simulated with."""

    def label(self, keys: list[FrameKey]) -> dict[FrameKey, Boxes]:
        """Return the truth about the frames."""
        return oracle_labels(self.world, keys)


class FolderAnnotator(Config):
    """A delivery of labels in the KITTI object layout, with the frames' lidar and calibration."""

    kind: Literal["folder"] = "folder"
    """Tells the annotators apart."""
    path: Path
    """The delivered folder."""

    def label(self, keys: list[FrameKey]) -> dict[FrameKey, Boxes]:
        """Return the delivered labels of the frames.

        Raises:
            DataError: a frame is not in the delivery, or its label file is bad.
        """
        wanted = set(keys)
        labels: dict[FrameKey, Boxes] = {}
        problems: list[Finding] = []
        for item in read_all(open_folder(self.path, ReadOptions())):
            if isinstance(item, Finding):
                problems.append(item)
            elif item.key in wanted and item.boxes is not None:
                labels[item.key] = item.boxes
        missing = [key for key in keys if key not in labels]
        if missing:
            reason = f" The first finding there: {problems[0]}" if problems else ""
            raise DataError(
                f"{self.path}: no labels of {len(missing)} of {len(keys)} requested frames, "
                f"for example {missing[0]}; ask for them.{reason}"
            )
        return {key: labels[key] for key in keys}


class SimulatedVendor(Config):
    """A vendor that labels at once, from what the simulator knows, with mistakes."""

    world: WorldConfig = WorldConfig()
    """The world that the frames were simulated with."""
    work: VendorConfig = VendorConfig()
    """How carefully it works."""


class VendorAnnotator(Config):
    """A vendor: gets a package with hidden gold frames, and its delivery is judged."""

    kind: Literal["vendor"] = "vendor"
    """Tells the annotators apart."""
    exchange: Path | None = None
    """Folder where packages go out and deliveries come in, each in a folder called like its
    package; on a cluster, a mounted volume. None is for a simulated vendor only."""
    acceptance: AcceptanceConfig = AcceptanceConfig()
    """How deliveries are judged."""
    gold: str = "true"
    """SQL condition on the view `frames` that labelled frames meet to be gold."""
    gold_share: float | None = Field(default=None, ge=0, lt=1)
    """Share of the package's frames that are gold; None takes the definition's."""
    guideline: Path | None = None
    """HTML page for the vendor; None makes one from the definition."""
    cloud_format: CloudFormat = "pcd"
    """How points are written: PCD, or as in KITTI."""
    cameras: bool = True
    """Whether images are sent."""
    archive: bool = False
    """Whether the package is also written as one ZIP file."""
    simulated: SimulatedVendor | None = None
    """Stands in for the vendor and replaces its delivery."""

    @model_validator(mode="after")
    def _somewhere_to_deliver(self) -> Self:
        if self.exchange is None and self.simulated is None:
            raise ValueError("exchange is required: a vendor needs a folder to deliver into")
        return self
