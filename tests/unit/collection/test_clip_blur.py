"""Clips hold no image that was not judged: blurred as frames are, or not written at all."""

import io
import json

import numpy as np
import pytest
from hand_drives import START_NS, S, write_drive
from hand_regions import HandMade, seen
from PIL import Image

from admlops.collection import privacy
from admlops.collection.clip_blur import MessageBlur
from admlops.collection.privacy import FrameBlur
from admlops.collection.watch import Watch, WatchConfig
from admlops.errors import DataError
from admlops.lake.store import Dataset
from admlops.recordings import decoding, encoding
from admlops.recordings.config import CameraTopic, RecordingConfig
from admlops.recordings.decoding import decode
from admlops.recordings.images import encode_image, image_pixels
from admlops.recordings.messages import Place, RawMessage, Topic
from admlops.recordings.recording import open_recording

BRAKING = [12.0] * 30 + [12.0 - 0.5 * i for i in range(1, 11)] + [7.0] * 30
TRIGGER = {"name": "brake", "when": {"signal": "acceleration_mps2", "below": -3}}
IMAGE_TOPIC = "/camera/image_rect"
NOISE = np.random.default_rng(1).integers(0, 255, (32, 48, 3), dtype=np.uint8)


def watch_braking(tmp_path, privacy, mapping=None, **drive):
    """Watch one braking drive with clips; return the entry of the journal and the clips."""
    (tmp_path / "incoming").mkdir(parents=True)
    (tmp_path / "incoming" / "admlops_recording.yaml").write_text(json.dumps(mapping or {}))
    values = {
        "lake_uri": str(tmp_path / "lake"),
        "triggers": {"triggers": [TRIGGER], "before_s": 1, "after_s": 1},
        "clips_folder": tmp_path / "clips",
        "screening": None,
        "privacy": privacy,
    }
    watch = Watch(tmp_path / "incoming", WatchConfig.parse(values))
    write_drive(watch.root / "brake.mcap", BRAKING, **drive)
    watch.run(once=True, report=lambda _: None)
    (entry,) = (json.loads(file.read_text()) for file in watch.journal.folder.glob("*.json"))
    return entry, sorted((tmp_path / "clips").glob("*.mcap"))


def read_messages(path):
    with open_recording(path) as recording:
        return [(m.topic, m.log_time_ns, bytes(m.data)) for m in recording.messages()]


def image_in(data, topic):
    message = RawMessage(topic, START_NS, data, Place(0, -1, 0))
    return bytes(decode(message, "camera").data)


def test_clips_are_blurred_as_frames_are_and_every_image_is_judged_once(
    hand_made, monkeypatch, tmp_path
):
    looks = []

    def detect(_, pixels):
        looks.append(pixels.tobytes())
        return seen((10, 10, 30, 30, "person", 0.9))

    monkeypatch.setattr(HandMade, "detect", detect)
    entry, (clip,) = watch_braking(tmp_path / "blurred", hand_made)
    _, (plain,) = watch_braking(tmp_path / "plain", None)
    changed, kept = [], []
    for before, after in zip(read_messages(plain), read_messages(clip), strict=True):
        assert before[:2] == after[:2]
        (kept if before[2] == after[2] else changed).append((before, after))
    assert {before[0].name for before, _ in changed} == {IMAGE_TOPIC}
    assert IMAGE_TOPIC not in {before[0].name for before, _ in kept}
    dataset = Dataset.open(str(tmp_path / "blurred" / "lake"))
    frames = list(dataset.take(range(len(dataset.keys())), camera=True))
    in_clip = {image_in(after[2], after[0]) for _, after in changed}
    assert {frame.camera.encoded for frame in frames} <= in_clip
    assert len(frames) > 20
    assert len(looks) == len(set(looks)) == len(changed)
    (told,) = json.loads((tmp_path / "blurred" / "clips" / "clips.json").read_text())["clips"]
    assert told["privacy"] == entry["privacy"] != ""
    assert entry["rules"] == {}


def test_where_nothing_is_seen_a_clip_is_as_it_would_be_without_blurring(hand_made, tmp_path):
    _, (blurred,) = watch_braking(tmp_path / "blurred", hand_made)
    _, (plain,) = watch_braking(tmp_path / "plain", None)
    assert blurred.read_bytes() == plain.read_bytes()


def test_no_clip_is_written_with_an_image_that_cannot_be_judged(hand_made, monkeypatch, tmp_path):
    count = iter(range(10**6))

    def detect(*_):
        if next(count) == 12:
            raise DataError("cannot tell")
        return seen((10, 10, 30, 30, "person", 0.9))

    monkeypatch.setattr(HandMade, "detect", detect)
    entry, clips = watch_braking(tmp_path, hand_made)
    assert clips == []
    assert [file.name for file in (tmp_path / "clips").iterdir()] == ["clips.json"]
    assert entry["clips"] == []
    assert entry["rules"]["PRIV002"] == 1
    (what,) = [line for line in entry["findings"] if "PRIV002" in line]
    assert f"{IMAGE_TOPIC} at" in what
    assert ".mcap was not written" in what
    assert entry["num_kept"] > 20  # frames are judged one by one; asked again, it can tell


def message(topic, type_name, data=b"\0\1\0\0", wire="cdr"):
    return RawMessage(Topic(topic, type_name, wire), START_NS + S, data, Place(0, -1, 0))


def blur_of(config, *topics, clip_types=()):
    cameras = tuple(CameraTopic(topic=topic) for topic in topics)
    return MessageBlur(FrameBlur(config), RecordingConfig(cameras=cameras), clip_types)


