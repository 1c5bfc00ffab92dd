"""Poses from satellite fixes and an Imu: equal to the true ones where nothing is noisy."""

from dataclasses import replace

import numpy as np
import pytest
from drives import ANTENNA_M, MS, START_NS, Drive
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from admlops.errors import DataError
from admlops.formats.source import ReadOptions
from admlops.geometry.geodesy import places_from_local, turns_between
from admlops.geometry.pose import (
    invert,
    make_transform,
    motion_between,
    rotation_about_z,
    rotation_from_quaternion,
    transform_cloud,
)
from admlops.geometry.trajectory import Trajectory
from admlops.recordings.config import RecordingConfig
from admlops.recordings.events import PositionEvent
from admlops.recordings.navigation import Navigation, NavigationSetup, is_usable, navigate
from admlops.recordings.recorder import Receivers, RosRecorder, record_scenes
from admlops.recordings.recording import open_recording
from admlops.recordings.source import RecordingSource, examine, open_folder
from admlops.recordings.stream import EventStream, complete, survey
from admlops.simulation.config import CameraConfig, LidarConfig, SceneGroup, WorldConfig
from admlops.simulation.world import simulate

NONE = SceneGroup(num_scenes=0)
WORLD = WorldConfig(
    seed=5,
    train=SceneGroup(num_scenes=2, frames_per_scene=5),
    val=NONE,
    pool=NONE,
    keyframe_interval_s=0.1,
    lidar=LidarConfig(num_beams=8, azimuth_step_deg=1.0, azimuth_view_deg=360),
    camera=CameraConfig(width_px=128, height_px=48, focal_px=80),
)
RECEIVERS = Receivers(
    ego_from_antenna=make_transform(np.eye(3), [-0.8, 0.4, 1.6]),
    ego_from_imu=make_transform(
        Rotation.from_euler("zyx", [90, 20, 180], degrees=True).as_matrix(), [0.3, 0.1, 0.5]
    ),
)
TOLERANCE_M, TOLERANCE_DEG = 1e-3, 1e-3


def without_topics(path, target, topics):
    """Copy a recording but for some topics."""
    with open_recording(path) as recording, target.open("wb") as file:
        recorder = RosRecorder(file)
        for message in recording.messages():
            if message.topic.name not in topics:
                recorder.copy(message.topic, message.log_time_ns, bytes(message.data))
        recorder.finish()


@pytest.fixture(scope="module")
def simulated():
    return list(simulate(WORLD))


@pytest.fixture(scope="module")
def recorded(simulated, tmp_path_factory):
    """Recordings that have fixes and an Imu, and neither odometry nor moving transforms."""
    whole, folder = (tmp_path_factory.mktemp(name) for name in ("whole", "gnss"))
    for path in record_scenes(whole, simulated, RECEIVERS):
        without_topics(path, folder / path.name, ("/odometry", "/tf"))
    return folder


def assert_same_motion(poses, truths, tolerance_m=TOLERANCE_M, tolerance_deg=TOLERANCE_DEG):
    """Poses are told from the first fix, so what is compared is the way since the first pose."""
    for pose, truth in zip(poses, truths, strict=True):
        ours, theirs = invert(poses[0]) @ pose, invert(truths[0]) @ truth
        apart_m, apart_rad = motion_between(ours, theirs)
        assert apart_m < tolerance_m
        assert np.degrees(apart_rad) < tolerance_deg


