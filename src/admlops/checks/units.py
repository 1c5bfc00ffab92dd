"""Which unit are lengths in? Sizes of known objects and the height of the sensor tell."""

import math

import numpy as np
from numpy.typing import NDArray

UNITS_PER_METRE: dict[str, float] = {
    "metres": 1.0,
    "feet": 1.0 / 0.3048,
    "inches": 1.0 / 0.0254,
    "centimetres": 100.0,
    "millimetres": 1000.0,
}

TYPICAL_SIZE_M: dict[str, tuple[float, float, float]] = {
    "car": (4.2, 1.8, 1.6),
    "van": (5.1, 1.9, 2.2),
    "truck": (9.0, 2.6, 3.2),
    "bus": (11.0, 2.9, 3.4),
    "tram": (16.0, 2.5, 3.5),
    "pedestrian": (0.8, 0.6, 1.75),
    "person_sitting": (0.8, 0.6, 1.3),
    "cyclist": (1.8, 0.6, 1.75),
    "bicycle": (1.7, 0.6, 1.3),
    "motorcycle": (2.1, 0.8, 1.5),
}
"""Length, width and height of common categories. Source: means of the KITTI and nuScenes labels."""

FAR_POINTS_M = 800.0
MIN_SENSOR_HEIGHT_M = 0.5
TOLERANCE = 1.35


def name_unit(factor: float) -> str | None:
    """Return the unit that is `factor` to the metre, or None if no unit is near."""
    if not math.isfinite(factor) or factor <= 0.0:
        return None
    name = min(UNITS_PER_METRE, key=lambda unit: abs(math.log(factor / UNITS_PER_METRE[unit])))
    ratio = factor / UNITS_PER_METRE[name]
    return name if 1 / TOLERANCE < ratio < TOLERANCE else None


def name_size_unit(categories: NDArray[np.object_], size_m: NDArray[np.float64]) -> str | None:
    """Return the unit of (N, 3) sizes, judged by the categories with a typical size.

    Each box votes with its geometric mean size against its category's. None means that no category
    is known, or that no unit fits.
    """
    known = np.array([category in TYPICAL_SIZE_M for category in categories], dtype=bool)
    valid = known & (size_m > 0).all(axis=1)
    if not valid.any():
        return None
    typical = np.array([TYPICAL_SIZE_M[category] for category in categories[valid]])
    ratio = np.exp(np.log(size_m[valid] / typical).mean(axis=1))
    return name_unit(float(np.median(ratio)))


def name_point_unit(points: NDArray[np.floating], sensor_height_m: float) -> str:
    """Return the unit of (P, >= 3) points in the sensor frame; "metres" unless others fit better.

    The ground lies the sensor's height below it, whatever the unit; far points decide where the
    sensor frame is on the ground.
    """
    finite = points[np.isfinite(points[:, :3]).all(axis=1), :3].astype(np.float64)
    if len(finite) == 0:
        return "metres"
    reach = float(np.quantile(np.hypot(finite[:, 0], finite[:, 1]), 0.95))
    if sensor_height_m > MIN_SENSOR_HEIGHT_M:
        unit = name_unit(-ground_mode(finite) / sensor_height_m)
        if unit is not None and (unit == "feet" or reach > FAR_POINTS_M or unit == "metres"):
            return unit
    if reach > FAR_POINTS_M:
        return "millimetres" if reach > 8 * FAR_POINTS_M else "centimetres"
    return "metres"


def ground_mode(points: NDArray[np.floating]) -> float:
    """Return the most common height among the lower half of (P, >= 3) points, in their unit."""
    height = points[:, 2]
    low = height[height <= np.median(height)]
    if len(low) == 0:
        return 0.0
    start, stop = np.quantile(low, [0.02, 1.0])
    if stop - start < 1e-9:
        return float(start)
    counts, edges = np.histogram(low, bins=64, range=(start, stop))
    peak = int(np.argmax(counts))
    return float((edges[peak] + edges[peak + 1]) / 2)
