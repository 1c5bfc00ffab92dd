"""Families of detectors: the built-in ones and those that other packages bring.

A package adds one with an entry point in the group ``admlops.models``::

    [project.entry-points."admlops.models"]
    my_kind = "my_package.detector:FAMILY"      # a DetectorFamily whose kind is "my_kind"
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

import numpy as np
from numpy.typing import NDArray

from admlops.detection.config import CenterPointConfig, PillarDetectorConfig, PointPillarsConfig
from admlops.detection.decode import decode_anchors, decode_centers
from admlops.detection.targets import Targets, anchor_targets, center_targets
from admlops.errors import ConfigError
from admlops.structures.boxes import Boxes

ENTRY_POINT_GROUP = "admlops.models"

MakeTargets = Callable[[NDArray[np.floating], NDArray[np.int64], Any], Targets]
Decode = Callable[[Mapping[str, NDArray[np.float32]], Any], Boxes]


@dataclass(frozen=True, slots=True)
class DetectorFamily:
    """One kind of detector.

    Attributes:
        kind: the value of the config's field of that name.
        config_type: the config, a subclass of `PillarDetectorConfig`.
        decode: from the network's outputs (batch of one) and the config to boxes.
        make_targets: from (N, 7) boxes, (N,) category indices and the config to training targets.
        detector: "module:function", which takes the config and returns the torch `Detector`;
            a name, because detection must not import torch.
    """

    kind: str
    config_type: type[PillarDetectorConfig]
    decode: Decode
    make_targets: MakeTargets
    detector: str

    def import_detector(self) -> Callable[[Any], Any]:
        """Import and return the function that builds the torch detector."""
        module, _, name = self.detector.partition(":")
        function: Callable[[Any], Any] = getattr(import_module(module), name)
        return function


NATIVE_FAMILIES = (
    DetectorFamily(
        "pointpillars",
        PointPillarsConfig,
        decode_anchors,
        anchor_targets,
        "admlops.models.detector:pointpillars",
    ),
    DetectorFamily(
        "centerpoint",
        CenterPointConfig,
        decode_centers,
        center_targets,
        "admlops.models.detector:centerpoint",
    ),
)


def find_family(kind: str) -> DetectorFamily:
    """Return the family of a kind: a built-in one or one from an entry point.

    Raises:
        ConfigError: there is none; the message lists the choices.
    """
    for family in NATIVE_FAMILIES:
        if family.kind == kind:
            return family
    for entry in entry_points(group=ENTRY_POINT_GROUP, name=kind):
        family = entry.load()
        if not isinstance(family, DetectorFamily):
            raise ConfigError(
                f"entry point {entry.name} = {entry.value} is no DetectorFamily; "
                "see admlops.detection.families"
            )
        return family
    names = [family.kind for family in NATIVE_FAMILIES]
    names += sorted({entry.name for entry in entry_points(group=ENTRY_POINT_GROUP)})
    raise ConfigError(f"no detector of kind {kind!r} is installed; kinds are {', '.join(names)}")
