"""Frames of recordings: worked out by hand, and equal to the simulated ones they were made of."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
from drives import MS, START_NS, Drive, camera_image, points
from scipy.spatial import cKDTree

from admlops.errors import ConfigError, DataError
from admlops.formats.source import ReadOptions
from admlops.geometry.pose import transform_cloud
from admlops.recordings.config import LidarTopic, RecordingConfig
from admlops.recordings.recorder import record_scenes
from admlops.recordings.source import MAPPING_FILE, RecordingSource, looks_like, open_folder
from admlops.simulation.config import CameraConfig, LidarConfig, SceneGroup, WorldConfig
from admlops.simulation.world import simulate

NONE = SceneGroup(num_scenes=0)
TOLERANCE_M = 2e-5
WORLD = WorldConfig(
    seed=3,
    train=SceneGroup(num_scenes=2, frames_per_scene=4),
    val=NONE,
    pool=NONE,
    keyframe_interval_s=0.1,
    lidar=LidarConfig(num_beams=8, azimuth_step_deg=1.0, azimuth_view_deg=360),
    camera=CameraConfig(width_px=128, height_px=48, focal_px=80),
)


def read(source):
    results = [source.read(index) for index in range(len(source))]
    assert [finding for result in results for finding in result.findings] == []
    return [result.frame for result in results]


@pytest.fixture(scope="module")
def simulated():
    return list(simulate(WORLD))


@pytest.fixture(scope="module")
def recorded(simulated, tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded")
    record_scenes(folder, simulated)
    return folder


def test_frames_of_a_recorded_world_equal_the_simulated_ones(simulated, recorded):
    frames = read(open_folder(recorded, ReadOptions()))
    assert len(frames) == len(simulated) == 8
    for frame, truth in zip(frames, simulated, strict=True):
        assert frame.key.timestamp_ns == truth.key.timestamp_ns
        np.testing.assert_allclose(frame.global_from_ego, truth.global_from_ego, atol=1e-9)
        assert frame.lidar.points.shape == truth.lidar.points.shape
        ours, theirs = (
            transform_cloud(item.lidar.sensor.ego_from_sensor, item.lidar.points)
            for item in (frame, truth)
        )
        distance, partner = cKDTree(theirs[:, :3]).query(ours[:, :3])
        assert distance.max() < TOLERANCE_M
        assert len(set(partner)) == len(theirs)
        np.testing.assert_allclose(ours[:, 3], theirs[partner, 3], atol=1e-6)
        assert frame.camera.encoded == truth.camera.encoded
        ours, theirs = frame.camera.sensor, truth.camera.sensor
        assert ours.name == theirs.name == "camera_front"
        assert ours.distortion.size == 0
        np.testing.assert_allclose(ours.ego_from_sensor, theirs.ego_from_sensor, atol=1e-9)
        np.testing.assert_array_equal(ours.camera_matrix, theirs.camera_matrix)


def test_the_recorded_sweeps_are_really_distorted(recorded):
    """At 4 to 13 m/s, a point fired at the end of 0.1 s lies 0.4 to 1.3 m elsewhere."""
    frames = read(open_folder(recorded, ReadOptions()))
    as_recorded = read(RecordingSource(recorded, RecordingConfig(motion_compensation=False)))
    worst_m = max(
        np.linalg.norm(one.lidar.points[:, :3] - other.lidar.points[:, :3], axis=1).max()
        for one, other in zip(frames, as_recorded, strict=True)
    )
    assert 0.4 < worst_m < 3.0


def test_every_recording_is_a_log_and_the_source_travels(recorded):
    source = open_folder(recorded, ReadOptions())
    assert source.num_refused == 0
    assert [quality.is_accepted for quality in source.qualities] == [True, True]
    again = pickle.loads(pickle.dumps(source))  # noqa: S301 - our own object
    keys = [again.read(index).frame.key for index in (7, 0, 3)]
    assert [key.log for key in keys] == [
        "synthetic-3-train-001",
        "synthetic-3-train-000",
        "synthetic-3-train-000",
    ]
    with pytest.raises(IndexError):
        source.read(8)


def test_cameras_are_left_out_on_request(recorded):
    source = open_folder(recorded, ReadOptions(cameras="none"))
    assert source.read(0).frame.cameras == ()


def source_of(drive, tmp_path, **config):
    drive.write(tmp_path / "drive.mcap")
    return RecordingSource(tmp_path / "drive.mcap", RecordingConfig(**config))


def test_a_wall_ahead_is_straight_again(tmp_path):
    """At 10 m/s, x = 10 measured t seconds late lies at 10 + 10 t from where the sweep began."""
    frame = source_of(Drive(), tmp_path).read(3).frame
    times_s = np.linspace(0, 0.09, 5)
    np.testing.assert_allclose(frame.lidar.points[:, 0], 10 + 10 * times_s, atol=1e-5)
    np.testing.assert_allclose(frame.lidar.points[:, 1], np.arange(5), atol=1e-5)
    np.testing.assert_allclose(frame.lidar.points[:, 2], 0, atol=1e-5)
    np.testing.assert_allclose(frame.global_from_ego[:3, 3], [3.0, 0, 0], atol=1e-9)
    assert frame.lidar.sensor.name == "lidar"
    assert frame.lidar.sensor.ego_from_sensor[2, 3] == 2.0


def test_a_camera_is_placed_where_it_took_its_picture(tmp_path):
    """5 ms after the sweep began the vehicle has driven 5 cm."""
    frame = source_of(Drive(), tmp_path).read(0).frame
    expected = camera_image().sensor.ego_from_sensor.copy()
    expected[0, 3] += 0.05
    np.testing.assert_allclose(frame.camera.sensor.ego_from_sensor, expected, atol=1e-9)


def test_two_lidars_become_one_sweep_in_the_ego_frame(tmp_path):
    """The second one measures 40 ms later, 7 m ahead: 7.4 m and more at the frame's time."""
    drive = Drive()
    drive.second_lidar_ns = [time + 40 * MS for time in drive.sweeps_ns]
    frame = source_of(drive, tmp_path, cameras=()).read(0).frame
    assert frame.lidar.sensor.name == "lidar_merged"
    np.testing.assert_array_equal(frame.lidar.sensor.ego_from_sensor, np.eye(4))
    assert len(frame.lidar.points) == 8
    second = frame.lidar.points[5:]
    np.testing.assert_allclose(second[:, 0], 7.4 + np.array([0, 0.45, 0.9]), atol=1e-5)
    np.testing.assert_allclose(second[:, 1], [1, 2, 3], atol=1e-5)
    np.testing.assert_allclose(frame.lidar.points[:5, 2], 2.0, atol=1e-5)