def test_frames_from_fixes_and_imu_equal_the_simulated_ones(simulated, recorded):
    source = open_folder(recorded, ReadOptions())
    assert source.findings == ()
    assert source.pose_sources == ("gnss, heading by imu",)
    frames = [source.read(index).frame for index in range(len(source))]
    assert len(frames) == len(simulated) == 10
    for first in (0, 5):
        ours, theirs = frames[first : first + 5], simulated[first : first + 5]
        assert_same_motion(*([item.global_from_ego for item in part] for part in (ours, theirs)))
    for frame, truth in zip(frames, simulated, strict=True):
        ours, theirs = (
            transform_cloud(item.lidar.sensor.ego_from_sensor, item.lidar.points)
            for item in (frame, truth)
        )
        distance, partner = cKDTree(theirs[:, :3]).query(ours[:, :3])
        assert distance.max() < TOLERANCE_M
        assert len(set(partner)) == len(theirs)
        ours, theirs = (item.camera.sensor.ego_from_sensor for item in (frame, truth))
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_the_first_pose_lies_where_the_antenna_tells(simulated, recorded):
    """The first fix is the origin, so the vehicle is one lever arm away from it."""
    pose = open_folder(recorded, ReadOptions()).read(0).frame.global_from_ego
    truth = simulated[0].global_from_ego
    expected = -truth[:3, :3] @ RECEIVERS.ego_from_antenna[:3, 3]
    np.testing.assert_allclose(pose[:3, 3], expected, atol=1e-4)
    np.testing.assert_allclose(pose[:3, :3], truth[:3, :3], atol=1e-4)


class Curve:
    """A circle at 10 m/s and 0.2 rad/s: with roll and pitch 5 km away, or level at the origin."""

    origin = np.array([52.0, 13.0, 40.0])
    ego_from_antenna = make_transform(np.eye(3), [1.2, -0.3, 1.5])
    ego_from_imu = RECEIVERS.ego_from_imu

    def __init__(self, is_level=False, fix_period_ns=50 * MS, length_s=8.0):
        self.is_level = is_level
        self.fix_times_ns = START_NS + np.arange(0, int(length_s * 1e9), fix_period_ns)
        self.imu_times_ns = START_NS + np.arange(0, int(length_s * 1e9), 10 * MS)

    def pose(self, time_ns):
        time_s = (time_ns - START_NS) * 1e-9
        yaw = 0.4 + 0.2 * time_s
        place_m = np.array([50 * np.sin(yaw), -50 * np.cos(yaw), 0.0])
        place_m += 0.0 if self.is_level else np.array([3000.0, 4000.0, 0.0])
        tilt = [0.0, 0.0] if self.is_level else 0.05 * np.array([np.sin(time_s), np.cos(time_s)])
        rotation = Rotation.from_euler("zyx", [yaw, *tilt]).as_matrix()
        return make_transform(rotation, place_m)

    def navigation(self, has_orientation=True):
        antenna_m = [(self.pose(t) @ self.ego_from_antenna)[:3, 3] for t in self.fix_times_ns]
        places = places_from_local(self.origin, np.array(antenna_m))
        imu = Trajectory.make([], np.empty((0, 3)), np.empty((0, 4)))
        if has_orientation:
            poses = [self._orientation(time) for time in self.imu_times_ns]
            imu = Trajectory.from_transforms(self.imu_times_ns, np.array(poses))
        return Navigation(self.fix_times_ns, places, 0, imu, ("gnss", "imu"))

    def _orientation(self, time_ns):
        """Return `local_from_imu` at the place where the vehicle is, without a translation."""
        pose = self.pose(time_ns)
        place = places_from_local(self.origin, pose[None, :3, 3])
        origin_from_local = rotation_from_quaternion(turns_between(self.origin, place)[0])
        rotation = origin_from_local.T @ pose[:3, :3] @ self.ego_from_imu[:3, :3]
        return make_transform(rotation, np.zeros(3))

    def setup(self, **settings):
        settings = {"max_gap_ns": 250 * MS} | settings
        return NavigationSetup(self.ego_from_antenna, self.ego_from_imu, **settings)


def test_mountings_are_taken_out_in_a_tilting_curve():
    curve = Curve()
    found = navigate(curve.navigation(), curve.setup())
    assert found.heading == "imu"
    assert np.degrees(found.heading_error_rad) == pytest.approx(0.0, abs=0.2)
    assert_same_motion(
        [found.way.at(int(time)) for time in curve.fix_times_ns],
        [curve.pose(time) for time in curve.fix_times_ns],
        tolerance_m=5e-5,
        tolerance_deg=5e-5,
    )


