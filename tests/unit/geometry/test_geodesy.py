"""Places on the ellipsoid, against numbers that follow from its two axes by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admlops.formats.kitti.oxts import parse_oxts, poses_from_oxts
from admlops.geometry.geodesy import (
    earth_from_local,
    earth_from_places,
    local_from_places,
    places_from_earth,
    places_from_local,
    turns_between,
)
from admlops.geometry.pose import rotate_by_quaternions, rotation_from_quaternion

EQUATOR_RADIUS_M, POLE_RADIUS_M = 6_378_137.0, 6_356_752.314_245
ECCENTRICITY_2 = 1.0 - (POLE_RADIUS_M / EQUATOR_RADIUS_M) ** 2


def test_the_axes_of_the_earth_are_those_of_the_ellipsoid():
    places = np.array([[0, 0, 0], [0, 90, 10], [90, 0, 0], [-90, 0, 5]], dtype=float)
    expected = [
        [EQUATOR_RADIUS_M, 0, 0],
        [0, EQUATOR_RADIUS_M + 10, 0],
        [0, 0, POLE_RADIUS_M],
        [0, 0, -POLE_RADIUS_M - 5],
    ]
    np.testing.assert_allclose(earth_from_places(places), expected, atol=1e-6)


def test_a_place_halfway_to_the_pole():
    """At 45 degrees the normal is a / sqrt(1 - e^2 / 2) = 6,388,838.290 m long."""
    position = earth_from_places(np.array([[45.0, 0.0, 0.0]]))[0]
    normal_m = 6_388_838.290_122
    expected = [normal_m * np.sqrt(0.5), 0, normal_m * (1 - ECCENTRICITY_2) * np.sqrt(0.5)]
    np.testing.assert_allclose(position, expected, atol=1e-4)
    np.testing.assert_allclose(position, [4_517_590.879, 0, 4_487_348.409], atol=1e-3)


def test_a_second_of_arc_in_metres():
    """On the equator a second is 30.922 m east, and 30.715 m north: a (1 - e^2) pi / 648000."""
    second = 1.0 / 3600.0
    places = np.array([[0.0, second, 0.0], [second, 0.0, 0.0], [0.0, 0.0, 7.0]])
    local_m = local_from_places(np.zeros(3), places)
    expected = [[30.922_08, 0, 0], [0, 30.715_05, 0], [0, 0, 7]]
    np.testing.assert_allclose(local_m, expected, atol=1e-4)


def test_a_second_of_arc_at_sixty_degrees():
    """N = a / sqrt(1 - 3 e^2 / 4), M = N (1 - e^2) / (1 - 3 e^2 / 4); a parallel has half of N."""
    rest = 1.0 - 0.75 * ECCENTRICITY_2
    normal_m = EQUATOR_RADIUS_M / np.sqrt(rest)
    meridian_m = normal_m * (1 - ECCENTRICITY_2) / rest
    second_rad = np.pi / 648_000
    origin = np.array([60.0, 10.0, 0.0])
    places = origin + np.array([[0, 1 / 3600, 0], [1 / 3600, 0, 0]])
    local_m = local_from_places(origin, places)
    assert local_m[0, 0] == pytest.approx(0.5 * normal_m * second_rad, abs=1e-6)
    assert local_m[1, 1] == pytest.approx(meridian_m * second_rad, abs=1e-4)


def test_far_away_the_earth_falls_off_below_the_plane():
    """Ten kilometres away it lies d^2 / 2 R = 7.84 m lower."""
    origin = np.array([0.0, 0.0, 0.0])
    place = np.array([[0.0, np.degrees(10_000 / EQUATOR_RADIUS_M), 0.0]])
    drop_m = local_from_places(origin, place)[0, 2]
    assert drop_m == pytest.approx(-(10_000**2) / (2 * EQUATOR_RADIUS_M), abs=1e-3)


@settings(max_examples=200, deadline=None)
@given(st.floats(-89.9, 89.9), st.floats(-179.9, 179.9), st.floats(-500, 9000))
def test_places_come_back(latitude_deg, longitude_deg, height_m):
    places = np.array([[latitude_deg, longitude_deg, height_m]])
    again = places_from_earth(earth_from_places(places))
    np.testing.assert_allclose(again[:, :2], places[:, :2], atol=1e-11)
    np.testing.assert_allclose(again[:, 2], places[:, 2], atol=1e-7)
    offset_m = np.array([[300.0, -200.0, 10.0]])
    there = places_from_local(places[0], offset_m)
    np.testing.assert_allclose(local_from_places(places[0], there), offset_m, atol=1e-6)


def test_east_north_and_up_at_known_places():
    """On the equator at 90 degrees east, east is minus x, north z and up y."""
    turn = rotation_from_quaternion(earth_from_local(np.array([[0.0, 90.0, 0.0]]))[0])
    np.testing.assert_allclose(turn, [[-1, 0, 0], [0, 0, 1], [0, 1, 0]], atol=1e-12)
    turn = rotation_from_quaternion(earth_from_local(np.array([[90.0, 0.0, 0.0]]))[0])
    np.testing.assert_allclose(turn, [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-12)


def test_verticals_and_norths_turn_from_place_to_place():
    """A degree north, up leans north by one; a degree east, north leans west by sin 30 degrees."""
    up = np.array([[0.0, 0.0, 1.0]])
    turn = turns_between(np.array([10.0, 5.0, 0.0]), np.array([[11.0, 5.0, 0.0]]))
    leaning = rotate_by_quaternions(turn, up)[0]
    np.testing.assert_allclose(
        leaning, [0, np.sin(np.radians(1)), np.cos(np.radians(1))], atol=1e-12
    )
    turn = turns_between(np.array([30.0, 5.0, 0.0]), np.array([[30.0, 6.0, 0.0]]))
    convergence_deg = np.degrees(2 * np.arctan2(turn[0, 3], turn[0, 0]))
    assert convergence_deg == pytest.approx(0.5, abs=1e-3)


def test_a_drive_of_kitti_moves_as_its_mercator_map_says(real_data):
    """KITTI's map takes the earth for a ball: at 49 degrees 0.19 % short in the east, by N / a, and
    0.10 % long in the north, by M / a. With these two factors it agrees, whatever its origin.
    """
    path = real_data / "kitti_tracking" / "training" / "oxts" / "0001.txt"
    if not path.is_file():
        pytest.skip(f"no {path}")
    rows = parse_oxts(path.read_bytes())
    ours_m = np.diff(local_from_places(rows[0, :3], rows[:, :3]), axis=0)
    theirs_m = np.diff(poses_from_oxts(rows)[:, :3, 3], axis=0)
    assert np.linalg.norm(ours_m, axis=1).sum() > 300.0
    assert np.linalg.norm(ours_m - theirs_m, axis=1).max() < 0.0025
    rest = 1.0 - ECCENTRICITY_2 * np.sin(np.radians(rows[0, 0])) ** 2
    east, north = 1.0 / np.sqrt(rest), (1.0 - ECCENTRICITY_2) / rest**1.5
    assert (east, north) == pytest.approx((1.0019, 0.9990), abs=1e-4)
    assert np.linalg.norm(ours_m - theirs_m * [east, north, 1.0], axis=1).max() < 1e-4
