"""Protocol Buffers' wire format: the fields of a message by number.

A field is a tag (number and wire type) and a value: a varint, four or eight bytes, or bytes behind
their length, which are text, a message or packed numbers. Of a field that stands more than once
the last value counts, and messages are joined, as the specification says.
Source: https://protobuf.dev/programming-guides/encoding/.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

MAX_FIELDS = 200_000
"""Of one message without those inside it; large arrays are packed into one field."""
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
_FIXED_SIZE = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}
_Value = int | memoryview


class BrokenMessageError(ValueError):
    """A message cannot be read; the message says where it breaks."""


class Message:
    """The fields of one message, looked up by number.

    Values of an unexpected wire type raise `BrokenMessageError`; absent ones have protobuf's
    defaults.
    """

    def __init__(self, data: bytes | memoryview) -> None:
        """Read the fields of a message; those inside it are read when they are asked for.

        Raises:
            BrokenMessageError: the bytes are no message.
        """
        self._fields: dict[int, list[tuple[int, _Value]]] = {}
        for count, (number, kind, value) in enumerate(_read_fields(memoryview(data))):
            if count >= MAX_FIELDS:
                raise BrokenMessageError(f"a message has more than {MAX_FIELDS} fields")
            self._fields.setdefault(number, []).append((kind, value))

    def __contains__(self, number: int) -> bool:
        """Return whether a field is there."""
        return number in self._fields

    def payloads(self, number: int) -> list[memoryview]:
        """Return every value of a field of bytes."""
        return [value for value in self._values(number, _BYTES) if isinstance(value, memoryview)]

    def payload(self, number: int) -> memoryview:
        """Return the last value of a field of bytes."""
        found = self.payloads(number)
        return found[-1] if found else memoryview(b"")

    def text(self, number: int) -> str:
        """Return a string."""
        try:
            return bytes(self.payload(number)).decode()
        except UnicodeDecodeError as error:
            raise BrokenMessageError(f"field {number} is no UTF-8 ({error.reason})") from None

    def message(self, number: int) -> "Message":
        """Return the message in a field; an empty one if it is absent."""
        found = self.payloads(number)
        return Message(found[0] if len(found) == 1 else b"".join(found))

    def messages(self, number: int) -> list["Message"]:
        """Return every message in a repeated field."""
        return [Message(part) for part in self.payloads(number)]

    def integer(self, number: int) -> int:
        """Return an int32, int64 or enum."""
        found = self._values(number, _VARINT)
        value = found[-1] if found else 0
        if not isinstance(value, int):
            raise BrokenMessageError(f"field {number} is no integer")
        return value - (1 << 64) if value >= 1 << 63 else value

    def double(self, number: int, absent: float = 0.0) -> float:
        """Return a double."""
        found = self.doubles(number)
        return float(found[-1]) if len(found) else absent

    def doubles(self, number: int) -> NDArray[np.float64]:
        """Return (N,) float64 of a repeated double, packed or not."""
        return self._numbers(number, _EIGHT_BYTES, "<f8").astype(np.float64)

    def floats(self, number: int) -> NDArray[np.float32]:
        """Return (N,) float32 of a repeated float, packed or not."""
        return self._numbers(number, _FOUR_BYTES, "<f4").astype(np.float32)

    def integers(self, number: int) -> list[int]:
        """Return a repeated int32 or int64, packed or not."""
        numbers: list[int] = []
        for kind, value in self._fields.get(number, []):
            if isinstance(value, int) and kind == _VARINT:
                numbers.append(value)
            elif isinstance(value, memoryview) and kind == _BYTES:
                at = 0
                while at < len(value):
                    item, at = _read_varint(value, at)
                    numbers.append(item)
                    _refuse_many(len(numbers), number)
            else:
                raise BrokenMessageError(f"field {number} has wire type {kind}")
        return numbers

    def _numbers(self, number: int, wanted: int, dtype: str) -> NDArray[np.floating]:
        parts = []
        size = _FIXED_SIZE[wanted]
        for kind, value in self._fields.get(number, []):
            if not isinstance(value, memoryview) or kind not in (wanted, _BYTES):
                raise BrokenMessageError(f"field {number} has wire type {kind}")
            if len(value) % size:
                raise BrokenMessageError(f"field {number} holds {len(value)} bytes of numbers")
            parts.append(np.frombuffer(value, dtype=dtype))
        if not parts:
            return np.empty(0, dtype=dtype)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _values(self, number: int, wanted: int) -> list[_Value]:
        values = []
        for kind, value in self._fields.get(number, []):
            if kind != wanted:
                raise BrokenMessageError(f"field {number} has wire type {kind}, expected {wanted}")
            values.append(value)
        return values


def _read_fields(data: memoryview) -> Iterator[tuple[int, int, _Value]]:
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        number, kind = tag >> 3, tag & 7
        value: _Value
        if kind == _VARINT:
            value, at = _read_varint(data, at)
        elif kind in (_BYTES, _EIGHT_BYTES, _FOUR_BYTES):
            size = _FIXED_SIZE.get(kind, 0)
            if kind == _BYTES:
                size, at = _read_varint(data, at)
            if size > len(data) - at:
                raise BrokenMessageError(f"field {number} ends beyond its message")
            value, at = data[at : at + size], at + size
        else:
            raise BrokenMessageError(f"field {number} has wire type {kind}")
        if number == 0:
            raise BrokenMessageError("a field has the number 0")
        yield number, kind, value


def _read_varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise BrokenMessageError("ends in a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
    raise BrokenMessageError("a number has more than ten bytes")


def _refuse_many(count: int, number: int) -> None:
    if count > MAX_FIELDS:
        raise BrokenMessageError(f"field {number} has more than {MAX_FIELDS} numbers")
