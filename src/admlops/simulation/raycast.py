"""Casts the rays of a spinning sensor at solids and at the ground; compiled loops."""

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from admlops.simulation.solids import Solids

NOTHING = -2
GROUND = -1


@dataclass(frozen=True, slots=True)
class Hits:
    """What each of B x C rays (beams by columns) hits first.

    Attributes:
        range_m: (B, C) float64, infinite where nothing is hit.
        owner: (B, C) int64 object, `GROUND` or `NOTHING`.
        material: (B, C) int64; 0 for the ground, to be refined by who knows the road.
        cosine: (B, C) float64 of the angle between ray and surface normal.
        num_alone: (N,) int64 rays that would hit each object if it stood alone.
    """

    range_m: NDArray[np.float64]
    owner: NDArray[np.int64]
    material: NDArray[np.int64]
    cosine: NDArray[np.float64]
    num_alone: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Rays:
    """The directions of a rotation: every beam at every column.

    Attributes:
        origin_m: (3,) where the rays start.
        elevation_rad: (B,) rising.
        azimuth_rad: (C,) rising in equal steps, counter-clockwise from x.
        max_range_m: farthest hit.
    """

    origin_m: NDArray[np.float64]
    elevation_rad: NDArray[np.float64]
    azimuth_rad: NDArray[np.float64]
    max_range_m: float

    def directions(self, beam: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return (N, 3) unit vectors of the rays with these beams and columns."""
        flat = np.cos(self.elevation_rad)[beam]
        along, across = np.cos(self.azimuth_rad)[column], np.sin(self.azimuth_rad)[column]
        return np.column_stack([flat * along, flat * across, np.sin(self.elevation_rad)[beam]])


def cast_rays(rays: Rays, solids: Solids, num_objects: int, waves: NDArray[np.float64]) -> Hits:
    """Return what the rays hit first.

    Args:
        rays: the rotation, in the ego frame.
        solids: the solids, in the ego frame.
        num_objects: N, more than any owner.
        waves: (W, 4) the ground, see `ground_height`.
    """
    shape = (len(rays.elevation_rad), len(rays.azimuth_rad))
    hits = Hits(
        np.full(shape, np.inf),
        np.full(shape, NOTHING, dtype=np.int64),
        np.zeros(shape, dtype=np.int64),
        np.ones(shape),
        np.zeros(num_objects, dtype=np.int64),
    )
    buffers = (hits.range_m, hits.owner, hits.material, hits.cosine)
    angles = (np.sin(rays.elevation_rad), np.cos(rays.elevation_rad), rays.azimuth_rad)
    limits = (*(float(value) for value in rays.origin_m), rays.max_range_m)
    _cast_at_ground(limits, angles, waves, buffers)
    table = np.ascontiguousarray(solids.table)
    _cast_at_solids(limits, angles, (table, solids.owner, solids.material), buffers, hits.num_alone)
    return hits


@njit(cache=True)
def ground_height(x: float, y: float, waves: NDArray[np.float64]) -> float:
    """Return the ground's height at x, y.

    Args:
        x: metres.
        y: metres.
        waves: (W, 4) amplitude, wave number along x, along y, phase. A row with amplitude zero
            is a slope instead: its wave numbers are the rise per metre, its phase an offset.
    """
    height = 0.0
    for row in range(len(waves)):
        amplitude, along, across, phase = waves[row]
        if amplitude == 0.0:
            height += along * x + across * y + phase
        else:
            height += amplitude * math.sin(along * x + across * y + phase)
    return height


@njit(cache=True)
def ground_heights(
    x_m: NDArray[np.float64], y_m: NDArray[np.float64], waves: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (N,) heights of the ground, see `ground_height`."""
    heights = np.empty(len(x_m))
    for index in range(len(x_m)):
        heights[index] = ground_height(x_m[index], y_m[index], waves)
    return heights


@njit(cache=True)
def _cast_at_ground(limits, angles, waves, buffers):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Meet the ground by fixed-point steps; rays too shallow to settle hit nothing."""
    origin_x, origin_y, origin_z, max_range = limits
    sines, cosines, azimuths = angles
    ranges, owners, _, normals = buffers
    along, across = np.cos(azimuths), np.sin(azimuths)
    for beam in range(len(sines)):
        if sines[beam] > 0.01:
            break
        level = 0.0
        for column in range(len(azimuths)):
            dx, dy = cosines[beam] * along[column], cosines[beam] * across[column]
            dz = min(sines[beam], -1e-4)
            distance = (level - origin_z) / dz
            error = 1.0
            for _step in range(8):
                distance = min(distance, 2.0 * max_range)
                level = ground_height(origin_x + distance * dx, origin_y + distance * dy, waves)
                settled = (level - origin_z) / dz
                error = abs(settled - distance)
                distance = settled
                if error < 0.003:
                    break
            if error < 0.05 and 0.0 < distance < max_range:
                ranges[beam, column] = distance
                owners[beam, column] = -1
                normals[beam, column] = -dz


@njit(cache=True)
def _window(solid, limits, angles):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Return the beams and columns (first, past the last) that may hit a solid."""
    sines, cosines, azimuths = angles
    x, y = solid[0] - limits[0], solid[1] - limits[1]
    low, high = solid[2] - limits[2], solid[2] + solid[9] - limits[2]
    across = max(solid[5], solid[7])
    along = max(solid[4], solid[6] + abs(solid[8]))
    radius = along if solid[10] > 0.0 else math.hypot(along, across)
    distance = math.hypot(x, y)
    period = round(2.0 * math.pi / (azimuths[1] - azimuths[0]))
    if distance - radius > limits[3]:
        return 0, 0, 0, 0, period
    near, far = max(distance - radius, 0.05), distance + radius
    lowest = low / near if low < 0.0 else low / far
    highest = high / near if high > 0.0 else high / far
    first_beam = 0
    while first_beam < len(sines) and sines[first_beam] < lowest * cosines[first_beam]:
        first_beam += 1
    last_beam = first_beam
    while last_beam < len(sines) and sines[last_beam] <= highest * cosines[last_beam]:
        last_beam += 1
    if distance <= radius:
        return first_beam, last_beam, 0, period, period
    half = math.asin(radius / distance)
    step = azimuths[1] - azimuths[0]
    centre = math.atan2(y, x) - azimuths[0]
    first = math.floor((centre - half) / step)
    last = math.ceil((centre + half) / step) + 1
    return first_beam, last_beam, first, min(last, first + period), period


@njit(cache=True)
def _meet_round(solid, x, y, z, dx, dy, dz):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, PLR0913
    """Return range and cosine where a ray enters a cone's frustum, or -1."""
    height = solid[9]
    rate = (solid[6] - solid[4]) / height
    lean = solid[8] / height
    # In coordinates that follow the leaning axis the solid is an upright cone.
    ox, ux = x - lean * z, dx - lean * dz
    radius, growth = solid[4] + rate * z, rate * dz
    a = ux * ux + dy * dy - growth * growth
    b = ox * ux + y * dy - radius * growth
    c = ox * ox + y * y - radius * radius
    best, cosine = -1.0, 0.0
    square = b * b - a * c
    if square > 0.0 and abs(a) > 1e-12:
        distance = (-b - math.sqrt(square)) / a
        level = z + distance * dz
        if distance > 0.0 and 0.0 <= level <= height:
            best = distance
            nx, ny = ox + distance * ux, y + distance * dy
            size = math.hypot(nx, ny) + 1e-9
            cosine = abs(nx * dx + ny * dy) / size
    for face in range(2):
        level, size = (0.0, solid[4]) if face == 0 else (height, solid[6])
        if dz == 0.0 or (face == 0) != (dz > 0.0):
            continue
        distance = (level - z) / dz
        if distance > 0.0 and (best < 0.0 or distance < best):
            px, py = ox + distance * ux, y + distance * dy
            if px * px + py * py <= size * size:
                best, cosine = distance, abs(dz)
    return best, cosine


@njit(cache=True)
def _cut(inside, rate, size, span):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Cut the span (enter, leave, cosine) of a ray by a plane; leave < enter means empty.

    `inside` is the start's signed distance beyond the plane, `rate` its change along the ray, both
    times `size`, the length of the plane's normal.
    """
    enter, leave, cosine = span
    if rate < 0.0:
        crossing = -inside / rate
        if crossing > enter:
            enter, cosine = crossing, -rate / size
    elif rate > 0.0:
        leave = min(leave, -inside / rate)
    elif inside > 0.0:
        leave = -1.0
    return enter, leave, cosine


@njit(cache=True)
def _meet_box(solid, x, y, z, dx, dy, dz):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, PLR0913
    """Return range and cosine where a ray enters a tapered box, or -1: clipping by six planes."""
    height = solid[9]
    span = _cut(z - height, dz, 1.0, (0.0, 1e30, 0.0))
    span = _cut(-z, -dz, 1.0, span)
    if span[0] > span[1]:
        return -1.0, 0.0
    side = (solid[7] - solid[5]) / height
    size = math.hypot(1.0, side)
    span = _cut(y - solid[5] - side * z, dy - side * dz, size, span)
    span = _cut(-y - solid[5] - side * z, -dy - side * dz, size, span)
    if span[0] > span[1]:
        return -1.0, 0.0
    front = (solid[6] - solid[4] + solid[8]) / height
    span = _cut(x - solid[4] - front * z, dx - front * dz, math.hypot(1.0, front), span)
    rear = (solid[6] - solid[4] - solid[8]) / height
    span = _cut(-x - solid[4] - rear * z, -dx - rear * dz, math.hypot(1.0, rear), span)
    if span[0] > span[1] or span[0] <= 0.0:
        return -1.0, 0.0
    return span[0], span[2]


@njit(cache=True)
def _cast_at_solids(limits, angles, solids, buffers, num_alone):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    sines, cosines, azimuths = angles
    table, owner_of, material_of = solids
    ranges, owners, materials, normals = buffers
    counted = np.full(ranges.shape, -1, dtype=np.int64)
    azimuth_cos, azimuth_sin = np.cos(azimuths), np.sin(azimuths)
    for index in range(len(table)):
        solid = table[index]
        first_beam, last_beam, first, last, period = _window(solid, limits, angles)
        if first_beam == last_beam:
            continue
        cos_yaw, sin_yaw = math.cos(solid[3]), math.sin(solid[3])
        sx, sy = limits[0] - solid[0], limits[1] - solid[1]
        x, y, z = sx * cos_yaw + sy * sin_yaw, sy * cos_yaw - sx * sin_yaw, limits[2] - solid[2]
        for step in range(first, last):
            column = step % period
            if column >= len(azimuths):
                continue
            along = azimuth_cos[column] * cos_yaw + azimuth_sin[column] * sin_yaw
            across = azimuth_sin[column] * cos_yaw - azimuth_cos[column] * sin_yaw
            for beam in range(first_beam, last_beam):
                dx, dy, dz = along * cosines[beam], across * cosines[beam], sines[beam]
                if solid[10] > 0.0:
                    distance, cosine = _meet_round(solid, x, y, z, dx, dy, dz)
                else:
                    distance, cosine = _meet_box(solid, x, y, z, dx, dy, dz)
                if distance <= 0.0 or distance > limits[3]:
                    continue
                if counted[beam, column] != owner_of[index]:
                    counted[beam, column] = owner_of[index]
                    num_alone[owner_of[index]] += 1
                if distance < ranges[beam, column]:
                    ranges[beam, column] = distance
                    owners[beam, column] = owner_of[index]
                    materials[beam, column] = material_of[index]
                    normals[beam, column] = cosine
