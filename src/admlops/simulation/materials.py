"""Surfaces: how they reflect the laser and what colour they have in the image."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ASPHALT, MARKING, PAVEMENT, GRASS = 0, 1, 2, 3
GLASS, RUBBER, LAMP, METAL, SKIN, WOOD, FOLIAGE = 4, 5, 6, 7, 8, 9, 10
PAINTS = (11, 12, 13, 14, 15, 16)
CLOTHS = (17, 18, 19, 20)
FACADES = (21, 22, 23, 24)
PLASTICS = (25, 26)

_TABLE: tuple[tuple[float, float, tuple[int, int, int]], ...] = (
    (0.14, 1.0, (92, 92, 96)),
    (0.70, 1.0, (205, 205, 200)),
    (0.26, 1.0, (150, 146, 140)),
    (0.34, 0.95, (96, 118, 70)),
    (0.20, 0.45, (58, 72, 86)),
    (0.06, 0.75, (34, 34, 36)),
    (0.95, 1.0, (226, 196, 120)),
    (0.55, 0.95, (128, 132, 136)),
    (0.50, 1.0, (206, 164, 138)),
    (0.30, 0.95, (98, 74, 52)),
    (0.40, 0.75, (66, 104, 52)),
    (0.62, 0.97, (224, 224, 226)),
    (0.22, 0.92, (40, 42, 48)),
    (0.48, 0.97, (150, 154, 160)),
    (0.42, 0.97, (164, 34, 36)),
    (0.36, 0.97, (40, 70, 138)),
    (0.45, 0.97, (178, 150, 96)),
    (0.30, 0.97, (44, 48, 66)),
    (0.45, 0.97, (160, 60, 60)),
    (0.60, 0.97, (210, 206, 190)),
    (0.38, 0.97, (52, 98, 92)),
    (0.36, 1.0, (172, 120, 92)),
    (0.46, 1.0, (204, 192, 168)),
    (0.40, 1.0, (146, 150, 156)),
    (0.50, 1.0, (214, 202, 140)),
    (0.34, 0.97, (46, 92, 60)),
    (0.42, 0.97, (120, 116, 108)),
)


@dataclass(frozen=True, slots=True)
class Materials:
    """All surfaces, one row per material number.

    Attributes:
        reflectance: (M,) float64, share of the light that comes back from a surface faced squarely.
        returns: (M,) float64, probability that a pulse returns at all (glass lets most through).
        colour: (M, 3) float64, red green blue in [0, 255] by day.
    """

    reflectance: NDArray[np.float64]
    returns: NDArray[np.float64]
    colour: NDArray[np.float64]


def all_materials() -> Materials:
    """Return the table of materials; the constants of this module are its row numbers."""
    return Materials(
        reflectance=np.array([row[0] for row in _TABLE]),
        returns=np.array([row[1] for row in _TABLE]),
        colour=np.array([row[2] for row in _TABLE], dtype=np.float64),
    )
