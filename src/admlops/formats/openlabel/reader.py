"""Reads ASAM OpenLABEL 1.0 JSON: cuboids and boxes, attributes, sensors and poses by frame."""

from functools import partial
from pathlib import Path

from admlops.errors import DataError
from admlops.formats.label_file import (
    BrokenLabelError,
    FrameCollector,
    LabelFile,
    LabelledFrame,
)
from admlops.formats.openlabel.frame import Seen, decode_frame
from admlops.formats.openlabel.index import OpenLabelIndex
from admlops.formats.source import read_head


def read_openlabel(path: Path) -> LabelFile:
    """Read a file of OpenLABEL; what is wrong in a frame leaves it out, with a finding.

    Boxes come back in the vehicle's frame, with the category that the file names. A box belongs to
    the track of its object; object and frame are those of the file where another tool wrote it.
    Frames are looked at one by one, and read again when they are asked for.

    Raises:
        DataError: the file cannot be read, or is no OpenLABEL 1.0 document.
    """
    collected, seen = FrameCollector(), Seen()
    index = OpenLabelIndex.of(path, collected)
    for number in index.numbers.tolist():
        labelled: LabelledFrame | None = None
        problem = ""
        try:
            labelled = decode_frame(index, number, seen)
        except BrokenLabelError as error:
            problem = str(error)
        if seen.lean:
            collected.note("EXCH002", f"frame {number}", seen.lean)
        if labelled is None:
            collected.refuse("EXCH001", f"frame {number}", problem)
        else:
            collected.add(number, labelled.frame)
    for kind, count in sorted(seen.others.items()):
        collected.note("EXCH003", path.stem, f"{count} shapes of the kind {kind}")
    return collected.result(partial(_read_again, index))


def _read_again(index: OpenLabelIndex, number: int) -> LabelledFrame:
    """Return a frame that could be read before."""
    try:
        return decode_frame(index, number, Seen())
    except BrokenLabelError as error:
        raise DataError(f"{index.path}: changed while it was read; read it again") from error


def is_openlabel(path: Path) -> bool:
    """Return whether a file looks like OpenLABEL, by its first bytes; not if it cannot be read."""
    head = read_head(path)
    return head.lstrip().startswith(b"{") and b'"openlabel"' in head
