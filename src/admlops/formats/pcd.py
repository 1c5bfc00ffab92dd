"""Point clouds as PCD files, the format that labelling tools open.

Source: Point Cloud Library, "The PCD file format", version 0.7; x y z intensity, float32, binary.
"""

import re

import numpy as np
from numpy.typing import NDArray

from admlops.formats.label_file import BrokenLabelError

_FIELDS = "x y z intensity"
MAX_HEADER_BYTES = 4096


def encode_pcd(points: NDArray[np.float32]) -> bytes:
    """Return (N, 4) points x y z intensity as a binary PCD file."""
    header = (
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\n"
        f"FIELDS {_FIELDS}\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\n"
        f"WIDTH {len(points)}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\n"
        f"POINTS {len(points)}\nDATA binary\n"
    )
    return header.encode() + np.ascontiguousarray(points, dtype="<f4").tobytes()


def decode_pcd(content: bytes) -> NDArray[np.float32]:
    """Return the (N, 4) points of a file that `encode_pcd` wrote.

    Raises:
        BrokenLabelError: it is cut, or laid out in another way.
    """
    head = re.match(rb"(?s).{0,%d}?\nDATA binary\n" % MAX_HEADER_BYTES, content)
    if head is None or f"\nFIELDS {_FIELDS}\n".encode() not in head[0]:
        raise BrokenLabelError(f"not a binary PCD file with the fields {_FIELDS}")
    count = re.search(rb"\nPOINTS (\d{1,12})\n", head[0])
    body = content[head.end() :]
    if count is None or len(body) != 16 * int(count[1]):
        raise BrokenLabelError(f"PCD holds {len(body)} bytes of points, not as its header says")
    return np.frombuffer(body, dtype="<f4").reshape(-1, 4).astype(np.float32)
