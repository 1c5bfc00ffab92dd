"""Detectors of regions in images that must be blurred: the interface, and how one is found."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from admlops.errors import ConfigError

ENTRY_POINT_GROUP = "admlops.region_detectors"
"""Entry points of this group are callables like `OpenDetector`, named by their kind."""

_BUILT_IN: Mapping[str, str] = MappingProxyType(
    {"fastestdet": "admlops.collection.fastestdet:FastestDet"}
)


@dataclass(frozen=True, slots=True)
class Regions:
    """Where something was seen in one image.

    Attributes:
        box_px: (N, 4) float64 left top right bottom.
        category: (N,) object array of str.
        score: (N,) float64 in [0, 1].
    """

    box_px: NDArray[np.float64]
    category: NDArray[np.object_]
    score: NDArray[np.float64]


class RegionDetector(Protocol):
    """Finds regions in images; the object can be sent to another process."""

    @property
    def digest(self) -> str:
        """SHA-256 of what it was made from."""
        ...

    @property
    def categories(self) -> tuple[str, ...]:
        """All categories that it can find."""
        ...

    def detect(self, pixels: NDArray[np.uint8]) -> Regions:
        """Return what is in an image of (H, W, 3) red green blue.

        Raises:
            DataError: it cannot tell; the frame is then refused. Any other error ends the run.
        """
        ...


class OpenDetector(Protocol):
    """Makes a detector from its file."""

    def __call__(self, file: Path) -> RegionDetector:
        """Return the detector.

        Raises:
            ConfigError: the file is absent or not what it must be.
        """
        ...


def open_detector(kind: str, file: Path) -> RegionDetector:
    """Return a detector of a kind: a built-in one or one from an entry point.

    Raises:
        ConfigError: there is no such kind, or the file is absent or not what it must be.
    """
    opener: OpenDetector
    if kind in _BUILT_IN:
        module, _, name = _BUILT_IN[kind].partition(":")
        opener = getattr(import_module(module), name)
        return opener(file)
    for entry in entry_points(group=ENTRY_POINT_GROUP, name=kind):
        opener = entry.load()
        return opener(file)
    names = [*_BUILT_IN, *sorted({entry.name for entry in entry_points(group=ENTRY_POINT_GROUP)})]
    raise ConfigError(
        f"no region detector of kind {kind!r} is installed; kinds are {', '.join(names)}"
    )
