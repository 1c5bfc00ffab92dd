"""Large JSON files read as a stream: the items of their arrays, or the members of their objects.

Labels of images come as one object with a few long arrays, or as one long array; labels of drives
as objects in objects. One item is in memory at a time, and is found again by its place. Files from
anywhere may be cut, broken, or one endless item; all of these end with a message.
"""

import json
from codecs import BOM_UTF8
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn

from admlops.errors import DataError
from admlops.formats.json_file import explain_json_errors

MAX_ITEM_BYTES = 1 << 28
"""Of one item of an array, or of a member that is no array."""
_CHUNK_BYTES = 1 << 20
_PASSED_DEPTH = 3
"""Names of objects in objects, down to which those that are passed over are read in pieces."""
_NEAR_END = 4096
"""A mistake so near the end of what was read may be that more is to come."""
_NUMBER_TAIL = len("e+1")
"""What may follow the digits of a number and still be a part of it."""
_SPACE = " \t\n\r"


class Item(NamedTuple):
    """One item of an array.

    Attributes:
        member: name of the array in the object; "" where the file is an array itself.
        offset: of the item's first byte in the file.
        size: in bytes.
        value: what it says.
    """

    member: str
    offset: int
    size: int
    value: Any


class Member(NamedTuple):
    """One member of an object that may be in others.

    Attributes:
        names: of the objects around it, from outside, and its own; empty for the whole file.
        item: its place and value; an object whose members follow one by one comes as an empty one.
    """

    names: tuple[str, ...]
    item: Item


def iterate_items(path: Path) -> Iterator[Item]:
    """Yield the items of a file's arrays: of all its members, or of the file if it is an array.

    Members that are no arrays are passed over.

    Raises:
        DataError: the file cannot be read, or is no such JSON; items before that were yielded.
    """
    with explain_json_errors(path), path.open("rb") as file:
        yield from _read(_Text(file))


def iterate_members(path: Path, depth: int) -> Iterator[Member]:
    """Yield the members of a file's objects, and of the objects in those, `depth` names deep.

    Values that are no objects are yielded where they stand, however shallow. A name that is
    repeated is yielded again: what it said before does not count. NaN and infinity are refused.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not JSON; members before that were yielded.
        RecursionError: it nests too deep.
    """
    with path.open("rb") as file:
        text = _Text(file, json.JSONDecoder(parse_constant=_refuse_constant))
        yield from _members(text, (), depth)
        text.require_end()


def read_items(path: Path, places: Iterable[Sequence[int]]) -> list[Any]:
    """Return the values of items that were yielded before, by their offsets and sizes.

    Raises:
        DataError: the file cannot be read, or is not what it was.
    """
    values = []
    try:
        with path.open("rb") as file:
            for offset, size in places:
                file.seek(offset)
                values.append(json.loads(file.read(size)))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: changed while it was read ({error}); read it again") from error
    return values


def _read(text: "_Text") -> Iterator[Item]:
    if text.peek() == "[":
        yield from _array(text, "")
    else:
        for name in _names(text):
            if text.peek() == "[":
                yield from _array(text, name)
            else:
                deque(_members(text, (), _PASSED_DEPTH), maxlen=0)
    text.require_end()


def _members(text: "_Text", names: tuple[str, ...], depth: int) -> Iterator[Member]:
    if len(names) == depth or text.peek() != "{":
        yield Member(names, text.value())
        return
    yield Member(names, Item("", text.place, 0, {}))
    for name in _names(text):
        yield from _members(text, (*names, name), depth)


def _names(text: "_Text") -> Iterator[str]:
    """Yield the names of an object's members; each time, the caller takes the value itself."""
    text.take("{")
    while text.peek() != "}":
        if text.peek() != '"':
            raise ValueError(f"expected a name at byte {text.place}")
        name = text.value().value
        text.take(":")
        yield name
        text.take_separator("}")
    text.take("}")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _array(text: "_Text", member: str) -> Iterator[Item]:
    text.take("[")
    while text.peek() != "]":
        yield text.value()._replace(member=member)
        text.take_separator("]")
    text.take("]")


class _Text:
    """The part of a file that was read and not yet used.

    Bytes are held as Latin-1, so that a place in the text is a place in the file; items that are
    more than ASCII are decoded anew.
    """

    def __init__(self, file: BinaryIO, decoder: json.JSONDecoder | None = None) -> None:
        self._file = file
        self._text = ""
        self._at = 0
        self._start = len(BOM_UTF8) if file.read(len(BOM_UTF8)) == BOM_UTF8 else file.seek(0)
        self._decoder = decoder or json.JSONDecoder()

    @property
    def place(self) -> int:
        """The next byte's number."""
        return self._start + self._at

    def peek(self) -> str:
        """Return the next character that is no space; "" at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _SPACE:
                    return self._text[self._at]
                self._at += 1
            if not self._more():
                return ""

    def require_end(self) -> None:
        """Raise ValueError where more follows than space."""
        if self.peek():
            raise ValueError(f"more follows at byte {self.place}")

    def take(self, character: str) -> None:
        """Pass a character over."""
        if self.peek() != character:
            raise ValueError(f"expected {character!r} at byte {self.place}")
        self._at += 1

    def take_separator(self, closing: str) -> None:
        """Pass a comma over, which something must follow, or stop before the closing bracket."""
        if self.peek() == closing:
            return
        self.take(",")
        if self.peek() == closing:
            raise ValueError(f"expected a value at byte {self.place}")

    def value(self) -> Item:
        """Return the next value, whatever it is."""
        if not self.peek():
            raise ValueError(f"cut at byte {self.place}")
        value, end = self._decode()
        while len(self._text) - end < _NUMBER_TAIL and self._more():
            value, end = self._decode()  # a number goes on, perhaps
        part = self._text[self._at : end]
        if not part.isascii():
            value = json.loads(part.encode("latin-1"))
        item = Item("", self.place, len(part), value)
        self._at = end
        return item

    def _decode(self) -> tuple[Any, int]:
        while True:
            try:
                return self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                is_open = error.msg.startswith(("Unterminated", "Invalid control"))
                if not (is_open or error.pos > len(self._text) - _NEAR_END) or not self._more():
                    raise ValueError(f"{error.msg} at byte {self._start + error.pos}") from None

    def _more(self) -> bool:
        """Read on, twice as much as is waiting; return whether there was something."""
        waiting = len(self._text) - self._at
        if waiting > MAX_ITEM_BYTES:
            raise ValueError(f"an item at byte {self.place} has over {MAX_ITEM_BYTES} bytes")
        chunk = self._file.read(max(_CHUNK_BYTES, waiting))
        if not chunk:
            return False  # and places in the text stay what they are
        self._start += self._at
        self._text = self._text[self._at :] + chunk.decode("latin-1")
        self._at = 0
        return True
