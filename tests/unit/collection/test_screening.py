"""Screening by hand: images whose sharpness, exposure and likeness are known."""

import io

import numpy as np
import pytest
from PIL import Image

from admlops.collection.image_measures import clipped_shares, sharpness
from admlops.collection.screening import FrameScreen, ScreeningConfig, judge_image
from admlops.geometry.pose import make_transform, rotation_about_z
from admlops.structures.frame import CalibratedSensor, CameraImage, Frame, FrameKey, LidarSweep

S = 1_000_000_000
EYE = np.eye(4)


def png(gray):
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(gray, dtype=np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def texture(seed=0):
    return np.random.default_rng(seed).integers(20, 230, (32, 48))


def make_frame(time_s, x_m=0.0, image=None, num_points=200, yaw_rad=0.0, log="drive", cloud_m=10.0):
    points = np.zeros((num_points, 4), np.float32)
    points[:, 0], points[:, 2] = cloud_m, 1.0
    pose = make_transform(rotation_about_z(yaw_rad), [x_m + 100.0, 0.0, 0.0])
    images = texture() if image is None else image
    encoded = images if isinstance(images, bytes) else png(images)
    return Frame(
        key=FrameKey(log, "000", round(time_s * S)),
        frame_id="0",
        global_from_ego=pose,
        lidar=LidarSweep(CalibratedSensor("lidar", "lidar", EYE), points),
        camera=CameraImage(CalibratedSensor("front", "camera", EYE, EYE[:3, :3]), encoded, 48, 32),
    )


def rules(screen, *frames):
    return [[finding.rule.rule_id for finding in screen.judge(frame)] for frame in frames]


def test_the_laplacian_of_one_bright_pixel():
    gray = np.zeros((3, 5), np.uint8)
    gray[1, 2] = 10
    # the three inner pixels have Laplacians 10, -40, 10: mean -20/3, mean square 600
    assert sharpness(gray) == pytest.approx(600 - (20 / 3) ** 2)
    assert sharpness(np.zeros((2, 9), np.uint8)) == 0.0


def test_a_slope_has_no_laplacian():
    assert sharpness(np.tile(np.arange(50, dtype=np.uint8) * 3, (20, 1))) == 0.0


def test_clipped_shares_count_both_ends():
    gray = np.array([[0, 8, 9, 250, 249, 255, 100, 100]], np.uint8)
    assert clipped_shares(gray, 8, 250) == (0.25, 0.25)


@pytest.mark.parametrize(
    ("gray", "rule_id"),
    [
        (texture(), None),
        (np.full((32, 48), 3), "SCRN002"),
        (np.full((32, 48), 255), "SCRN002"),
        (np.full((32, 48), 120), "SCRN003"),
        (np.tile(np.arange(48) * 4, (32, 1)), "SCRN001"),
    ],
)
def test_each_fault_of_an_image_has_its_rule(gray, rule_id):
    found = judge_image(gray.astype(np.uint8), ScreeningConfig(), "front")
    assert (found.rule.rule_id if found else None) == rule_id


def test_a_moving_vehicle_with_good_sensors_keeps_all():
    screen = FrameScreen(ScreeningConfig())
    frames = [make_frame(0.1 * i, x_m=1.0 * i) for i in range(5)]
    assert list(screen.kept(frames)) == frames
    assert (screen.num_seen, screen.num_kept, dict(screen.counts)) == (5, 5, {})


def test_an_empty_sweep_and_a_damaged_image_are_dropped():
    screen = FrameScreen(ScreeningConfig())
    broken = bytearray(png(texture()))
    broken[45:200] = b"\0" * 155
    found = rules(screen, make_frame(0, num_points=99), make_frame(1, 9.0, bytes(broken)))
    assert found == [["SCRN003"], ["SCRN006"]]


def test_duplicates_are_compared_with_the_last_kept_frame():
    screen = FrameScreen(ScreeningConfig(parked_after_s=0))
    creeping = [make_frame(i, x_m=0.2 * i) for i in range(6)]
    # 0.2 and 0.4 m are duplicates of 0 m; 0.6 m is kept; 0.8 and 1.0 m are duplicates of that
    assert [bool(found) for found in rules(screen, *creeping)] == [0, 1, 1, 0, 1, 1]
    assert screen.counts == {"SCRN004": 4}


@pytest.mark.parametrize(
    "changes",
    [{"yaw_rad": 0.06}, {"image": texture(1)}, {"cloud_m": -10.0}, {"log": "other"}],
)
def test_what_differs_is_no_duplicate(changes):
    screen = FrameScreen(ScreeningConfig())
    assert rules(screen, make_frame(0), make_frame(1, **changes)) == [[], []]


@pytest.mark.parametrize(("x_m", "is_dropped"), [(0.0, True), (-100.0, False)])
def test_more_may_change_where_poses_say_that_the_vehicle_stands(x_m, is_dropped):
    """Of 17 grey columns two swap in 13 of 16 rows, and there one of 8 bits goes."""
    columns = np.arange(17) % 2 * 100 + 50
    other = columns.copy()
    other[[4, 5]] = columns[[5, 4]]
    rows = [np.repeat(values, 4) for values in (columns, other)]
    # 13 of 128 bits: 10 %
    images = [np.tile(rows[0], (64, 1)), np.repeat(rows, [12, 52], axis=0)]
    screen = FrameScreen(ScreeningConfig(parked_after_s=0))
    frames = [make_frame(time_s, x_m, image) for time_s, image in enumerate(images)]
    assert rules(screen, *frames) == [[], ["SCRN004"] if is_dropped else []]


def test_a_parked_vehicle_is_dropped_after_its_time_and_kept_when_it_moves():
    screen = FrameScreen(ScreeningConfig(drop_duplicates=False, parked_after_s=2.0))
    places = [0, 5, 5.1, 5.1, 5.1, 5.1, 9, 9]
    frames = [make_frame(i, x_m=x) for i, x in enumerate(places)]
    # it stands from 1 s on: at 3 s for 2 s, at 4 s for longer
    expected = [[], [], [], [], ["SCRN005"], ["SCRN005"], [], []]
    assert rules(screen, *frames) == expected


def test_without_a_pose_nobody_is_parked():
    screen = FrameScreen(ScreeningConfig(drop_duplicates=False, parked_after_s=1.0))
    frames = [make_frame(i, x_m=-100.0) for i in range(4)]
    np.testing.assert_array_equal(frames[0].global_from_ego, EYE)
    assert rules(screen, *frames) == [[], [], [], []]


def test_reasons_are_told():
    told = []
    screen = FrameScreen(ScreeningConfig())
    kept = list(screen.kept([make_frame(0), make_frame(1)], told.append))
    assert len(kept) == 1
    assert [str(item).split(":")[0] for item in told] == ["SCRN004 info drive/000/1000000000"]
    assert "0.00 m and 1.0 s after the last kept frame" in told[0].what


def test_several_cameras_may_outvote_a_bad_one():
    frame = make_frame(0, image=np.full((32, 48), 255))
    good = CameraImage(CalibratedSensor("left", "camera", EYE, EYE[:3, :3]), png(texture()), 48, 32)
    both = Frame(frame.key, "0", EYE, camera=frame.camera, other_cameras=(good,))
    assert rules(FrameScreen(ScreeningConfig()), both) == [["SCRN002"]]
    assert rules(FrameScreen(ScreeningConfig(min_good_image_share=0.5)), both) == [[]]