def test_between_fixes_a_curve_is_cut_short_by_its_sagitta():
    """v w T^2 / 8: at 10 m/s and 0.2 rad/s 0.6 mm with 20 fixes a second, 10 mm with 5."""
    for period_ns, sagitta_m in ((50 * MS, 0.000_625), (200 * MS, 0.01)):
        curve = Curve(is_level=True, fix_period_ns=period_ns)
        way = navigate(curve.navigation(), curve.setup()).way
        first_ns, time_ns = START_NS, START_NS + 1000 * MS + period_ns // 2
        ours = invert(way.at(first_ns)) @ way.at(time_ns)
        theirs = invert(curve.pose(first_ns)) @ curve.pose(time_ns)
        assert motion_between(ours, theirs)[0] == pytest.approx(sagitta_m, rel=0.02)


def test_the_course_is_the_heading_where_the_imu_tells_none():
    """The antenna ahead of the axle swings out in the curve; that is taken out, too."""
    curve = Curve(is_level=True)
    found = navigate(curve.navigation(has_orientation=False), curve.setup())
    assert found.heading == "course"
    assert np.isnan(found.heading_error_rad)
    # Fixes within a quarter of a second of an end have no course.
    assert found.way.times_ns[0] == START_NS + 250 * MS
    assert found.way.times_ns[-1] == curve.fix_times_ns[-1] - 250 * MS
    assert_same_motion(
        [found.way.at(int(time)) for time in found.way.times_ns],
        [curve.pose(time) for time in found.way.times_ns],
        tolerance_m=1e-3,
        tolerance_deg=1e-3,
    )


def test_an_imu_of_unknown_mounting_is_an_error():
    curve = Curve()
    setup = NavigationSetup(curve.ego_from_antenna, None, max_gap_ns=250 * MS)
    with pytest.raises(DataError, match="how the Imu is mounted"):
        navigate(curve.navigation(), setup)


def test_places_on_both_sides_of_the_date_line():
    curve = Curve()
    navigation = curve.navigation()
    shift_deg = 180.0 - navigation.places[80, 1]
    navigation.places[:, 1] += shift_deg
    east = navigation.places[:, 1].copy()
    navigation.places[:, 1] = (east + 180.0) % 360.0 - 180.0
    assert np.ptp(navigation.places[:, 1]) > 359.0
    found = navigate(navigation, curve.setup())
    times_ns = curve.fix_times_ns
    assert_same_motion(
        [found.way.at(int(time)) for time in times_ns], [curve.pose(time) for time in times_ns]
    )


def drive(num_sweeps=30, **settings):
    """A drive eastward with ten fixes a second and an Imu, without odometry."""
    made = Drive(num_sweeps)
    made.has_odometry, made.fix_period_ns, made.imu_yaw_deg = False, 100 * MS, 0.0
    for name, value in settings.items():
        setattr(made, name, value)
    return made


def read(made, tmp_path, **config):
    path = made.write(tmp_path / "drive.mcap")
    source = RecordingSource(path, RecordingConfig(**config))
    return source, source.qualities[0]


def fired(findings):
    return [finding.rule.rule_id for finding in findings]


def test_a_wall_is_straight_again_by_fixes(tmp_path):
    source, quality = read(drive(), tmp_path)
    assert (quality.findings, quality.pose_source) == ((), "gnss, heading by imu")
    frame = source.read(3).frame
    times_s = np.linspace(0, 0.09, 5)
    np.testing.assert_allclose(frame.lidar.points[:, 0], 10 + 10 * times_s, atol=1e-4)
    # The first fix was 0.1 s before the first sweep.
    np.testing.assert_allclose(
        frame.global_from_ego[:3, 3], np.array([4.0, 0, 0]) - ANTENNA_M, atol=1e-4
    )
    assert quality.to_json_dict()["pose_source"] == "gnss, heading by imu"


