"""Triggers by hand: conditions, windows, clips and what goes when there is no room."""

import json

import numpy as np
import pytest
from hand_drives import START_NS, S, write_drive

from admlops.analysis.requirement import RequirementCell
from admlops.collection.clip_store import Clip, ClipStore
from admlops.collection.clips import ClipRecorder
from admlops.collection.conditions import Judge, ground_distances_m, is_inside
from admlops.collection.following import Surroundings, TriggerFollower, find_windows
from admlops.collection.signals import Observation, SignalTracker
from admlops.collection.triggers import Trigger, TriggerConfig, TriggerEngine
from admlops.errors import ConfigError, DataError
from admlops.recordings.config import RecordingConfig
from admlops.recordings.events import ImuEvent, OdometryEvent, PositionEvent
from admlops.recordings.messages import Place
from admlops.recordings.recording import open_recording
from admlops.recordings.source import RecordingSource
from admlops.recordings.stream import EventStream, complete, survey
from admlops.structures.boxes import Boxes

HARD_BRAKE = {"signal": "acceleration_mps2", "below": -3.0, "for_s": 0.2}
FAST = {"signal": "speed_mps", "above": 10.0}


def judge(condition, gaps=()):
    return Judge(Trigger.parse({"name": "t", "when": condition}).when, gaps)


def at(time_s, boxes=None, position=None, tags=(), **signals):
    return Observation(round(time_s * S), signals, position, boxes, frozenset(tags))


def seen_boxes(*rows):
    """Return boxes of rows (category, x, y, yaw, score), 4 m long and 2 m wide."""
    return Boxes.make(
        center_m=np.array([[x, y, 1.0] for _, x, y, _, _ in rows]),
        size_m=np.tile([4.0, 2.0, 1.5], (len(rows), 1)),
        yaw_rad=np.array([row[3] for row in rows]),
        category=np.array([row[0] for row in rows], dtype=object),
        score=np.array([row[4] for row in rows]),
    )


def test_a_signal_is_compared_and_must_be_known():
    fast = judge({"signal": "speed_mps", "above": 5, "below": 7})
    speeds = (4.9, 5.0, 5.1, 6.9, 7.0)
    assert [fast.update(at(i, speed_mps=v)) for i, v in enumerate(speeds)] == [0, 0, 1, 1, 0]
    assert fast.update(at(9, yaw_rate_radps=6.0)) is None


def test_what_is_not_known_fires_nothing():
    unknown, yes, no = {"category": "car"}, {"tag": "night"}, {"tag": "rain"}
    seen = at(0, tags=["night"])
    for condition, answer in [
        ({"all_of": [yes, unknown]}, None),
        ({"all_of": [no, unknown]}, False),
        ({"any_of": [yes, unknown]}, True),
        ({"any_of": [no, unknown]}, None),
        ({"none_of": [unknown]}, None),
        ({"none_of": [no]}, True),
        ({"none_of": [no, yes]}, False),
        ({"all_of": [yes, {"none_of": [{"all_of": [no, yes]}]}]}, True),
    ]:
        assert judge(condition).update(seen) is answer, condition


def test_a_condition_must_last():
    fast = judge({**FAST, "for_s": 0.5})
    speeds = [(0.0, 11), (0.4, 11), (0.5, 11), (0.6, 9), (0.7, 11), (1.1, 11), (1.2, 11)]
    answers = [fast.update(at(time, speed_mps=v)) for time, v in speeds]
    assert answers == [False, False, True, False, False, False, True]


def test_parts_last_each_for_itself():
    both = judge({"any_of": [{**FAST, "for_s": 1.0}, {"tag": "night"}]})
    assert both.update(at(0, speed_mps=11, tags=["night"])) is True
    assert both.update(at(0.5, speed_mps=11)) is False
    assert both.update(at(1.0, speed_mps=11)) is True


def test_distance_is_to_the_side_of_the_box():
    boxes = seen_boxes(("car", 7, 0, 0, 1), ("car", 7, 0, np.pi / 2, 1), ("car", 5, -5, 0, 1))
    # 2 m and 1 m of the box lie before its centre; the last is 3 m ahead and 4 m aside
    np.testing.assert_allclose(ground_distances_m(boxes), [5.0, 6.0, 5.0])
    near = judge({"category": "pedestrian", "within_m": 5})
    assert near.update(at(0, seen_boxes(("car", 7, 0, 0, 1)))) is False
    assert near.update(at(0, seen_boxes(("pedestrian", 7, 0, 0, 0.9)))) is True
    assert near.update(at(0, seen_boxes(("pedestrian", 7, 0, 0, 0.4)))) is False
    assert near.update(at(0, seen_boxes(("pedestrian", 7.1, 0, 0, np.nan)))) is False
    assert near.update(at(0)) is None