def test_what_nobody_judges_is_left_out(hand_made):
    data = encoding.encode_compressed_image(START_NS, "camera", b"no image")
    blur = blur_of(hand_made, "/front/image_raw", clip_types=("can_msgs/msg/Frame",))
    kept = [
        message("/points", decoding.POINT_CLOUD),
        message("/other_imu", decoding.IMU),
        message("/can", "can_msgs/msg/Frame"),
        message("/front/image_raw", decoding.IMAGE, encoding.encode_raw_image(1, "c", NOISE[:0])),
    ]
    assert [blur.apply(item) for item in kept] == kept
    for topic, kind in [
        ("/rear/image_raw", decoding.IMAGE),
        ("/rear/compressed", decoding.COMPRESSED_IMAGE),
        ("/front/image_raw", "ffmpeg_image_transport_msgs/msg/FFMPEGPacket"),
        ("/anything", "std_msgs/msg/UInt8MultiArray"),
    ]:
        assert blur.apply(message(topic, kind, data)) is None
    with pytest.raises(DataError, match="cannot be decoded"):
        blur.apply(message("/front/image_raw", decoding.COMPRESSED_IMAGE, data))
    assert blur_of(hand_made, clip_types=(decoding.IMAGE,)).apply(kept[3]) is None


@pytest.mark.parametrize("wire", ["cdr", "ros1"])
def test_raw_images_come_out_blurred_and_as_raw(hand_made, monkeypatch, wire):
    monkeypatch.setattr(HandMade, "answer", seen((0, 0, 48, 32, "person", 0.9)))
    blur = blur_of(hand_made, "/front/image_raw")
    data = encoding.encode_raw_image(START_NS, "front", NOISE, wire)
    sent = message("/front/image_raw", decoding.IMAGE, data, wire)
    before, after = decode(sent, "front"), decode(blur.apply(sent), "front")
    np.testing.assert_array_equal(image_pixels(before), NOISE)
    assert (after.stamp_ns, after.frame_id, after.encoding) == (START_NS, "front", "rgb8")
    expected = FrameBlur(hand_made).blur_file(encode_image(before)[0])
    np.testing.assert_array_equal(image_pixels(after), np.asarray(Image.open(io.BytesIO(expected))))
    assert image_pixels(after).std() < 0.5 * NOISE.std()


@pytest.mark.parametrize("wire", ["cdr", "ros1"])
def test_compressed_images_come_out_blurred_and_compressed(hand_made, monkeypatch, wire):
    monkeypatch.setattr(HandMade, "answer", seen((0, 0, 48, 32, "person", 0.9)))
    blur = blur_of(hand_made, "/front/compressed")
    buffer = io.BytesIO()
    Image.fromarray(NOISE).save(buffer, "JPEG")
    data = encoding.encode_compressed_image(START_NS, "front", buffer.getvalue(), wire)
    sent = message("/front/compressed", decoding.COMPRESSED_IMAGE, data, wire)
    after = decode(blur.apply(sent), "front")
    assert (after.stamp_ns, after.frame_id, after.encoding) == (START_NS, "front", "jpeg")
    assert bytes(after.data) == FrameBlur(hand_made).blur_file(buffer.getvalue())


def test_topics_that_are_left_out_are_told_with_their_numbers(hand_made, tmp_path):
    mapping = {"cameras": [{"topic": "/other/image_rect"}], "accept_poor": True}
    entry, (clip,) = watch_braking(tmp_path, hand_made, mapping=mapping)
    assert entry["rules"]["PRIV003"] == 1
    (what,) = [line for line in entry["findings"] if "PRIV003" in line]
    assert f"brake {IMAGE_TOPIC}" in what
    assert IMAGE_TOPIC not in {topic.name for topic, *_ in read_messages(clip)}


def test_images_are_remembered_by_their_content(hand_made, monkeypatch):
    looks = []
    monkeypatch.setattr(privacy, "_MAX_KNOWN", 2)
    monkeypatch.setattr(HandMade, "detect", lambda _, pixels: looks.append(pixels) or seen())
    blur = FrameBlur(hand_made, remembers=True)
    for pixels in (NOISE, NOISE.copy(), NOISE.reshape(48, 32, 3), NOISE):
        blur.blur(pixels)
    assert len(looks) == 2
    blur.blur(NOISE[::-1])  # the first one goes
    blur.blur(NOISE)
    assert len(looks) == 4


def test_a_drive_without_frames_gives_clips_where_it_is_accepted(tmp_path):
    mapping = {"lidars": [{"topic": "/absent"}], "accept_poor": True}
    entry, clips = watch_braking(tmp_path, None, mapping=mapping)
    assert (entry["num_frames"], entry["num_kept"]) == (0, 0)
    assert [clip.name for clip in clips] == entry["clips"]
    assert len(clips) == 1


def test_a_recorder_whose_clock_is_another_loses_no_message(tmp_path):
    """Replayed and recorded again: log times years ahead of the stamps (REC013)."""
    _, (clip,) = watch_braking(tmp_path / "same", None)
    entry, (shifted,) = watch_braking(tmp_path / "other", None, ahead_ns=10**8 * S)
    assert entry["rules"] == {"REC013": 3}
    assert read_messages(shifted) == read_messages(clip)
    frames = [Dataset.open(str(tmp_path / name / "lake")).keys() for name in ("same", "other")]
    assert frames[0] == frames[1]
