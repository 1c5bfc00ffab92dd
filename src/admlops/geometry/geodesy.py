"""Places on the earth in metres: the WGS 84 ellipsoid, and the plane that touches it at a place.

A place is latitude and longitude in degrees and height over the ellipsoid in metres. Local
coordinates are x east, y north, z up (REP 103, REP 105) of a plane through an origin. Sources:
NIMA TR 8350.2, "Department of Defense World Geodetic System 1984", 3rd edition; for the way back
Bowring, "Transformation from spatial to geographical coordinates", Survey Review 23, 1976.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from admlops.geometry.pose import (
    conjugate_quaternions,
    multiply_quaternions,
    quaternions_about,
    rotate_by_quaternions,
)

SEMI_MAJOR_M: Final = 6_378_137.0
FLATTENING: Final = 1.0 / 298.257_223_563

_SEMI_MINOR_M = SEMI_MAJOR_M * (1.0 - FLATTENING)
_ECCENTRICITY_2 = FLATTENING * (2.0 - FLATTENING)
_SECOND_ECCENTRICITY_2 = _ECCENTRICITY_2 / (1.0 - _ECCENTRICITY_2)
_NUM_STEPS = 3
"""Of Bowring's iteration; for heights to 100 km the second changes nothing above a nanometre."""


def earth_from_places(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (N, 3) earth-centred positions in metres of (N, 3) places."""
    latitude, longitude = np.radians(places[:, 0]), np.radians(places[:, 1])
    sine, cosine, height_m = np.sin(latitude), np.cos(latitude), places[:, 2]
    normal_m = SEMI_MAJOR_M / np.sqrt(1.0 - _ECCENTRICITY_2 * sine**2)
    from_axis_m = (normal_m + height_m) * cosine
    along_m = (normal_m * (1.0 - _ECCENTRICITY_2) + height_m) * sine
    x_m, y_m = from_axis_m * np.cos(longitude), from_axis_m * np.sin(longitude)
    return np.column_stack([x_m, y_m, along_m])


def places_from_earth(positions_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (N, 3) places of (N, 3) earth-centred positions that are not near its centre."""
    from_axis_m = np.hypot(positions_m[:, 0], positions_m[:, 1])
    along_m = positions_m[:, 2]
    reduced = np.arctan2(SEMI_MAJOR_M * along_m, _SEMI_MINOR_M * from_axis_m)
    latitude = np.zeros(len(positions_m))
    for _ in range(_NUM_STEPS):
        rise = along_m + _SECOND_ECCENTRICITY_2 * _SEMI_MINOR_M * np.sin(reduced) ** 3
        run = from_axis_m - _ECCENTRICITY_2 * SEMI_MAJOR_M * np.cos(reduced) ** 3
        latitude = np.arctan2(rise, run)
        reduced = np.arctan2((1.0 - FLATTENING) * np.sin(latitude), np.cos(latitude))
    sine, cosine = np.sin(latitude), np.cos(latitude)
    surface_m = SEMI_MAJOR_M * np.sqrt(1.0 - _ECCENTRICITY_2 * sine**2)
    height_m = from_axis_m * cosine + along_m * sine - surface_m
    longitude = np.arctan2(positions_m[:, 1], positions_m[:, 0])
    return np.column_stack([np.degrees(latitude), np.degrees(longitude), height_m])


def local_from_places(
    origin: NDArray[np.float64], places: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (N, 3) metres east, north and up of an origin (3,), of (N, 3) places."""
    offset_m = earth_from_places(places) - earth_from_places(origin[None])
    return rotate_by_quaternions(conjugate_quaternions(earth_from_local(origin[None])), offset_m)


def places_from_local(
    origin: NDArray[np.float64], local_m: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (N, 3) places of (N, 3) metres east, north and up of an origin (3,)."""
    offset_m = rotate_by_quaternions(earth_from_local(origin[None]), local_m)
    return places_from_earth(offset_m + earth_from_places(origin[None]))


def earth_from_local(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (N, 4) quaternions that turn east, north, up of (N, 3) places to the earth's axes."""
    about_axis = quaternions_about(2, np.radians(places[:, 1] + 90.0))
    return multiply_quaternions(about_axis, quaternions_about(0, np.radians(90.0 - places[:, 0])))


def turns_between(origin: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (N, 4) quaternions from east, north, up of (N, 3) places to that of an origin (3,).

    Verticals are not parallel: over a kilometre they turn by 0.009 degrees, and so does north,
    more where the latitude is high.
    """
    back = conjugate_quaternions(earth_from_local(origin[None]))
    return multiply_quaternions(back, earth_from_local(places))