def test_the_ego_frame_stands_on_the_ground(tmp_path):
    frame = read(drive(), tmp_path, ego_height_m=0.4)[0].read(0).frame
    assert frame.global_from_ego[2, 3] == pytest.approx(-1.7 - 0.4, abs=1e-4)


def test_odometry_comes_before_fixes_and_the_config_before_both(tmp_path):
    both = drive(has_odometry=True)
    assert read(both, tmp_path)[1].pose_source == "odometry"
    source, quality = read(both, tmp_path, pose_source="gnss")
    assert quality.pose_source == "gnss, heading by imu"
    assert source.read(0).frame.global_from_ego[0, 3] == pytest.approx(1.5, abs=1e-4)
    quality = read(drive(), tmp_path, pose_source="odometry")[1]
    assert fired(quality.findings) == ["REC017"]
    assert "pose_source" in quality.findings[0].what
    assert fired(read(both, tmp_path, pose_source="transforms")[1].findings) == ["REC017"]


def test_fixes_that_are_none_are_passed_over(tmp_path):
    """Of ten fixes a second one may be missing; where three are, frames are refused."""
    lost = START_NS + 1000 * MS
    source, quality = read(drive(has_fix=lambda time: time != lost), tmp_path)
    assert (quality.findings, quality.num_unposed) == ((), 0)
    assert next(item for item in quality.sensors if item.sensor == "fix").num_empty == 1
    assert source.read(10).frame.global_from_ego[0, 3] == pytest.approx(11.5, abs=1e-4)

    tunnel = drive(has_fix=lambda time: not lost <= time < lost + 300 * MS)
    source, quality = read(tunnel, tmp_path)
    assert quality.is_accepted
    assert quality.num_unposed == 3
    results = [source.read(index) for index in range(len(source))]
    refused = [index for index, result in enumerate(results) if result.frame is None]
    assert refused == [9, 10, 11, 12]  # the sweep of frame 9 reaches into the gap
    assert {rule for index in refused for rule in fired(results[index].findings)} == {"REC017"}


def test_a_receiver_without_any_fix_gives_no_pose(tmp_path):
    quality = read(drive(has_fix=lambda _: False), tmp_path)[1]
    assert fired(quality.findings) == ["REC017"]
    assert "none of 32 satellite fixes" in quality.findings[0].what


def test_fixes_that_come_too_seldom_name_the_setting(tmp_path):
    seldom = drive(fix_period_ns=1000 * MS)
    quality = read(seldom, tmp_path)[1]
    assert fired(quality.findings) == ["REC017"]
    assert "every 1 s, and max_pose_gap_s is 0.25" in quality.findings[0].what
    source, quality = read(seldom, tmp_path, max_pose_gap_s=1.1)
    assert quality.findings == ()
    assert source.read(3).frame.global_from_ego[0, 3] == pytest.approx(4.5, abs=1e-4)


def test_an_antenna_of_unknown_place_is_named(tmp_path):
    made = drive(antenna_frame="gps")
    quality = read(made, tmp_path)[1]
    assert fired(quality.findings) == ["REC017"]
    assert "'gps'" in quality.findings[0].what
    assert "fix_frame_id" in quality.findings[0].what
    source, quality = read(made, tmp_path, fix_frame_id="gnss")
    assert quality.findings == ()
    assert source.read(0).frame.global_from_ego[0, 3] == pytest.approx(1.5, abs=1e-4)


@pytest.mark.parametrize(
    ("field", "setting", "frame"),
    [("antenna_frame", "fix_frame_id", "gnss"), ("imu_frame", "imu_frame_id", "imu")],
)
def test_a_message_without_a_frame_names_the_setting(field, setting, frame, tmp_path):
    made = drive(**{field: ""})
    quality = read(made, tmp_path)[1]
    assert fired(quality.findings) == ["REC017"]
    assert f"is empty; set {setting}" in quality.findings[0].what
    assert read(made, tmp_path, **{setting: frame})[1].findings == ()


