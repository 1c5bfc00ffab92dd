"""Every damage of a drive is found by exactly its rule; numbers are worked out by hand."""

import json

import numpy as np
import pytest
from drives import MS, START_NS, Drive, points

from admlops.recordings.config import CameraTopic, LidarTopic, RecordingConfig
from admlops.recordings.recording import open_recording
from admlops.recordings.source import examine


def quality_of(drive, tmp_path, config=None):
    with open_recording(drive.write(tmp_path / "drive.mcap")) as recording:
        return examine(recording, config or RecordingConfig())[1]


def fired(quality):
    return {finding.rule.rule_id for finding in quality.findings}


def sensor(quality, name):
    return next(item for item in quality.sensors if item.sensor == name)


def test_a_good_drive_breaks_no_rule(tmp_path):
    quality = quality_of(Drive(), tmp_path)
    assert quality.findings == ()
    assert quality.is_accepted
    lidar, camera = sensor(quality, "lidar"), sensor(quality, "camera")
    assert lidar.num_messages == camera.num_messages == 30
    assert lidar.expected_hz == pytest.approx(10.0)
    assert lidar.latency_s == pytest.approx(0.002, abs=1e-9)
    assert camera.sync_share == 1.0
    assert camera.sync_residual_s == camera.sync_worst_s == pytest.approx(0.005)
    assert np.isnan(lidar.sync_share)
    assert quality.unmapped == {}


def test_the_report_is_plain_json(tmp_path):
    values = quality_of(Drive(), tmp_path).to_json_dict()
    again = json.loads(json.dumps(values, allow_nan=False))
    assert again["sensors"][0]["topic"].startswith("/")
    assert {item["sensor"]: item["sync_share"] for item in again["sensors"]}["lidar"] is None


def test_dropped_sweeps_are_counted(tmp_path):
    drive = Drive()
    drive.sweeps_ns = [time for i, time in enumerate(drive.sweeps_ns) if i not in (5, 6, 12)]
    quality = quality_of(drive, tmp_path)
    lidar = sensor(quality, "lidar")
    assert lidar.num_dropped == 3
    assert lidar.drop_share == pytest.approx(3 / 30)
    assert lidar.longest_gap_s == pytest.approx(0.3)
    assert lidar.gap_at_s == pytest.approx(0.1 + 0.4 + 0.002)  # odometry begins 0.1 s before
    assert fired(quality) == {"REC007"}
    assert not quality.is_accepted


def test_a_sensor_that_stops_early_is_below_its_rate(tmp_path):
    drive = Drive()
    drive.images_ns = drive.images_ns[:15]
    quality = quality_of(drive, tmp_path)
    assert fired(quality) == {"REC006", "REC015"}
    assert sensor(quality, "camera").sync_share == 0.5


def test_a_rate_that_is_meant_is_held_against_the_recording(tmp_path):
    config = RecordingConfig(lidars=(LidarTopic(topic="/lidar/points", rate_hz=20.0),))
    quality = quality_of(Drive(), tmp_path, config)
    assert {"REC006", "REC007"} <= fired(quality)


def test_a_gap_of_all_sensors_is_found(tmp_path):
    drive = Drive(100)
    drive.sweeps_ns = [t + (1500 * MS if i >= 50 else 0) for i, t in enumerate(drive.sweeps_ns)]
    drive.images_ns = [time + 5 * MS for time in drive.sweeps_ns]
    quality = quality_of(drive, tmp_path, RecordingConfig(limits={"max_drop_share": 0.2}))
    assert fired(quality) == {"REC009"}
    assert sensor(quality, "lidar").longest_gap_s == pytest.approx(1.6)


def test_unsteady_periods_are_jitter(tmp_path):
    drive = Drive()
    drive.sweeps_ns = [time + (i % 2) * 30 * MS for i, time in enumerate(drive.sweeps_ns)]
    quality = quality_of(drive, tmp_path)
    assert fired(quality) == {"REC008"}
    assert sensor(quality, "lidar").jitter_s == pytest.approx(0.03, abs=0.031)


def test_a_clock_that_jumps_is_told_from_a_gap(tmp_path):
    drive = Drive()
    jump_ns = 5_000 * MS
    drive.sweeps_ns = [t + (jump_ns if i >= 20 else 0) for i, t in enumerate(drive.sweeps_ns)]
    drive.images_ns = [time + 5 * MS for time in drive.sweeps_ns]
    drive.log_ns = lambda stamp: stamp - (jump_ns if stamp > START_NS + jump_ns else 0) + 2 * MS
    drive.end_ns = START_NS + 3_000 * MS
    quality = quality_of(drive, tmp_path)
    lidar = sensor(quality, "lidar")
    assert fired(quality) == {"REC011"}
    assert (lidar.num_forward, lidar.num_backward) == (1, 0)
    assert lidar.worst_jump_s == pytest.approx(5.0)
    assert lidar.longest_gap_s < 0.2


