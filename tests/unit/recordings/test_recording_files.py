"""Files of recordings: every kind is read as the public libraries write it; damage is told."""

import sqlite3
import struct
from collections import Counter

import pytest
from mcap.reader import make_reader

from admlops.errors import DataError
from admlops.recordings.recorder import RosRecorder
from admlops.recordings.recording import find_recordings, open_recording
from admlops.recordings.stream import survey
from admlops.recordings.wire import WireReader

NUM_MESSAGES = 40


def texts(recording):
    return [WireReader(m.data, m.topic.encoding).text() for m in recording.messages()]


def check_whole(path):
    with open_recording(path) as recording:
        expected = [f"message {number} " * 20 for number in range(NUM_MESSAGES)]
        assert texts(recording) == expected
        assert recording.log.kept == []
        for message in recording.messages():
            assert message.topic.name == "/chatter"
            assert message.topic.type_name == "std_msgs/msg/String"
            assert bytes(recording.read(message.place)) == bytes(message.data)
        assert [m.log_time_ns for m in recording.messages()] == list(range(1_000, 1_040))


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
@pytest.mark.parametrize("use_chunking", [True, False])
def test_mcap_is_read_as_the_public_library_writes_it(write_mcap, compression, use_chunking):
    check_whole(write_mcap(compression, use_chunking))


@pytest.mark.parametrize("compression", ["none", "bz2", "lz4"])
def test_ros1_bags_are_read_as_rosbags_writes_them(write_ros1, compression):
    check_whole(write_ros1(compression))


@pytest.mark.parametrize(
    ("storage", "packed"),
    [("sqlite3", ""), ("sqlite3", "file"), ("sqlite3", "message"), ("mcap", "")],
)
def test_rosbag2_folders_are_read_as_rosbags_writes_them(write_rosbag2, storage, packed):
    check_whole(write_rosbag2(storage, packed))


def schemas_of_copy(source, target):
    """Copy a recording message by message; return (name, kind, text) of its schema."""
    with open_recording(source) as recording, target.open("wb") as file:
        recorder = RosRecorder(file, profile="")
        for message in recording.messages():
            recorder.copy(message.topic, message.log_time_ns, bytes(message.data))
        recorder.finish()
    with target.open("rb") as file:
        (schema,) = make_reader(file).get_summary().schemas.values()
    return schema.name, schema.encoding, schema.data.decode().strip()


def test_copies_keep_the_definitions_of_types(write_mcap, write_ros1, write_rosbag2, tmp_path):
    target = tmp_path / "copy.mcap"
    name = "std_msgs/msg/String"
    assert schemas_of_copy(write_mcap(), target) == (name, "ros2msg", "string data")
    check_whole(target)
    assert schemas_of_copy(write_rosbag2(), target) == (name, "ros2msg", "string data")
    assert schemas_of_copy(write_ros1(), target) == ("std_msgs/String", "ros1msg", "string data")
    check_whole(target)


def test_a_damaged_definition_is_passed_over(write_rosbag2, write_mcap, tmp_path):
    bag = write_rosbag2()
    (file,) = bag.glob("*.db3")
    with sqlite3.connect(file) as database:
        database.execute("ALTER TABLE message_definitions RENAME COLUMN encoding TO other")
    database.close()
    assert schemas_of_copy(bag, tmp_path / "copy.mcap") == ("std_msgs/msg/String", "", "")
    path = write_mcap("none", use_chunking=False)
    content = path.read_bytes()
    text = struct.pack("<I", 11) + b"string data"
    path.write_bytes(content.replace(text, struct.pack("<I", 99) + b"string data"))
    with open_recording(path) as recording:
        assert len(texts(recording)) == NUM_MESSAGES


def test_a_cut_mcap_gives_what_lies_before_the_cut(write_mcap):
    path = write_mcap()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with open_recording(path) as recording:
        assert 5 < len(texts(recording)) < NUM_MESSAGES
        assert recording.log.fired() == ["REC002"]


def test_a_damaged_chunk_is_left_out_and_the_rest_is_read(write_mcap):
    path = write_mcap("none")
    content = bytearray(path.read_bytes())
    at = content.index(b"message 12 ")
    content[at] ^= 0xFF
    path.write_bytes(content)
    with open_recording(path) as recording:
        read = texts(recording)
        assert "message 0 " * 20 in read
        assert "message 39 " * 20 in read
        assert "message 12 " * 20 not in read
        assert recording.log.counts == Counter({"REC002": 1})


