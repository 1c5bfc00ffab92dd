"""Calibration by hand on small images, on simulated frames, and on real ones."""

import dataclasses
import io
from itertools import combinations

import numpy as np
import pytest
from hand_drives import write_drive
from PIL import Image

from admlops.collection.calibration_check import (
    CalibrationCheck,
    CalibrationConfig,
    box_offsets_deg,
    rotation_about,
)
from admlops.collection.drive import Drive, Gates
from admlops.collection.edge_alignment import image_edges, lidar_edges, outstanding, spread_edges
from admlops.formats.kitti.source import open_folder
from admlops.formats.source import ReadOptions
from admlops.geometry.pose import make_transform
from admlops.recordings.recorder import record_scenes
from admlops.simulation.config import SceneGroup, WorldConfig
from admlops.simulation.world import simulate
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import CalibratedSensor, CameraImage, Frame, FrameKey

YAW = 1
NONE = SceneGroup(num_scenes=0)


@pytest.fixture(scope="module")
def simulated():
    world = WorldConfig(
        seed=4, train=SceneGroup(num_scenes=4, frames_per_scene=1), val=NONE, pool=NONE
    )
    return list(simulate(world))


@pytest.fixture(scope="module")
def real_frames(real_data):
    source = open_folder(real_data / "kitti_object", ReadOptions())
    return [source.read(number).frame for number in range(len(source))]


@pytest.fixture(scope="module")
def real_checks(real_frames):
    """Return checks of the real frames, whose camera is turned in yaw, by the angle in degrees."""
    return {angle: check_of(real_frames, YAW, angle) for angle in (-2.0, 0.0, 2.0)}


def turned(frame, axis, angle_deg):
    """Return a frame whose camera is said to be turned by so much more than it is."""
    sensor = frame.camera.sensor
    pose = sensor.ego_from_sensor.copy()
    pose[:3, :3] = pose[:3, :3] @ rotation_about(axis, angle_deg)
    sensor = dataclasses.replace(sensor, ego_from_sensor=pose)
    return dataclasses.replace(frame, camera=dataclasses.replace(frame.camera, sensor=sensor))


def check_of(frames, axis=YAW, angle_deg=0.0, **changes):
    values = {"min_boxes": 5, "search_deg": 2.5, "step_deg": 0.5, **changes}
    check = CalibrationCheck(CalibrationConfig.parse(values))
    for frame in frames:
        check.add(turned(frame, axis, angle_deg))
    return check


def rules(check):
    return [finding.rule.rule_id for finding in check.judge("drive")]


def test_rotations_follow_the_right_hand():
    # about y (down): from z (forward) towards x (right)
    np.testing.assert_allclose(rotation_about(YAW, 90) @ [0, 0, 1], [1, 0, 0], atol=1e-15)


def test_the_edges_of_a_pole_before_a_wall():
    azimuth = np.radians(np.arange(-10, 10.01, 0.4) + 0.05)
    range_m = np.where(np.abs(azimuth) < np.radians(1), 10.0, 14.0)
    points = np.stack(
        [range_m * np.cos(azimuth), range_m * np.sin(azimuth), 0.1 + 0 * azimuth, 0 * azimuth], 1
    ).astype(np.float32)
    edges, weights = lidar_edges(points)
    found = np.degrees(np.arctan2(edges[:, 1], edges[:, 0]))
    np.testing.assert_allclose(np.sort(found), [-0.75, 0.85], atol=0.01)
    np.testing.assert_allclose(weights, 2.0, atol=0.01)  # the root of 4 m
    assert len(lidar_edges(points[:0])[0]) == 0
    assert len(lidar_edges(points[::4])[0]) == 0  # 1.6 degrees apart: nothing is known


def test_image_edges_and_how_far_they_reach():
    gray = np.zeros((3, 12), np.uint8)
    gray[:, 6:] = 90
    edges = image_edges(gray)
    assert edges[1].tolist() == [0, 0, 0, 0, 0, 90, 90, 0, 0, 0, 0, 0]
    near = spread_edges(edges)
    np.testing.assert_allclose(near[1, 4:6], [60 * 0.9, 90], rtol=1e-6)
    np.testing.assert_allclose(near[1, 0], 60 * 0.9**5, rtol=1e-6)
    np.testing.assert_allclose(near, near[:, ::-1], rtol=1e-6)
    # alone among nothing: 90 over the mean of 2 of 12 columns, and 2
    np.testing.assert_allclose(outstanding(edges)[1, 5], 90 / (15 + 2), rtol=1e-6)


def test_simulated_frames_fit_and_two_degrees_are_found(simulated):
    assert rules(check_of(simulated)) == []
    (measured,) = check_of(simulated).measure()
    assert np.abs(measured.best_deg).max() <= 0.5
    check = check_of(simulated, YAW, 2.0)
    assert rules(check) == ["CALIB001", "CALIB002"]
    assert "+2.00 degrees of yaw" in check.judge("drive")[0].what
    assert rules(check_of(simulated, 0, -2.0)) == ["CALIB001", "CALIB002"]


