"""The course over ground as heading: with rare fixes, with noise, and through stops."""

import numpy as np
import pytest
from drives import MS, ORIGIN, START_NS

from admlops.geometry.geodesy import places_from_local
from admlops.geometry.pose import make_transform, wrap_angle
from admlops.geometry.trajectory import Trajectory
from admlops.recordings.course import headings_through_stops
from admlops.recordings.navigation import Navigation, NavigationSetup, navigate


class Circle:
    """A level circle, driven with an antenna ahead of the axle and no orientation."""

    def __init__(self, rate_hz, speed_mps, yaw_rate_radps, ahead_m, length_s=20.0):
        self.times_s = np.arange(0.0, length_s, 1.0 / rate_hz)
        self.times_ns = START_NS + np.rint(self.times_s * 1e9).astype(np.int64)
        self.yaw_rate_radps, radius_m = yaw_rate_radps, speed_mps / yaw_rate_radps
        yaw = yaw_rate_radps * self.times_s
        self.antenna_m = np.zeros((len(yaw), 3))
        self.antenna_m[:, 0] = radius_m * np.sin(yaw) + ahead_m * np.cos(yaw)
        self.antenna_m[:, 1] = radius_m * (1 - np.cos(yaw)) + ahead_m * np.sin(yaw)
        self.setup = NavigationSetup(make_transform(np.eye(3), [ahead_m, 0, 0]), None, 1500 * MS)

    def heading_errors_deg(self, noise_m=0.0):
        """Return the errors at all poses; receiver noise has that deviation either way."""
        noise_m = np.random.default_rng(3).normal(0.0, noise_m, self.antenna_m.shape)
        noise_m[:, 2] = 0.0
        places = places_from_local(ORIGIN, self.antenna_m + noise_m)
        imu = Trajectory.make([], np.empty((0, 3)), np.empty((0, 4)))
        way = navigate(Navigation(self.times_ns, places, 0, imu, ("", "")), self.setup).way
        assert len(way) >= len(places) - 10
        yaw = 2.0 * np.arctan2(way.quaternion_wxyz[:, 3], way.quaternion_wxyz[:, 0])
        truth = self.yaw_rate_radps * (way.times_ns - START_NS) * 1e-9
        return np.degrees(wrap_angle(yaw - truth))


@pytest.mark.parametrize("rate_hz", [1, 2, 5, 7, 20])
def test_rare_fixes_tell_the_yaw_rate_too(rate_hz):
    """A yaw rate of 0.3 rad/s read as four times that would turn the heading by 23 degrees."""
    errors_deg = Circle(rate_hz, 6.0, 0.3, ahead_m=2.5).heading_errors_deg()
    assert np.abs(errors_deg).max() < 0.01


@pytest.mark.parametrize("ahead_m", [0.0, 2.0])
def test_noise_of_the_receiver_turns_the_course_by_a_degree(ahead_m):
    """2 cm at 3 m/s: atan(0.02 √2 / 1.5) is 1.1 degrees, and the lever arm adds a tenth."""
    circle = Circle(20, 3.0, 0.1, ahead_m, length_s=60.0)
    deviation_deg = circle.heading_errors_deg(noise_m=0.02).std()
    assert 0.9 < deviation_deg < 1.4


def through(yaw_deg, east_m, period_ns=100 * MS, max_gap_ns=250 * MS):
    """Return headings in degrees, NaN where none is known, of a way eastward."""
    yaw_rad = np.radians(yaw_deg)
    times_ns = START_NS + period_ns * np.arange(len(yaw_rad))
    position_m = np.column_stack([east_m, np.zeros((len(yaw_rad), 2))])
    is_known = ~np.isnan(yaw_rad)
    found, is_known = headings_through_stops(yaw_rad, is_known, times_ns, position_m, max_gap_ns)
    return np.where(is_known, np.degrees(found), np.nan)


NAN = np.nan


def test_a_turn_in_a_slow_way_is_spread_over_it():
    """It turns by 20 degrees in 4 m, and not while it stands in the middle of them."""
    yaw_deg = [170, NAN, NAN, NAN, NAN, -170]
    found_deg = through(yaw_deg, east_m=[0, 1, 2, 2, 2, 4])
    np.testing.assert_allclose(found_deg, [170, 175, 180, 180, 180, -170])


def test_standing_at_an_end_keeps_the_nearest_heading():
    yaw_deg = [NAN, NAN, NAN, NAN, 10, 20, NAN, NAN, NAN, NAN]
    east_m = [0, 1.0, 1.05, 1.1, 1.1, 2.0, 2.0, 2.1, 2.1, 2.15]
    expected_deg = [NAN, 10, 10, 10, 10, 20, 20, 20, 20, 20]
    np.testing.assert_allclose(through(yaw_deg, east_m), expected_deg)


@pytest.mark.parametrize(
    ("last_deg", "east_m", "period_ns"),
    [
        pytest.param(0, [0, 1, 6.1, 7], 100 * MS, id="a long slow way"),
        pytest.param(180, [0, 1, 1, 0], 100 * MS, id="driving off in reverse"),
        pytest.param(0, [0, 1, 1, 2], 300 * MS, id="gaps between fixes"),
    ],
)
def test_no_heading_is_guessed(last_deg, east_m, period_ns):
    yaw_deg = [0, NAN, NAN, last_deg]
    np.testing.assert_array_equal(through(yaw_deg, east_m, period_ns), yaw_deg)


def test_a_moving_vehicle_is_not_told_beyond_its_course():
    """At 1.5 m/s the next fix is nearer than one that stands may be, but it does not stand."""
    yaw_deg, east_m = [NAN, NAN, NAN, 0, 0, NAN, NAN, NAN], 0.15 * np.arange(8)
    np.testing.assert_array_equal(through(yaw_deg, east_m), yaw_deg)