def test_the_ego_frame_is_lowered_to_the_ground(tmp_path):
    frame = source_of(Drive(), tmp_path, ego_height_m=0.4).read(0).frame
    assert frame.lidar.sensor.ego_from_sensor[2, 3] == pytest.approx(2.4)
    assert frame.global_from_ego[2, 3] == pytest.approx(-0.4)


def test_the_way_is_taken_from_transforms_where_there_is_no_odometry(tmp_path, simulated):
    record_scenes(tmp_path, simulated[:4])
    config = RecordingConfig(odometry_topic="/none", global_frame="odom")
    frames = read(RecordingSource(tmp_path, config))
    for frame, truth in zip(frames, simulated, strict=False):
        np.testing.assert_allclose(frame.global_from_ego, truth.global_from_ego, atol=1e-9)


def test_intensity_is_scaled_by_what_the_first_sweep_shows(tmp_path):
    drive = Drive()

    def bright(_):
        table = points()
        table["intensity"] = [0, 51, 102, 255, 300]
        return table

    drive.cloud = bright
    config = {"lidars": (LidarTopic(topic="/lidar/points", intensity_scale=255),)}
    frame = source_of(drive, tmp_path, **config).read(0).frame
    np.testing.assert_allclose(frame.lidar.points[:, 3], [0, 0.2, 0.4, 1.0, 1.0], atol=1e-6)
    frame = source_of(drive, tmp_path).read(0).frame
    np.testing.assert_allclose(frame.lidar.points[3, 3], 255 / 65535, atol=1e-6)


def test_sweeps_before_the_first_pose_are_trimmed_and_gaps_refused(tmp_path):
    drive = Drive()
    drive.sweeps_ns = [START_NS - 1_000 * MS, *drive.sweeps_ns]
    drive.images_ns = list(drive.sweeps_ns)
    limits = {"max_gap_s": 3, "max_drop_share": 0.5, "min_rate_share": 0.5}
    source = source_of(drive, tmp_path, limits=limits)
    assert source.findings == ()
    assert len(source) == 30
    assert source.read(0).frame.key.timestamp_ns == START_NS
    source = source_of(Drive(), tmp_path, max_pose_gap_s=0.01)
    result = source.read(1)
    assert result.frame is None
    assert [finding.rule.rule_id for finding in result.findings] == ["REC017"]