def test_a_length_beyond_belief_is_refused_without_taking_memory(write_mcap):
    path = write_mcap(use_chunking=False)
    content = bytearray(path.read_bytes())
    at = content.index(b"message 1 ") - 4 - 4 - 22 - 8
    struct.pack_into("<Q", content, at, 2**62)
    path.write_bytes(content)
    with open_recording(path) as recording:
        assert texts(recording) == ["message 0 " * 20]
        (finding,) = recording.log.kept
        assert finding.rule.rule_id == "REC002"
        assert f"{2**62} bytes" in finding.what


def test_a_chunk_that_unpacks_to_more_than_it_says_is_left_out(write_mcap):
    path = write_mcap("zstd")
    content = bytearray(path.read_bytes())
    at = content.index(b"zstd") - 4 - 4 - 8
    (num_bytes,) = struct.unpack_from("<Q", content, at)
    struct.pack_into("<Q", content, at, num_bytes // 2)
    path.write_bytes(content)
    with open_recording(path) as recording:
        assert len(texts(recording)) < NUM_MESSAGES
        assert "unpacks to" in recording.log.kept[0].what


def test_another_version_is_refused_by_name(write_mcap, write_ros1):
    mcap, bag = write_mcap(), write_ros1()
    mcap.write_bytes(mcap.read_bytes().replace(b"MCAP0", b"MCAP7", 1))
    with pytest.raises(DataError, match="version b'7'"):
        open_recording(mcap)
    bag.write_bytes(bag.read_bytes().replace(b"V2.0", b"V1.2", 1))
    with pytest.raises(DataError, match=r"version .*V1\.2"):
        open_recording(bag)


def test_what_is_no_recording_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        open_recording(tmp_path / "absent.mcap")
    with pytest.raises(DataError, match="holds no recording"):
        open_recording(tmp_path)
    (tmp_path / "empty.mcap").touch()
    with pytest.raises(DataError, match="is empty"):
        open_recording(tmp_path / "empty.mcap")
    (tmp_path / "text.mcap").write_text("hello")
    with pytest.raises(DataError, match="no MCAP file"):
        open_recording(tmp_path / "text.mcap")


def test_a_view_in_place_of_a_table_is_refused(tmp_path):
    path = tmp_path / "endless.db3"
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE topics(id, name, type, serialization_format)")
        database.execute(f"CREATE VIEW messages AS {endless}")
    database.close()
    with pytest.raises(DataError, match="no table 'messages'"):
        open_recording(path)


def test_metadata_that_leads_out_of_the_folder_is_refused(write_rosbag2, tmp_path):
    path = write_rosbag2()
    (tmp_path / "elsewhere.db3").write_bytes(b"x")
    metadata = path / "metadata.yaml"
    name = f"{path.name}.db3"
    metadata.write_text(metadata.read_text().replace(name, "../elsewhere.db3"))
    with pytest.raises(DataError, match="lies elsewhere"):
        open_recording(path)


def test_metadata_that_grows_without_bound_is_refused_at_once(write_rosbag2):
    path = write_rosbag2()
    bomb = ["bomb:", "  - &a0 [x, x, x, x, x, x, x, x, x]"]
    bomb += [f"  - &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    metadata = path / "metadata.yaml"
    text = metadata.read_text().replace("name: /chatter", "name: *a29")
    metadata.write_text("\n".join(bomb) + "\n" + text)
    with pytest.raises(DataError, match="a list in place of a text"):
        open_recording(path)
    metadata.write_text("[" * 100_000)
    with pytest.raises(DataError, match="not valid YAML"):
        open_recording(path)
    metadata.write_text(text.replace("version: 8", "version: 99").replace("*a29", "/chatter"))
    with pytest.raises(DataError, match="version 99"):
        open_recording(path)


def test_counts_are_compared_with_the_metadata(write_rosbag2):
    path = write_rosbag2()
    metadata = path / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("message_count: 40", "message_count: 41"))
    with open_recording(path) as recording:
        assert len(texts(recording)) == NUM_MESSAGES
        assert recording.log.fired() == ["REC003"]


def test_numbered_parts_are_one_recording_and_others_stand_alone(tmp_path):
    names = [*(f"a/part_{number}.mcap" for number in range(11)), "b/one.mcap", "b/two.bag"]
    names += ["c/notes.txt", "d/drive_1.mcap", "d/drive_2.mcap", "e/²_0.mcap", "e/³_1.mcap"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\x89MCAP0\r\n")
    found = [str(path.relative_to(tmp_path)) for path in find_recordings(tmp_path)]
    assert found[:3] == ["a", "b/one.mcap", "b/two.bag"]
    assert found[3:5] == ["d/drive_1.mcap", "d/drive_2.mcap"]
    assert sorted(found[5:]) == ["e/²_0.mcap", "e/³_1.mcap"]
    with open_recording(tmp_path / "a") as recording:
        assert [file.name for file in recording.files][8:] == [
            "part_8.mcap",
            "part_9.mcap",
            "part_10.mcap",
        ]


EXPECTED = {
    "ros1/example.bag": {"/tf": 2688, "/tf_static": 1, "/turtle1/pose": 1344, "/rosout": 10},
    "ros1/example-bz2.bag": {"/tf": 2688, "/tf_static": 1, "/turtle2/cmd_vel": 208},
    "ros1/example-lz4.bag": {"/tf": 2688, "/tf_static": 1, "/turtle1/color_sensor": 1351},
    "rosbag2_py/mcap/convert_a": {"a_empty": 100, "b_basictypes": 50},
    "rosbag2_py/mcap/convert_b": {"a_empty": 25, "c_strings": 50},
    "rosbag2_py/mcap/reindex_test_bags/multiple_files": {"/chatter": 3177},
    "rosbag2_py/mcap/talker": {"/rosout": 10, "/topic": 10},
    "rosbag2_py/mcap/wbag": {"AAA": 804, "BBB": 742, "CCC": 742, "DDD": 753, "HHH": 726},
    "rosbag2_py/sqlite3/convert_a": {"a_empty": 100, "b_basictypes": 50},
    "rosbag2_py/sqlite3/convert_b": {"a_empty": 25, "c_strings": 50},
    "rosbag2_py/sqlite3/reindex_test_bags/multiple_files": {"/chatter": 3177},
    "rosbag2_py/sqlite3/talker": {"/rosout": 10, "/topic": 10},
    "rosbag2_py/sqlite3/wbag": {"AAA": 804, "EEE": 804, "FFF": 772, "GGG": 731},
    "rosbag2_tests/mcap/bag_with_topics_and_service_events": {
        "/test_service1/_service_event": 4,
        "/test_service2/_service_event": 4,
        "/test_topic1": 1,
        "/test_topic2": 1,
    },
    "rosbag2_tests/mcap/cdr_test": {"/test_topic": 3, "/array_topic": 4},
    "rosbag2_tests/mcap/wrong_rmw_test": "serialised as wrong_format",
    "rosbag2_tests/sqlite3/bag_with_topics_and_service_events": {
        "/test_service1/_service_event": 4,
        "/test_service2/_service_event": 4,
        "/test_topic1": 1,
        "/test_topic2": 1,
    },
    "rosbag2_tests/sqlite3/cdr_test": {"/test_topic": 3, "/array_topic": 4},
    "rosbag2_tests/sqlite3/wrong_rmw_test": "serialised as wrong_format",
}
TOTALS = {"example": 8647, "convert_a": 150, "multiple_files": 3177, "wbag": 6074, "talker": 20}


def test_every_real_recording_is_listed(real_data):
    root = real_data / "recordings"
    found = [str(path.relative_to(root)) for path in find_recordings(root)]
    assert sorted(found) == sorted(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_real_recordings_are_read_or_refused_with_the_right_reason(real_data, name):
    path, expected = real_data / "recordings" / name, EXPECTED[name]
    if isinstance(expected, str):
        with pytest.raises(DataError, match=expected):
            open_recording(path)
        return
    with open_recording(path) as recording:
        counts = Counter(message.topic.name for message in recording.messages())
        assert counts | expected == counts
        assert expected.items() <= counts.items()
        if recording.name in TOTALS:
            assert counts.total() == TOTALS[recording.name]
        assert recording.log.kept == []


def test_a_real_folder_without_recordings_is_refused(real_data):
    with pytest.raises(DataError, match="holds no recording"):
        open_recording(real_data / "recordings" / "rosbag2_tests" / "empty_dir")


def test_a_file_of_another_middleware_is_told_without_its_metadata(real_data):
    """The MCAP file says so itself; the database says "cdr", only its metadata.yaml does not."""
    folder = real_data / "recordings" / "rosbag2_tests"
    name = "wrong_rmw_test/wrong_rmw_test_0"
    with (
        open_recording(folder / "mcap" / f"{name}.mcap") as recording,
        pytest.raises(DataError, match="serialised as wrong_format"),
    ):
        survey(recording)
    with open_recording(folder / "sqlite3" / f"{name}.db3") as recording:
        assert survey(recording).num_messages == 7


def test_a_database_whose_text_is_damaged_is_refused(write_rosbag2):
    (path,) = write_rosbag2().glob("*.db3")
    content = path.read_bytes()
    assert b"CREATE TABLE messages" in content
    path.write_bytes(content.replace(b"CREATE TABLE messages", b"CREATE TABL\xff messages"))
    with pytest.raises(DataError, match="no readable SQLite file"):
        open_recording(path)
