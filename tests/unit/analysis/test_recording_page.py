import numpy as np

from admlops.analysis.recording_page import render_quality
from admlops.checks.rules import find
from admlops.recordings.quality import NUM_PIECES, RecordingQuality, SensorQuality

SENSOR = SensorQuality(
    sensor="lidar<top>",
    topic="/lidar",
    num_messages=1234,
    rate_hz=9.5,
    expected_hz=10.0,
    num_dropped=61,
    drop_share=0.05,
    jitter_s=0.0123,
    longest_gap_s=1.5,
    gap_at_s=3.0,
    num_backward=1,
    num_forward=2,
    worst_jump_s=-4.25,
    latency_s=0.002,
    latency_spread_s=0.001,
    num_out_of_order=7,
    num_empty=8,
    sync_share=0.875,
    sync_residual_s=0.004,
    sync_worst_s=0.009,
    activity=(1.0,) * NUM_PIECES,
)


def quality(name, *findings, sensors=(SENSOR,), num_frames=10):
    return RecordingQuality(name, 0, 130.0, 5000, num_frames, 3, sensors, {"/x y/Z": 4}, findings)


def test_a_refused_recording_names_its_rules_and_numbers():
    finding = find("REC010", "drive lidar", "1 stamps go back")
    page = render_quality([quality("drive", finding), quality("other", num_frames=20)])
    assert 'drive <span class="tag bad">refused</span>' in page
    assert 'other <span class="tag good">accepted</span>' in page
    assert "REC010" in page
    assert finding.rule.mend in page
    for text in ("1,234", "9.50", "61 (5.0%)", "12.3", "3 (-4.25 s)", "87.5%", "4.0 / 9.0"):
        assert text in page
    assert "lidar&lt;top&gt;" in page
    assert "4 min 20 s" in page
    assert "<b>20</b><span>frames accepted" in page
    assert "3 sweeps at the ends" in page
    assert "/x y/Z" in page


def test_a_recording_without_sensors_has_a_page():
    page = render_quality([quality("empty", find("REC005", "empty", "no topic"), sensors=())])
    assert "REC005" in page
    assert render_quality([]).startswith("<!DOCTYPE html>")


def test_recordings_that_could_not_be_read_are_listed_first():
    page = render_quality([quality("drive")], [find("REC001", "drives/cut.mcap", "is empty")])
    assert page.index("drives/cut.mcap") < page.index("accepted</span></h2>")
    assert "is empty" in page
    assert '<div class="card bad"><b>1</b><span>accepted' in page


def test_what_was_not_measured_is_null_in_json():
    values = quality("drive").to_json_dict()
    assert values["sensors"][0]["worst_jump_s"] == -4.25
    (main,) = [SENSOR.__class__(**_values(sync_share=np.nan))]
    assert quality("drive", sensors=(main,)).to_json_dict()["sensors"][0]["sync_share"] is None


def _values(**changes):
    return {name: getattr(SENSOR, name) for name in SENSOR.__slots__} | changes