def test_real_frames_fit_and_two_degrees_of_yaw_are_found(real_checks):
    right = real_checks[0.0]
    assert rules(right) == []
    (measured,) = right.measure()
    assert measured.best_deg.tolist() == [0, 0, 0]
    assert measured.num_boxes >= 5
    assert np.abs(measured.box_offset_deg).max() < 0.1
    for angle_deg in (-2.0, 2.0):
        wrong = real_checks[angle_deg]
        assert rules(wrong) == ["CALIB001", "CALIB002"]
        assert wrong.measure()[0].best_deg[YAW] == angle_deg
        assert wrong.measure()[0].box_offset_deg[0] == pytest.approx(angle_deg, abs=0.1)


def test_any_three_real_frames_suffice_for_yaw(real_checks):
    for angle, check in real_checks.items():
        (measured,) = check.measure()
        for chosen in combinations(range(6), 3):
            part = dataclasses.replace(measured, frame_scores=measured.frame_scores[list(chosen)])
            found = [item.rule.rule_id for item in check._judge_edges(part, "")]
            assert found == (["CALIB001"] if angle else []), chosen


def test_too_few_frames_are_told_and_not_judged(simulated):
    check = check_of(simulated[:1], YAW, 2.0, min_boxes=1000)
    (finding,) = check.judge("drive")
    assert finding.rule.rule_id == "CALIB003"
    sensor = dataclasses.replace(simulated[0].camera.sensor, distortion=np.array([0.1, 0, 0, 0]))
    image = dataclasses.replace(simulated[0].camera, sensor=sensor)
    frames = [dataclasses.replace(frame, camera=image) for frame in simulated]
    check = check_of(frames, min_boxes=1000)
    assert "the images are distorted" in check.judge("drive")[0].what


def frame_with_boxes(shift_px, **columns):
    """A camera at the ego origin that looks along x, and a cube of 2 m with its centre at 11 m."""
    axes = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    matrix = np.array([[100.0, 0, 100], [0, 100.0, 100], [0, 0, 1]])
    sensor = CalibratedSensor("front", "camera", make_transform(axes, [0, 0, 0]), matrix)
    buffer = io.BytesIO()
    Image.new("L", (200, 200)).save(buffer, format="PNG")
    # its near side is 10 m away: 10 pixels to every side of the centre; labelled twice as high
    image_box = np.array([[90.0, 80, 110, 120]]) + np.array([shift_px] * 2).reshape(-1)
    boxes = Boxes.make(
        center_m=np.array([[11.0, 0, 0]]),
        size_m=np.array([[2.0, 2, 2]]),
        yaw_rad=np.zeros(1),
        category=["car"],
        **{"box2d_px": image_box, **columns},
    )
    key = FrameKey("log", "000", 1)
    image = CameraImage(sensor, buffer.getvalue(), 200, 200)
    return Frame(key, "0", np.eye(4), camera=image, boxes=boxes), image_box


def test_offsets_of_boxes_are_angles():
    frame, _ = frame_with_boxes((10.0, -5.0))
    expected = [[np.degrees(np.arctan(0.1)), -np.degrees(np.arctan(0.05))]]
    np.testing.assert_allclose(box_offsets_deg(frame, frame.camera), expected)
    for columns in ({"occlusion": np.array([1])}, {"truncation": np.array([0.5])}):
        hidden, _ = frame_with_boxes((10.0, -5.0), **columns)
        assert len(box_offsets_deg(hidden, hidden.camera)) == 0


def test_boxes_of_one_track_are_pairs():
    frame, image_box = frame_with_boxes((0, 0), box2d_px=np.full((1, 4), np.nan), track_id=["7"])
    assert len(box_offsets_deg(frame, frame.camera)) == 0
    labels = Boxes2d.make(
        camera=["front", "left"],
        category=["car", "car"],
        track_id=["7", "7"],
        box2d_px=np.concatenate([image_box + np.array([10, 0, 10, 0]), image_box]),
    )
    both = dataclasses.replace(frame, boxes_2d=labels)
    found = box_offsets_deg(both, both.camera)
    np.testing.assert_allclose(found, [[np.degrees(np.arctan(0.1)), 0]], atol=1e-12)


def test_a_drive_whose_camera_was_turned_is_refused(tmp_path):
    world = WorldConfig(
        seed=4,
        train=SceneGroup(num_scenes=1, frames_per_scene=6),
        val=NONE,
        pool=NONE,
        keyframe_interval_s=0.1,
    )
    frames = list(simulate(world))
    gates = Gates(calibration=CalibrationConfig(num_frames=4, step_deg=0.5))
    for name, angle_deg, expected in (("right", 0.0, True), ("wrong", 2.0, False)):
        said = [turned(frame, YAW, angle_deg) for frame in frames]
        (path,) = record_scenes(tmp_path / name, said)
        with Drive(path, name, gates).recording:
            drive = Drive(path, name, gates)
        assert drive.is_accepted is expected, drive.log.ordered()
        assert ("CALIB001" in drive.log.counts) is not expected


def test_a_drive_without_edges_is_accepted_and_says_so(tmp_path):
    path = write_drive(tmp_path / "noise.mcap", [10.0] * 6)
    drive = Drive(path, "noise", Gates(calibration=CalibrationConfig(min_edges=10_000)))
    assert drive.is_accepted
    assert drive.log.counts["CALIB003"] == 1
    drive.recording.close()
