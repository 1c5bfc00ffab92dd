"""Turns ideal hits into what a lidar reports: lost returns, noisy ranges, intensities."""

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from admlops.simulation.config import LidarConfig
from admlops.simulation.materials import ASPHALT, GRASS, MARKING, PAVEMENT, all_materials
from admlops.simulation.raycast import GROUND, Hits, Rays
from admlops.simulation.road import LANE_WIDTH_M, PAVEMENT_WIDTH_M, Road

_REFERENCE_RANGE_M = 110.0
_RAIN_EXTINCTION_PER_M = 0.010
_RAIN_DROPOUT = 0.12
_RAIN_ECHOES = 0.004
_GROUND_ROUGHNESS_M = 0.012
_LINE_HALF_WIDTH_M = 0.09
_DASH_M, _DASH_PERIOD_M = 4.0, 9.0


@dataclass(frozen=True, slots=True)
class Pose2:
    """Where the vehicle is in the scene: x, y in metres and yaw in radians."""

    x_m: float
    y_m: float
    yaw_rad: float


def make_rays(config: LidarConfig) -> Rays:
    """Return the directions of one rotation, in the ego frame."""
    num_columns = max(2, round(config.azimuth_view_deg / config.azimuth_step_deg))
    middle = (num_columns - 1) / 2
    azimuth_deg = (np.arange(num_columns) - middle) * config.azimuth_step_deg
    below = np.linspace(1.0, 0.0, config.num_beams) ** config.beam_exponent
    height_deg = config.max_elevation_deg - config.min_elevation_deg
    elevation_deg = config.max_elevation_deg - height_deg * below
    origin_m = np.array([config.x_m, 0.0, config.height_m])
    return Rays(origin_m, np.radians(elevation_deg), np.radians(azimuth_deg), config.max_range_m)


def ground_materials(
    road: Road, pose: Pose2, x_m: NDArray[np.float64], y_m: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return (N,) materials of ground points given in the ego frame."""
    place = (pose.x_m, pose.y_m, pose.yaw_rad)
    return _paint(place, road.curvature_per_m, road.num_lanes, road.kerb_m, (x_m, y_m))


@njit(cache=True)
def _paint(place, curvature, num_lanes, kerb, points):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Find each point's offset from the road's middle line; the arc length only where dashed."""
    x_m, y_m = points
    cosine, sine = math.cos(place[2]), math.sin(place[2])
    radius = 1.0 / curvature
    sign = 1.0 if radius > 0.0 else -1.0
    material = np.empty(len(x_m), dtype=np.int64)
    for index in range(len(x_m)):
        x = x_m[index] * cosine - y_m[index] * sine + place[0]
        y = x_m[index] * sine + y_m[index] * cosine + place[1]
        left = abs(radius - sign * math.sqrt(x * x + (y - radius) ** 2))
        if left >= kerb:
            material[index] = PAVEMENT if left < kerb + PAVEMENT_WIDTH_M else GRASS
            continue
        material[index] = ASPHALT
        lane = left / LANE_WIDTH_M
        nearest = round(lane)
        if abs(lane - nearest) * LANE_WIDTH_M < _LINE_HALF_WIDTH_M and nearest <= num_lanes:
            along = math.atan2(sign * x, sign * (radius - y)) * radius
            if nearest == num_lanes or along % _DASH_PERIOD_M < _DASH_M:
                material[index] = MARKING
    return material


def measure(
    hits: Hits, rays: Rays, config: LidarConfig, is_rain: bool, random: np.random.Generator
) -> NDArray[np.float32]:
    """Return (N, 4) float32 points x y z intensity in the sensor's frame, in firing order.

    A pulse returns with probability 1 - exp(-signal); the signal falls with range squared and,
    in rain, exponentially. Rain also echoes near the sensor by itself.
    """
    table = all_materials()
    column, beam = np.nonzero(np.isfinite(hits.range_m.T))
    range_m, material = hits.range_m[beam, column], hits.material[beam, column]
    light = table.reflectance[material] * (0.3 + 0.7 * hits.cosine[beam, column])
    if is_rain:
        light *= np.exp(-2.0 * _RAIN_EXTINCTION_PER_M * range_m)
    signal = light * (_REFERENCE_RANGE_M / np.maximum(range_m, 1.0)) ** 2
    lost = 1.0 - (1.0 - config.dropout) * (1.0 - _RAIN_DROPOUT * is_rain)
    probability = (1.0 - np.exp(-signal)) * table.returns[material] * (1.0 - lost)
    draws = random.random((2, len(beam)))
    is_kept = draws[0] < probability
    noise = random.standard_normal((2, len(beam)))
    deviation = config.range_noise_m * (1.0 + 0.5 * is_rain)
    roughness = np.where(hits.owner[beam, column] == GROUND, _GROUND_ROUGHNESS_M, 0.0)
    range_m = range_m + noise[0] * (deviation + roughness)
    if is_rain:
        is_echo = draws[1] < _RAIN_ECHOES
        range_m = np.where(is_echo, np.minimum(range_m, 1.5 + 900.0 * draws[1]), range_m)
        is_kept |= is_echo
    intensity = np.clip(light * (1.0 - 0.003 * range_m) + 0.02 * noise[1], 0.0, 1.0)
    directions = rays.directions(beam[is_kept], column[is_kept])
    points = np.empty((len(directions), 4), dtype=np.float32)
    points[:, :3] = directions * range_m[is_kept, None]
    points[:, 3] = intensity[is_kept]
    return points