def test_odometry_that_cannot_be_read_gives_way_to_fixes(tmp_path):
    quality = read(drive(has_odometry=True, odometry_bytes=20), tmp_path)[1]
    assert set(fired(quality.findings)) == {"REC004"}
    assert quality.pose_source == "gnss, heading by imu"


def test_a_message_that_nobody_filled_in_is_no_fix(tmp_path):
    """Without any field set, ROS 1 says STATUS_FIX, and zero degrees."""
    path = drive().write(tmp_path / "drive.mcap")
    with open_recording(path) as recording:
        events = EventStream(recording, complete(RecordingConfig(), survey(recording)))
        fix = next(event for event in events if isinstance(event, PositionEvent))
    assert is_usable(fix)
    assert not is_usable(replace(fix, latitude_deg=0.0, longitude_deg=0.0, altitude_m=0.0))
    assert is_usable(replace(fix, latitude_deg=0.0))
    assert is_usable(replace(fix, longitude_deg=0.0))


def test_a_heading_that_disagrees_with_the_course_is_refused(tmp_path):
    """An Imu whose yaw is zero in the north says -90 degrees when it looks east."""
    northern = drive(imu_yaw_deg=-90.0)
    quality = read(northern, tmp_path)[1]
    assert fired(quality.findings) == ["REC021"]
    assert not quality.is_accepted
    assert "-90.0 degrees" in quality.findings[0].what
    source, quality = read(northern, tmp_path, imu_yaw_offset_deg=90.0)
    assert quality.findings == ()
    np.testing.assert_allclose(source.read(3).frame.global_from_ego[:3, :3], np.eye(3), atol=1e-6)
    assert read(drive(imu_yaw_deg=10.0), tmp_path)[1].findings == ()


def test_a_stop_keeps_the_heading(tmp_path):
    """It drives 1.5 s at 10 m/s and stops: only what the last course needs is trimmed."""
    stops = drive(imu_yaw_deg=None, east_m=lambda time_s: 10.0 * min(time_s, 1.5))
    source, quality = read(stops, tmp_path)
    assert quality.pose_source == "gnss, heading by course"
    assert quality.findings == ()
    assert (quality.num_frames, quality.num_trimmed, quality.num_unposed) == (28, 2, 0)
    for index in (5, 25):
        frame = source.read(index).frame
        np.testing.assert_allclose(frame.global_from_ego[:3, :3], rotation_about_z(0), atol=1e-4)


def test_a_vehicle_that_always_stands_has_no_course(tmp_path):
    parked = drive(imu_yaw_deg=None, east_m=lambda _: 0.0)
    quality = read(parked, tmp_path)[1]
    assert fired(quality.findings) == ["REC017"]
    assert "never moves at 2 m/s" in quality.findings[0].what


def test_a_halt_at_a_traffic_light_costs_no_frame(tmp_path):
    """From 6 m/s to rest at 2 m/s² in 3 s, rest for 2 s, and back to 6 m/s."""

    def east_m(time_s):
        braking, moving = np.clip(time_s, 0.0, 3.0), np.clip(time_s - 5.0, 0.0, 3.0)
        steady = 6.0 * (min(time_s, 0.0) + max(time_s - 8.0, 0.0))
        return float(6.0 * braking - braking**2 + moving**2 + steady)

    halts = drive(imu_yaw_deg=None, east_m=east_m, num_sweeps=100)
    source, quality = read(halts, tmp_path)
    assert (quality.findings, quality.num_unposed) == ((), 0)
    results = [source.read(index) for index in range(len(source))]
    assert (len(results), quality.num_trimmed) == (95, 5)
    for result in results:
        np.testing.assert_allclose(result.frame.global_from_ego[:3, :3], np.eye(3), atol=1e-4)


def test_fixes_are_not_kept_where_there_is_odometry(tmp_path):
    path = drive(has_odometry=True).write(tmp_path / "drive.mcap")
    with open_recording(path) as recording:
        builder, _ = examine(recording, RecordingConfig())
    assert len(builder.index.navigation.fix_times_ns) == 0
    assert len(builder.index.sensors["fix"]) == 32
