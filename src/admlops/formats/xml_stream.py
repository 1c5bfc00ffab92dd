"""XML read as a stream, from files that nobody vouches for.

A document type that says more than its name is refused, and with it every entity: no bombs, no
files of ours, no requests.
"""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from admlops.errors import DataError

MAX_DEPTH = 16
"""Exchange formats nest about five deep."""
MAX_PART_BYTES = 256 << 20
"""Text and attributes of one part; a part is held in memory as a whole."""
_CHUNK_BYTES = 1 << 20


class Part(NamedTuple):
    """A child of the root element, or of one that is opened.

    Attributes:
        element: the child, whole; of one that is opened, its attributes alone.
        parent: the opened element around it; None below the root.
    """

    element: Element
    parent: Element | None


def iterate_parts(path: Path, root: str) -> Iterator[Element]:
    """Yield the children of the root element, each whole, one in memory at a time.

    Args:
        path: the file.
        root: name that the root element must have.

    Raises:
        DataError: the file cannot be read, is not well-formed, declares a document type with more
            than its name, nests too deep, or is about something else.
    """
    return (part.element for part in iterate_inner_parts(path, root, ()))


def iterate_inner_parts(path: Path, root: str, opened: Collection[str]) -> Iterator[Part]:
    """Yield the children of the root element, of some first their own children one by one.

    Args:
        path: the file.
        root: name that the root element must have.
        opened: names of children that may be large: what is in them comes before they do.

    Raises:
        DataError: as `iterate_parts` does.
    """
    parts = _Parts(root, opened)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = parts.start
    parser.EndElementHandler = parts.end
    parser.CharacterDataHandler = parts.text
    parser.StartDoctypeDeclHandler = parts.doctype
    parser.EntityDeclHandler = parts.refuse
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                parser.Parse(chunk, False)
                yield from parts.take()
            parser.Parse(b"", True)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise DataError(f"{path}: {error}; export the file again") from error
    yield from parts.take()


class _Parts:
    """Collects the children of the root element, and those of opened elements."""

    def __init__(self, root: str, opened: Collection[str]) -> None:
        self._root = root
        self._names = opened
        self._opened: Element | None = None
        self._depth = 0
        self._size = 0
        self._builder = TreeBuilder()
        self._ready: list[Part] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if self._depth == 0 and tag != self._root:
            raise ValueError(f"the root element is {tag!r:.40}, expected {self._root!r}")
        if self._depth == MAX_DEPTH:
            raise ValueError(f"elements nest deeper than {MAX_DEPTH}")
        self._depth += 1
        if self._depth == 1:
            return
        self._grow(sum(map(len, attributes.values())) + len(tag))
        if self._depth == 2 and tag in self._names:
            self._opened, self._size = Element(tag, attributes), 0
        else:
            self._builder.start(tag, attributes)

    def end(self, tag: str) -> None:
        if self._depth == 2 and self._opened is not None:
            self._ready.append(Part(self._opened, None))
            self._opened = None
        elif self._depth >= self._part_depth:
            element = self._builder.end(tag)
            if self._depth == self._part_depth:
                self._ready.append(Part(element, self._opened))
                self._builder, self._size = TreeBuilder(), 0
        self._depth -= 1

    @property
    def _part_depth(self) -> int:
        return 2 if self._opened is None else 3

    def text(self, data: str) -> None:
        if self._depth >= self._part_depth:
            self._grow(len(data))
            self._builder.data(data)

    def take(self) -> list[Part]:
        ready, self._ready = self._ready, []
        return ready

    def doctype(self, name: str, system_id: str | None, public_id: str | None, inner: int) -> None:
        if name != self._root or system_id or public_id or inner:
            self.refuse()

    def refuse(self, *_: object) -> None:
        raise ValueError("it declares a document type or an entity, which are not read")

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > MAX_PART_BYTES:
            raise ValueError(f"one element holds more than {MAX_PART_BYTES} bytes")