def test_a_category_below_its_requirement_fires_in_its_range_and_condition():
    gap = RequirementCell(
        category="cyclist", range_m=(20, 40), condition="night+rain", min_boxes=1, min_scenes=1
    )
    rare = judge({"below_requirement": True}, [gap])
    boxes = seen_boxes(("cyclist", 20, 0, 0, 0.9), ("car", 30, 0, 0, 0.9))
    assert rare.update(at(0, boxes, tags=["night", "rain"])) is True
    assert rare.update(at(0, boxes, tags=["night"])) is False
    far = seen_boxes(("cyclist", 40, 0, 0, 0.9))
    assert rare.update(at(0, far, tags=["night", "rain"])) is False


def test_a_region_is_a_polygon():
    corners = np.array([[0, 0], [0, 4], [4, 4], [4, 0], [2, 2]], dtype=float)  # a notch at (2, 2)
    assert is_inside((3.0, 3.0), corners)
    assert not is_inside((2.0, 1.0), corners)
    assert not is_inside((5.0, 1.0), corners)
    here = judge({"region_deg": [[48, 8], [48, 9], [49, 8.5]]})
    assert here.update(at(0, position=(48.2, 8.5))) is True
    assert here.update(at(0, position=(47.9, 8.5))) is False
    assert here.update(at(0)) is None


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ({"signal": "speed_mps"}, "give above, below or both"),
        ({"signal": "speed_mps", "above": 2, "below": 1}, "above must be less"),
        ({"signal": "__import__('os')", "above": 1}, "Input should be 'speed_mps'"),
        ({"eval": "1"}, "a condition has one of the fields signal, category"),
        ("speed > 3", "a condition has one of the fields"),
        ({"all_of": []}, "at least 1"),
        ({"region_deg": [[1, 2], [3, 4]]}, "at least 3"),
        ({"tag": "night", "any_of": [{"tag": "rain"}]}, "Extra inputs"),
    ],
)
def test_wrong_conditions_are_named(condition, reason):
    with pytest.raises(ConfigError, match=reason):
        judge(condition)


def head(time_s, topic="/t"):
    stamp = round(time_s * S)
    return {
        "topic": topic, "sensor": "s", "frame_id": "f", "stamp_ns": stamp,
        "log_time_ns": stamp, "place": Place(0, 0, 0),
    }  # fmt: skip


def odometry(time_s, speed, yaw_rate=0.0):
    return OdometryEvent(
        **head(time_s),
        child_frame_id="base_link",
        translation_m=np.zeros(3),
        quaternion_wxyz=np.array([1.0, 0, 0, 0]),
        velocity_mps=np.array([speed, 0, 0]),
        angular_velocity_radps=np.array([0, 0, yaw_rate]),
    )


def imu(time_s, pitch_rad, acceleration):
    return ImuEvent(
        **head(time_s),
        quaternion_wxyz=np.array([np.cos(pitch_rad / 2), 0, np.sin(pitch_rad / 2), 0]),
        angular_velocity_radps=np.array([0, 0, 0.7]),
        acceleration_mps2=np.array(acceleration),
    )


def test_signals_of_odometry():
    tracker = SignalTracker(max_age_s=0.5)
    seen = [tracker.update(odometry(0.1 * i, 10 - 0.4 * i, 0.2)) for i in range(6)]
    assert "acceleration_mps2" not in seen[1].signals
    assert seen[5].signals["acceleration_mps2"] == pytest.approx(-4.0)
    assert seen[5].signals["speed_mps"] == pytest.approx(8.0)
    assert seen[5].signals["yaw_rate_radps"] == 0.2
    later = tracker.update(
        PositionEvent(**head(1.1), latitude_deg=48.0, longitude_deg=8.0, altitude_m=0, has_fix=True)
    )
    assert (later.signals, later.position_deg) == ({}, (48.0, 8.0))


def test_gravity_is_taken_off_the_imu():
    tracker = SignalTracker(max_age_s=0.5)
    # nose up by 30 degrees and at rest: half of gravity lies along x
    nose_up = tracker.update(imu(0, -np.pi / 6, [9.81 / 2, 0, 8.5]))
    assert nose_up.signals["imu_acceleration_mps2"] == pytest.approx(0.0, abs=1e-12)
    assert nose_up.signals["yaw_rate_radps"] == 0.7
    level = tracker.update(imu(0.1, 0, [-6.0, 0, 9.81]))
    assert level.signals["imu_acceleration_mps2"] == pytest.approx(-3.0)


