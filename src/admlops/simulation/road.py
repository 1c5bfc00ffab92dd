"""The road of a scene: a gently curved strip over gently waving ground."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from admlops.simulation.raycast import ground_heights

LANE_WIDTH_M = 3.5
KERB_GAP_M = 2.3
PAVEMENT_WIDTH_M = 3.0


@dataclass(frozen=True, slots=True)
class Road:
    """A road of constant curvature that starts at the scene's origin along x.

    Positions on it are `along` (arc length of the middle line) and `left` (offset from it).

    Attributes:
        curvature_per_m: positive turns left; never zero.
        num_lanes: lanes in each direction.
        waves: (W, 4) the ground's height in the scene's frame, see `ground_height`.
    """

    curvature_per_m: float
    num_lanes: int
    waves: NDArray[np.float64]

    @property
    def kerb_m(self) -> float:
        """Offset of the kerb from the middle line; the parking strip ends there."""
        return self.num_lanes * LANE_WIDTH_M + KERB_GAP_M

    def place(
        self, along_m: NDArray[np.float64], left_m: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return (N, 3) positions on the ground and (N,) the road's direction there."""
        heading = self.curvature_per_m * along_m
        radius = 1.0 / self.curvature_per_m
        x = radius * np.sin(heading) - left_m * np.sin(heading)
        y = radius * (1.0 - np.cos(heading)) + left_m * np.cos(heading)
        return np.column_stack([x, y, ground_heights(x, y, self.waves)]), heading


def draw_road(random: np.random.Generator) -> Road:
    """Return a random road."""
    curvature = random.uniform(1 / 2000, 1 / 130) * random.choice([-1.0, 1.0])
    slope = np.array([[0.0, *random.normal(0.0, 0.008, 2), 0.0]])
    length = random.uniform(35, 90, 3)
    direction = random.uniform(-np.pi, np.pi, 3)
    number = 2 * np.pi / length
    swell = np.column_stack(
        [
            0.0012 * length,
            number * np.cos(direction),
            number * np.sin(direction),
            random.uniform(-np.pi, np.pi, 3),
        ]
    )
    return Road(float(curvature), int(random.integers(1, 3)), np.concatenate([slope, swell]))


def waves_in_ego(
    waves: NDArray[np.float64], position_m: NDArray[np.float64], yaw_rad: float
) -> NDArray[np.float64]:
    """Return the ground's waves seen from a vehicle that stands on it; zero height is under it."""
    cosine, sine = np.cos(yaw_rad), np.sin(yaw_rad)
    moved = waves.copy()
    x, y = waves[:, 1], waves[:, 2]
    moved[:, 1], moved[:, 2] = x * cosine + y * sine, y * cosine - x * sine
    moved[:, 3] += x * position_m[0] + y * position_m[1]
    level = np.array([[0.0, 0.0, 0.0, -position_m[2]]])
    return np.concatenate([moved, level])
