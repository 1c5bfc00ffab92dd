"""Reads and writes the primitives of serialised ROS messages.

ROS 2 writes CDR (OMG DDSI-RTPS 10.2): four bytes that name the byte order, then values aligned to
their size, counted from behind those bytes. ROS 1 writes little-endian values without alignment.
"""

import struct

import numpy as np
from numpy.typing import NDArray

from admlops.errors import DataError

_PLAIN_CDR = {0: False, 1: True, 6: False, 7: True}
_CDR2 = (6, 7)


class WireReader:
    """Reads values one after the other; never beyond the end."""

    def __init__(self, data: bytes | memoryview, encoding: str) -> None:
        """Start at the first value.

        Args:
            data: one message.
            encoding: "cdr" or "ros1".

        Raises:
            DataError: the encoding is not known.
        """
        self._data = memoryview(data)
        self.is_ros1 = encoding == "ros1"
        self._is_little, self._origin, self._max_align = True, 0, 1
        self._at = 0
        if encoding == "cdr":
            self._start_cdr()
        elif not self.is_ros1:
            raise DataError(f"messages serialised as {encoding!r}; cdr and ros1 are read")

    def _start_cdr(self) -> None:
        kind = self._data[1] if len(self._data) >= 4 and self._data[0] == 0 else -1
        if kind not in _PLAIN_CDR:
            raise DataError(f"no CDR message: it starts with {bytes(self._data[:4])!r}")
        self._is_little = _PLAIN_CDR[kind]
        self._max_align = 4 if kind in _CDR2 else 8
        self._at = self._origin = 4

    def _take(self, num_bytes: int, align: int) -> memoryview:
        align = min(align, self._max_align)
        start = self._at + (self._origin - self._at) % align
        if start + num_bytes > len(self._data):
            left = len(self._data) - start
            raise DataError(f"a message ends early: {num_bytes} bytes wanted, {left} left")
        self._at = start + num_bytes
        return self._data[start : self._at]

    def number(self, code: str) -> int | float:
        """Return one number; `code` is a letter of `struct`."""
        size = struct.calcsize(f"={code}")
        value: int | float = struct.unpack(
            ("<" if self._is_little else ">") + code, self._take(size, size)
        )[0]
        return value

    def integer(self, code: str = "I") -> int:
        """Return one integer."""
        return int(self.number(code))

    def flag(self) -> bool:
        """Return one boolean."""
        return bool(self.number("B"))

    def doubles(self, count: int) -> NDArray[np.float64]:
        """Return (count,) float64."""
        if count == 0:
            return np.empty(0)
        dtype = "<f8" if self._is_little else ">f8"
        return np.frombuffer(self._take(8 * count, 8), dtype=dtype).astype(np.float64)

    def text(self) -> str:
        """Return a string.

        Raises:
            DataError: it is no UTF-8.
        """
        length = self.integer()
        content = bytes(self._take(length, 1))
        if not self.is_ros1 and content.endswith(b"\0"):
            content = content[:-1]
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise DataError(f"a string of a message is no UTF-8 ({error})") from error

    def payload(self) -> memoryview:
        """Return a sequence of bytes, without copying it."""
        return self._take(self.integer(), 1)

    def count(self, min_item_bytes: int) -> int:
        """Return the length of a sequence; one that cannot fit into the message is refused."""
        count = self.integer()
        if count * min_item_bytes > len(self._data) - self._at:
            raise DataError(f"a message ends early: {count} items are announced")
        return count

    def time_ns(self) -> int:
        """Return a time in nanoseconds; ROS 1's is unsigned."""
        seconds = self.integer("I" if self.is_ros1 else "i")
        return seconds * 1_000_000_000 + self.integer()

    def header(self) -> tuple[int, str]:
        """Return stamp in nanoseconds and frame of a std_msgs/Header."""
        if self.is_ros1:
            self.integer()  # seq
        return self.time_ns(), self.text()


class WireWriter:
    """Writes the values of one little-endian message."""

    def __init__(self, encoding: str = "cdr") -> None:
        """Start an empty message, in "cdr" or "ros1"."""
        self._is_ros1 = encoding == "ros1"
        self._parts = bytearray() if self._is_ros1 else bytearray(b"\0\1\0\0")

    def _align(self, size: int) -> None:
        if not self._is_ros1:
            self._parts += bytes((4 - len(self._parts)) % size)

    def number(self, code: str, value: float) -> None:
        """Write one number; `code` is a letter of `struct`."""
        self._align(struct.calcsize(f"={code}"))
        self._parts += struct.pack(f"<{code}", value)

    def doubles(self, values: NDArray[np.float64]) -> None:
        """Write float64 values without a length."""
        if values.size:
            self._align(8)
            self._parts += np.ascontiguousarray(values, dtype="<f8").tobytes()

    def text(self, value: str) -> None:
        """Write a string."""
        content = value.encode() + (b"" if self._is_ros1 else b"\0")
        self.number("I", len(content))
        self._parts += content

    def payload(self, value: bytes) -> None:
        """Write a sequence of bytes."""
        self.number("I", len(value))
        self._parts += value

    def header(self, stamp_ns: int, frame_id: str) -> None:
        """Write a std_msgs/Header."""
        if self._is_ros1:
            self.number("I", 0)  # seq
        self.number("I" if self._is_ros1 else "i", stamp_ns // 1_000_000_000)
        self.number("I", stamp_ns % 1_000_000_000)
        self.text(frame_id)

    def finish(self) -> bytes:
        """Return the message."""
        return bytes(self._parts)
