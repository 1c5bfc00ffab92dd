"""Damages recordings at random and reads them to the last frame; run as a script for many.

    python tests/unit/recordings/mutations.py 10000

Whatever the damage, reading ends in frames, findings or a `DataError`: anything else is a defect.
"""

import random
import resource
import sqlite3
import struct
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as Ros2Writer
from rosbags.typesys import Stores, get_typestore

from admlops.errors import DataError
from admlops.recordings.config import RecordingConfig
from admlops.recordings.recording import open_recording
from admlops.recordings.source import RecordingSource

MAX_SECONDS = 20.0
ENCODINGS = ("cdr", "ros1")
_HUGE = (0, 1, 0x7F, 0xFF, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFF0)


def read_to_the_end(path: Path) -> str:
    """Read a recording as `ingest` does; return how it ended."""
    config = RecordingConfig(accept_poor=True)
    try:
        source = RecordingSource(path, config)
    except DataError:
        return "refused"
    num_frames = sum(source.read(index).frame is not None for index in range(len(source)))
    source.close()
    if not num_frames:
        return "refused" if source.num_refused else "no frames"
    return "read with findings" if source.findings else "read"


def seeds(folder: Path) -> list[Path]:
    """Write one small whole drive in every kind of container."""
    from drives import Drive

    drive = Drive(4)
    first = drive.write(folder / "zstd.mcap")
    with open_recording(first) as recording:
        messages = [
            (item.topic, item.log_time_ns, bytes(item.data)) for item in recording.messages()
        ]
    paths = [first, *(_plain_mcap(folder / f"{name}.mcap", messages, name) for name in ENCODINGS)]
    paths.append(_rosbag2(folder / "sqlite", messages) / "sqlite.db3")
    return [*paths, *(_ros1(folder / f"{name}.bag", messages, name) for name in ("none", "lz4"))]


def navigated_seed(folder: Path) -> Path:
    """Write a drive whose poses come from fixes and an Imu; no checksum hides what is damaged."""
    from drives import MS, Drive

    drive = Drive(6)
    drive.has_odometry, drive.fix_period_ns, drive.imu_yaw_deg = False, 50 * MS, 0.0
    with open_recording(drive.write(folder / "chunked.mcap")) as recording:
        messages = [
            (item.topic, item.log_time_ns, bytes(item.data)) for item in recording.messages()
        ]
    return _plain_mcap(folder / "navigated.mcap", messages, "cdr")


def _plain_mcap(path, messages, encoding):
    """Write a file without chunks; `mcap convert` writes ROS 1 messages into MCAP as "ros1"."""
    from mcap.writer import CompressionType, Writer

    store = get_typestore(Stores.ROS2_HUMBLE)

    with path.open("wb") as file:
        writer = Writer(file, compression=CompressionType.NONE, use_chunking=False)
        writer.start("ros1" if encoding == "ros1" else "ros2", "test")
        channels = {}
        for topic, time_ns, data in messages:
            if topic not in channels:
                kind = topic.type_name
                kind = kind.replace("/msg/", "/") if encoding == "ros1" else kind
                schema = writer.register_schema(kind, "", b"")
                channels[topic] = writer.register_channel(topic.name, encoding, schema)
            if encoding == "ros1":
                content = bytes(store.cdr_to_ros1(data, topic.type_name))
            else:
                content = data
            writer.add_message(channels[topic], time_ns, content, time_ns)
        writer.finish()
    return path


def _rosbag2(path, messages):
    store = get_typestore(Stores.ROS2_HUMBLE)
    with Ros2Writer(path, version=8, storage_plugin=StoragePlugin.SQLITE3) as writer:
        topics = {}
        for topic, time_ns, data in messages:
            if topic not in topics:
                topics[topic] = writer.add_connection(topic.name, topic.type_name, typestore=store)
            writer.write(topics[topic], time_ns, data)
    return path


def _ros1(path, messages, compression):
    store = get_typestore(Stores.ROS2_HUMBLE)
    writer = Ros1Writer(path)
    if compression != "none":
        writer.set_compression(Ros1Writer.CompressionFormat[compression.upper()])
    with writer:
        topics = {}
        for topic, time_ns, data in messages:
            if topic not in topics:
                topics[topic] = writer.add_connection(
                    topic.name, topic.type_name, msgdef="unused", md5sum="0" * 32
                )
            writer.write(topics[topic], time_ns, bytes(store.cdr_to_ros1(data, topic.type_name)))
    return path


def mutate(content: bytes, chance: random.Random) -> bytes:
    """Return the bytes with one to four damages."""
    data = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        kind = chance.randrange(7)
        at = chance.randrange(max(len(data), 1))
        span = chance.choice((1, 2, 8, 64, 1000))
        if kind == 0:
            data[at : at + 1] = bytes([chance.randrange(256)])
        elif kind == 1:
            del data[at : at + span]
        elif kind == 2:
            data[at:at] = data[at : at + span]
        elif kind == 3:
            del data[at:]
        elif kind == 4:
            data[at : at + 4] = struct.pack("<I", chance.choice(_HUGE))
        elif kind == 5:
            data[at : at + 8] = struct.pack("<Q", chance.choice((2**62, 2**64 - 1, 2**31)))
        else:
            data[at : at + span] = chance.randbytes(span)
    return bytes(data)


def mutate_database(path: Path, chance: random.Random) -> None:
    """Damage the content of an SQLite bag in ways that keep the database whole."""
    with sqlite3.connect(path) as database:
        count = database.execute("SELECT count(*) FROM messages").fetchone()[0]
        row = 1 + chance.randrange(count)
        data = database.execute("SELECT data FROM messages WHERE rowid = ?", (row,)).fetchone()[0]
        changes = {
            "data": (mutate(data, chance), "text", None, 5, b""),
            "timestamp": (-1, "noon", None, 2**62, 1.5),
            "topic_id": (99, None, "x", -1, 0),
        }
        column = chance.choice(list(changes))
        value = chance.choice(changes[column])
        statements = {
            "data": "UPDATE messages SET data = ? WHERE rowid = ?",
            "timestamp": "UPDATE messages SET timestamp = ? WHERE rowid = ?",
            "topic_id": "UPDATE messages SET topic_id = ? WHERE rowid = ?",
        }
        database.execute(statements[column], (value, row))
    database.close()


def run(count: int, seed: int = 0) -> Counter[str]:
    """Read `count` damaged recordings; return how they ended.

    Raises:
        AssertionError: one took too long.
    """
    endings: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wholes = [(path.suffix, path.read_bytes()) for path in seeds(folder)]
        for number in range(count):
            chance = random.Random(seed * 1_000_003 + number)  # noqa: S311 - no secret
            suffix, content = wholes[number % len(wholes)]
            path = folder / f"damaged{suffix}"
            if suffix == ".db3" and chance.random() < 0.5:
                path.write_bytes(content)
                try:
                    mutate_database(path, chance)
                except sqlite3.IntegrityError:
                    endings["kept by the database"] += 1
                    continue
            else:
                path.write_bytes(mutate(content, chance))
            start = time.monotonic()
            try:
                ending = read_to_the_end(path)
            except BaseException:
                print(f"mutation {number} of seed {seed} ({suffix})", file=sys.stderr)
                raise
            assert time.monotonic() - start < MAX_SECONDS, f"mutation {number} took too long"
            endings[ending] += 1
            endings[f"{suffix} {ending}"] += 1
    return endings


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("error")
    for ending, count in sorted(run(int(sys.argv[1])).items()):
        print(f"{count:6d} {ending}")
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak_mib:.0f} MiB")
