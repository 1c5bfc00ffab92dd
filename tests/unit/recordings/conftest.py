"""Small recordings of every kind, written by the public libraries and not by our own code."""

from collections.abc import Callable
from pathlib import Path

import pytest
from mcap.writer import CompressionType, IndexType
from mcap.writer import Writer as McapWriter
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as Ros2Writer
from rosbags.rosbag2.enums import CompressionFormat, CompressionMode
from rosbags.typesys import Stores, get_typestore

ROS1 = get_typestore(Stores.ROS1_NOETIC)
ROS2 = get_typestore(Stores.ROS2_HUMBLE)
NUM_MESSAGES = 40


def text_message(store, number: int):
    return store.types["std_msgs/msg/String"](data=f"message {number} " * 20)


@pytest.fixture
def write_mcap(tmp_path) -> Callable[..., Path]:
    def write(compression: str = "zstd", use_chunking: bool = True, name: str = "drive.mcap"):
        path = tmp_path / name
        with path.open("wb") as file:
            writer = McapWriter(
                file,
                chunk_size=2000,
                compression=CompressionType[compression.upper()],
                index_types=IndexType.ALL if use_chunking else IndexType.NONE,
                use_chunking=use_chunking,
            )
            writer.start("ros2", "test")
            schema = writer.register_schema("std_msgs/msg/String", "ros2msg", b"string data")
            channel = writer.register_channel("/chatter", "cdr", schema)
            for number in range(NUM_MESSAGES):
                data = bytes(ROS2.serialize_cdr(text_message(ROS2, number), "std_msgs/msg/String"))
                writer.add_message(channel, 1_000 + number, data, 1_000 + number)
            writer.finish()
        return path

    return write


@pytest.fixture
def write_ros1(tmp_path) -> Callable[..., Path]:
    def write(compression: str = "none"):
        path = tmp_path / f"drive-{compression}.bag"
        writer = Ros1Writer(path)
        if compression != "none":
            writer.set_compression(Ros1Writer.CompressionFormat[compression.upper()])
        with writer:
            topic = writer.add_connection("/chatter", "std_msgs/msg/String", typestore=ROS1)
            for number in range(NUM_MESSAGES):
                data = ROS1.serialize_ros1(text_message(ROS1, number), topic.msgtype)
                writer.write(topic, 1_000 + number, data)
        return path

    return write


@pytest.fixture
def write_rosbag2(tmp_path) -> Callable[..., Path]:
    def write(storage: str = "sqlite3", packed: str = ""):
        path = tmp_path / f"drive-{storage}-{packed}"
        plugin = StoragePlugin.SQLITE3 if storage == "sqlite3" else StoragePlugin.MCAP
        writer = Ros2Writer(path, version=8, storage_plugin=plugin)
        if packed:
            writer.set_compression(CompressionMode[packed.upper()], CompressionFormat.ZSTD)
        with writer:
            topic = writer.add_connection("/chatter", "std_msgs/msg/String", typestore=ROS2)
            for number in range(NUM_MESSAGES):
                data = ROS2.serialize_cdr(text_message(ROS2, number), topic.msgtype)
                writer.write(topic, 1_000 + number, data)
        return path

    return write