def config_of(*triggers, **changes):
    values = {"triggers": triggers, "before_s": 2, "after_s": 1, **changes}
    return TriggerConfig.parse(values)


FAST_TRIGGER = {"name": "fast", "when": FAST, "value": 2}
NIGHT_TRIGGER = {"name": "night", "when": {"tag": "night"}, "value": 5}


def windows(config, *observations):
    engine = TriggerEngine(config)
    found = []
    for seen in observations:
        found += engine.update(seen)
    found += engine.finish()
    return [(w.start_ns / S, w.end_ns / S, w.value, dict(w.fired)) for w in found]


def test_windows_that_touch_are_one_and_take_the_greatest_value():
    config = config_of(FAST_TRIGGER, NIGHT_TRIGGER)
    calm = [at(i) for i in range(30)]
    fires = {5: at(5, speed_mps=11), 8: at(8, tags=["night"]), 12: at(12, speed_mps=12)}
    found = windows(config, *[fires.get(i, seen) for i, seen in enumerate(calm)])
    # 5 s: 3 to 6; 8 s: 6 to 9, touching; 12 s: 10 to 13
    assert found == [(3, 9, 5, {"fast": 1, "night": 1}), (10, 13, 2, {"fast": 1})]


def test_a_long_window_is_cut_and_its_pieces_do_not_overlap():
    config = config_of(FAST_TRIGGER, max_length_s=4)
    found = windows(config, *[at(i, speed_mps=11) for i in range(10, 17)])
    spans = [item[:2] for item in found]
    assert spans == [(8, 12), (12 + 1e-9, 16 + 1e-9)]


def test_triggers_are_told_apart_by_name_and_fit_their_length():
    with pytest.raises(ConfigError, match="two triggers are called fast"):
        config_of(FAST_TRIGGER, FAST_TRIGGER)
    with pytest.raises(ConfigError, match="max_length_s must be at least"):
        config_of(FAST_TRIGGER, max_length_s=2)


BRAKING = [12.0] * 60 + [12.0 - 0.5 * i for i in range(1, 11)] + [7.0] * 60
"""At 10 Hz: steady, from 5.9 s to 6.9 s braking with 5 m/s2, steady."""


@pytest.fixture(scope="module")
def braking(tmp_path_factory):
    return write_drive(tmp_path_factory.mktemp("braking") / "brake.mcap", BRAKING)


def record(path, folder, **changes):
    config = config_of({"name": "hard brake", "when": HARD_BRAKE}, **changes)
    store = ClipStore(folder, config.budget_bytes)
    with open_recording(path) as recording:
        mapping = complete(RecordingConfig(), survey(recording))
        follower = TriggerFollower(config, mapping.lidars[0].sensor)
        recorder = ClipRecorder(EventStream(recording, mapping), follower, store)
        return recorder, recorder.run()


def test_a_hard_brake_becomes_a_clip_that_is_read_like_a_recording(braking, tmp_path):
    recorder, (clip,) = record(braking, tmp_path)
    start_s, end_s = ((time - START_NS) / S for time in (clip.start_ns, clip.end_ns))
    # the speed falls from 5.9 s to 6.9 s; its slope over 0.3 s passes -3 m/s2 some 0.2 s later
    # and must last 0.2 s; the last steep slopes end some 0.2 s behind the braking
    assert 6.2 <= start_s + 2 <= 6.45
    assert 6.95 <= end_s - 1 <= 7.15
    with open_recording(tmp_path / clip.file) as part, open_recording(braking) as whole:
        inside = [
            (m.topic, m.log_time_ns, bytes(m.data))
            for m in whole.messages()
            if clip.start_ns <= m.log_time_ns <= clip.end_ns
        ]
        copied = [(m.topic, m.log_time_ns, bytes(m.data)) for m in part.messages()]
        assert copied[2:] == inside  # before them: the static transforms and the intrinsics
        assert [item[0].name for item in copied[:2]] == ["/tf_static", "/camera/camera_info"]
    source = RecordingSource(tmp_path / clip.file, RecordingConfig())
    assert len(source) == pytest.approx((end_s - start_s) * 10, abs=2)
    assert source.read(3).frame.camera is not None
    # 2 s of the recording, and not all of its 13 s
    assert recorder.max_buffered_bytes < 0.25 * braking.stat().st_size * 2


def test_the_same_drive_gives_the_same_clip_again(braking, tmp_path):
    _, (first,) = record(braking, tmp_path / "a")
    record(braking, tmp_path / "b")
    _, (again,) = record(braking, tmp_path / "b")
    assert first == again
    assert len(ClipStore(tmp_path / "b", 10**9).ledger.clips) == 1