def test_a_frame_whose_sweep_is_empty_is_refused_and_the_rest_read(tmp_path):
    drive = Drive()
    drive.cloud = lambda row: points(0 if row == 4 else 5)
    source = source_of(drive, tmp_path, limits={"max_empty_share": 0.5})
    results = [source.read(index) for index in range(len(source))]
    assert [index for index, result in enumerate(results) if result.frame is None] == [4]
    assert results[4].findings[0].rule.rule_id == "REC019"


def test_a_sweep_with_points_out_of_reach_is_refused(tmp_path):
    drive = Drive()
    drive.cloud = lambda row: points(5, 1e30 if row == 2 else 10.0)
    source = source_of(drive, tmp_path)
    (finding,) = source.read(2).findings
    assert finding.rule.rule_id == "READ004"
    assert "5 of 5 points beyond 500 m" in finding.what
    assert source.read(1).frame is not None


def test_an_image_of_another_size_than_its_calibration_is_refused(tmp_path, monkeypatch):
    from drives import PNG

    monkeypatch.setattr("drives.PNG", PNG[:16] + b"\0\0\0\x09" + PNG[20:])
    result = source_of(Drive(), tmp_path).read(0)
    assert result.frame is None
    assert result.findings[0].rule.rule_id == "REC020"
    assert "9 x 6" in result.findings[0].what


def test_a_poor_recording_gives_no_frames_unless_accepted(tmp_path):
    drive = Drive()
    drive.images_ns = drive.images_ns[:15]
    source = source_of(drive, tmp_path)
    assert len(source) == 0
    assert source.num_refused == 30
    assert {finding.rule.rule_id for finding in source.findings} == {"REC006", "REC015"}
    source = source_of(drive, tmp_path, accept_poor=True)
    assert len(source) == 30
    assert source.read(20).frame.camera is None
    assert source.read(3).frame.camera is not None


def test_a_stride_thins_the_frames_and_scenes_are_cut(tmp_path):
    source = source_of(Drive(40), tmp_path, frame_stride=2, scene_length_s=2.0)
    keys = [source.read(index).frame.key for index in range(len(source))]
    assert len(keys) == 20
    assert {b.timestamp_ns - a.timestamp_ns for a, b in pairwise(keys)} == {200 * MS}
    assert [key.scene for key in keys] == ["000"] * 10 + ["001"] * 10


def test_a_damaged_recording_is_refused_beside_a_good_one(tmp_path):
    Drive().write(tmp_path / "a.mcap")
    (tmp_path / "b.mcap").write_bytes(b"\x89MCAP0\r\n")
    source = open_folder(tmp_path, ReadOptions())
    assert (len(source), source.num_refused) == (30, 1)
    (finding,) = source.findings
    assert finding.rule.rule_id == "REC001"
    assert finding.where.endswith("b.mcap")


def test_the_mapping_lies_beside_the_recording(tmp_path):
    Drive().write(tmp_path / "drive.mcap")
    (tmp_path / MAPPING_FILE).write_text("frame_stride: 3\n")
    assert len(open_folder(tmp_path, ReadOptions())) == 10
    assert len(open_folder(tmp_path / "drive.mcap", ReadOptions())) == 10
    (tmp_path / MAPPING_FILE).write_text("strides: 3\n")
    with pytest.raises(ConfigError, match="strides"):
        open_folder(tmp_path, ReadOptions())
    text = "lidars: [{topic: /a, name: x}, {topic: /b, name: x}]\n"
    (tmp_path / MAPPING_FILE).write_text(text)
    with pytest.raises(ConfigError, match="two sensors have the name x"):
        open_folder(tmp_path, ReadOptions())


def test_recordings_are_told_from_other_folders(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "metadata.yaml").write_text("something: else")
    assert not looks_like(tmp_path)
    with pytest.raises(DataError, match="holds no recording"):
        open_folder(tmp_path, ReadOptions())
    Drive().write(tmp_path / "drive.mcap")
    assert looks_like(tmp_path)
    assert looks_like(tmp_path / "drive.mcap")
    assert not looks_like(tmp_path / "notes.txt")