def test_a_clock_that_goes_back_is_found(tmp_path):
    drive = Drive()
    back_ns = 700 * MS
    written = {}
    stamps = []
    for row, time in enumerate(drive.sweeps_ns):
        stamps.append(time - (back_ns if row >= 20 else 0) + row)
        written[stamps[-1]] = time
    drive.sweeps_ns = stamps
    drive.log_ns = lambda stamp: written.get(stamp, stamp)
    quality = quality_of(drive, tmp_path)
    lidar = sensor(quality, "lidar")
    assert "REC010" in fired(quality)
    assert lidar.num_backward == 1
    assert lidar.worst_jump_s == pytest.approx(-0.6, abs=1e-6)


def test_late_messages_and_a_wrong_clock_are_latency(tmp_path):
    drive = Drive()
    drive.log_ns = lambda stamp: stamp + 3_000 * MS
    quality = quality_of(drive, tmp_path)
    assert fired(quality) >= {"REC013"}
    assert sensor(quality, "lidar").latency_s == pytest.approx(3.0)


def test_images_too_far_from_the_sweeps_are_no_partners(tmp_path):
    drive = Drive()
    drive.images_ns = [time + 45 * MS for time in drive.sweeps_ns]
    config = RecordingConfig(sync_tolerance_s=0.02)
    quality = quality_of(drive, tmp_path, config)
    assert fired(quality) == {"REC015"}
    shifted = CameraTopic(topic="/camera/image_rect", time_offset_s=-0.045)
    quality = quality_of(drive, tmp_path, config.replace(cameras=(shifted.model_dump(),)))
    assert quality.findings == ()
    assert sensor(quality, "camera").sync_residual_s == pytest.approx(0.0, abs=1e-9)


def test_empty_payloads_are_counted(tmp_path):
    drive = Drive()
    drive.cloud = lambda row: points(0 if row % 3 == 0 else 5)
    quality = quality_of(drive, tmp_path)
    assert fired(quality) == {"REC014"}
    assert sensor(quality, "lidar").num_empty == 10


def test_what_is_missing_for_frames_is_named(tmp_path):
    drive = Drive()
    drive.has_calibration = False
    config = RecordingConfig(cameras=(CameraTopic(topic="/camera/image_rect"),))
    assert fired(quality_of(drive, tmp_path, config)) == {"REC016"}
    drive = Drive()
    drive.has_mounting = False
    assert fired(quality_of(drive, tmp_path)) == {"REC016"}
    drive = Drive()
    drive.has_odometry = False
    assert fired(quality_of(drive, tmp_path)) == {"REC017"}


def test_a_topic_that_is_not_there_or_of_another_type_is_named(tmp_path):
    config = RecordingConfig(lidars=(LidarTopic(topic="/absent"),))
    quality = quality_of(Drive(), tmp_path, config)
    assert "REC005" in fired(quality)
    what = next(item.what for item in quality.findings if item.rule.rule_id == "REC005")
    assert "/lidar/points" in what
    config = RecordingConfig(
        lidars=(LidarTopic(topic="/lidar/points"),), cameras=(CameraTopic(topic="/odometry"),)
    )
    assert "REC005" in fired(quality_of(Drive(), tmp_path, config))


def test_points_without_times_are_a_warning(tmp_path, monkeypatch):
    drive = Drive()
    monkeypatch.setattr("admlops.recordings.point_cloud._TIME_NAMES", ("absent",))
    quality = quality_of(drive, tmp_path)
    assert fired(quality) == {"REC018"}
    assert quality.is_accepted
    config = RecordingConfig(motion_compensation=False)
    assert quality_of(drive, tmp_path, config).findings == ()


def test_a_message_that_cannot_be_decoded_is_passed_over(tmp_path):
    drive = Drive()
    path = drive.write(tmp_path / "whole.mcap")
    with open_recording(path) as recording:
        raw = [message for message in recording.messages() if message.topic.name == "/lidar/points"]
    from admlops.recordings.recorder import RosRecorder

    broken = tmp_path / "drive.mcap"
    with open_recording(path) as recording, broken.open("wb") as file:
        recorder = RosRecorder(file)
        for message in recording.messages():
            data = bytes(message.data)
            if message.place == raw[3].place:
                data = data[:40]
            recorder.write(message.topic.name, message.topic.type_name, message.log_time_ns, data)
        recorder.finish()
    with open_recording(broken) as recording:
        quality = examine(recording, RecordingConfig())[1]
    assert fired(quality) == {"REC004"}
    assert sensor(quality, "lidar").num_dropped == 1