def test_windows_of_a_drive_know_its_tags_and_what_a_detector_sees(braking):
    near = {"name": "near", "when": {"category": "pedestrian", "within_m": 5}}
    config = config_of({"name": "night", "when": {"tag": "night", "for_s": 8}}, near)
    walker = {START_NS + 4 * S: seen_boxes(("pedestrian", 6, 0, 0, 0.9))}

    def look(event):
        return walker.get(event.stamp_ns, seen_boxes(("car", 30, 0, 0, 0.9)))

    def find(*tags):
        follower = TriggerFollower(config, "lidar", Surroundings(tags, look=look))
        return find_windows(events, follower, lambda: None)

    with open_recording(braking) as recording:
        events = EventStream(recording, complete(RecordingConfig(), survey(recording)))
        (day,) = find()
        dusk = find("night")
    # the pedestrian is known until the next sweep looks
    assert (day.start_ns, day.end_ns) == (START_NS + 2 * S, START_NS + 5 * S + 8 * S // 100)
    assert [set(window.fired) for window in dusk] == [{"near"}, {"night"}]
    assert dusk[1].start_ns == START_NS + 6 * S


def test_a_small_buffer_cuts_the_begin_and_says_so(braking, tmp_path):
    recorder, (clip,) = record(braking, tmp_path, buffer_bytes=20_000)
    assert clip.is_cut
    assert recorder.max_buffered_bytes <= 20_000
    assert recorder.store.log.fired() == ["TRIG002"]
    _, (whole,) = record(braking, tmp_path / "whole")
    assert clip.num_bytes < whole.num_bytes


def make_clip(store, log, start, value, num_bytes):
    (store.folder / f"{log}-{start}.mcap").write_bytes(b"x" * num_bytes)
    return Clip(
        file=f"{log}-{start}.mcap", digest="", log=log, start_ns=start, end_ns=start + 1,
        value=value, fired={}, num_bytes=num_bytes,
    )  # fmt: skip


def test_the_least_valuable_and_of_these_the_latest_clips_go(tmp_path):
    store = ClipStore(tmp_path, 100)
    for log, start, value, size in [
        ("a", 1, 5, 40), ("a", 2, 1, 30), ("b", 3, 1, 30), ("b", 4, 2, 20), ("c", 5, 9, 90)
    ]:  # fmt: skip
        store.add(make_clip(store, log, start, value, size))
    # (b, 4) drives out (b, 3), the later one of value 1; (c, 5) all others
    assert [clip.start_ns for clip in store.ledger.dropped] == [3, 1, 2, 4]
    assert [file.name for file in tmp_path.glob("*.mcap")] == ["c-5.mcap"]
    assert store.log.counts == {"TRIG001": 4}
    assert ClipStore(tmp_path, 100).ledger == store.ledger


def test_left_overs_of_a_killed_run_go(tmp_path):
    store = ClipStore(tmp_path, 100)
    store.add(make_clip(store, "a", 1, 1, 10))
    (tmp_path / ".b-2.mcap").write_bytes(b"half")
    (tmp_path / "b-3.mcap").write_bytes(b"not in the ledger")
    (tmp_path / "notes.txt").write_text("mine")
    ClipStore(tmp_path, 100)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["a-1.mcap", "clips.json", "notes.txt"]
    (tmp_path / "clips.json").write_text("{")
    with pytest.raises(DataError, match=r"clips\.json: is damaged"):
        ClipStore(tmp_path, 100)
    (tmp_path / "clips.json").write_text('{"clips": 3}')
    with pytest.raises(DataError, match=r"clips\.json: is damaged"):
        ClipStore(tmp_path, 100)


def test_a_folder_of_recordings_is_no_folder_of_clips(tmp_path):
    (tmp_path / "drive-1.mcap").write_bytes(b"mine")
    with pytest.raises(ConfigError, match=r"holds drive-1\.mcap and no clips\.json"):
        ClipStore(tmp_path, 100)
    assert (tmp_path / "drive-1.mcap").read_bytes() == b"mine"


def test_triggers_come_from_yaml(tmp_path):
    path = tmp_path / "triggers.yaml"
    path.write_text(
        "triggers:\n"
        "  - {name: near, value: 3, when: {category: pedestrian, within_m: 5}}\n"
        "  - {name: rare, when: {all_of: [{below_requirement: true}, {tag: night}]}}\n"
    )
    config = TriggerConfig.load(path)
    assert config.need_detections
    assert config.need_gaps
    assert not config_of(FAST_TRIGGER).need_detections
    assert TriggerConfig.parse(json.loads(json.dumps(config.to_json_dict()))) == config
