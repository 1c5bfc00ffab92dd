"""Topics and messages of a recording before they are decoded."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from admlops.errors import DataError

MAX_RECORD_BYTES = 256 * 2**20
"""No record, chunk or message is larger: a length field beyond it is damage or an attack."""

MAX_TIME_NS = 2**62
"""No log time is later (the year 2116): sums and differences of times stay within 64 bits."""

OnDamage = Callable[[str], None]
"""Is told what is wrong with a file; reading goes on behind it where that can be."""


class Place(NamedTuple):
    """Where a message lies, so that it can be read again.

    Attributes:
        file: which file of the recording.
        chunk: byte offset of its chunk in the file; -1 where there are no chunks.
        offset: byte offset in the unpacked chunk, or in the file, or row in the database.
    """

    file: int
    chunk: int
    offset: int


@dataclass(frozen=True, slots=True)
class Definition:
    """What a type is made of, as the recording has it.

    Attributes:
        kind: the language, as MCAP calls it: "ros2msg", "ros1msg", "ros2idl", ...; empty where the
            recording does not tell.
        text: the definition.
    """

    kind: str = ""
    text: bytes = b""


@dataclass(frozen=True, slots=True)
class Topic:
    """One stream of messages of one type.

    Attributes:
        name: for example "/lidar/points".
        type_name: for example "sensor_msgs/msg/PointCloud2", whatever the ROS version.
        encoding: how messages are serialised: "cdr" (ROS 2), "ros1", or something else.
        definition: of the type; topics do not differ by it.
    """

    name: str
    type_name: str
    encoding: str
    definition: Definition = field(default=Definition(), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class RawMessage:
    """One message as it was recorded.

    Attributes:
        topic: the stream that it belongs to.
        log_time_ns: when the recorder received it.
        data: its serialised form.
        place: where it lies.
    """

    topic: Topic
    log_time_ns: int
    data: bytes | memoryview
    place: Place


class Container(Protocol):
    """One file of a recording."""

    def messages(self, on_damage: OnDamage) -> Iterator[RawMessage]:
        """Yield its messages in the order in which they were written."""

    def read(self, place: Place) -> bytes | memoryview:
        """Return the data of the message at a place; raises DataError if it is damaged."""

    def close(self) -> None:
        """Release the file."""


_TYPE_ALIASES = {
    "tf/msg/tfMessage": "tf2_msgs/msg/TFMessage",
    "tf/msg/TFMessage": "tf2_msgs/msg/TFMessage",
}


def ros_type_name(name: str) -> str:
    """Return a type's name as ROS 2 writes it: "package/Type" becomes "package/msg/Type"."""
    package, slash, kind = name.partition("/")
    whole = f"{package}/msg/{kind}" if slash and "/" not in kind else name
    return _TYPE_ALIASES.get(whole, whole)


def check_length(num_bytes: int, where: str) -> int:
    """Return a length as read from a file, if it can be true.

    Raises:
        DataError: it is negative or larger than any record may be.
    """
    if not 0 <= num_bytes <= MAX_RECORD_BYTES:
        limit = MAX_RECORD_BYTES // 2**20
        raise DataError(f"{where}: a length of {num_bytes} bytes; at most {limit} MiB are read")
    return num_bytes
