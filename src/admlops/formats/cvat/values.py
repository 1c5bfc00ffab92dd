"""Attributes in CVAT are text: numbers, flags, lists and words that come back as they were."""

import json
import math
import re
from typing import Any

from admlops.formats.box_details import Plain, finite
from admlops.formats.label_file import BrokenLabelError

_FLAGS = {"true": True, "false": False}
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_UNSAFE = re.compile("[^\t -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
NUM_POINTS_3D = 16
"""CVAT's server keeps a cuboid in space as 16 numbers: position, rotation, size, and zeros."""


def to_text(value: Plain) -> str:
    """Return a value as CVAT shows it; words that look like something else are quoted as JSON."""
    if isinstance(value, str):
        is_itself = from_text(value) == value and not is_unsafe(value)
        return value if is_itself else json.dumps(value)
    return json.dumps(value)


def from_text(text: str) -> Any:  # noqa: ANN401 - any plain value
    """Return the value of an attribute's text; the inverse of `to_text`."""
    if text in _FLAGS:
        return _FLAGS[text]
    is_number = _NUMBER.fullmatch(text) is not None and len(text) < 400
    if is_number or text[:1] in ("[", '"'):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return text
        if isinstance(value, float) and not math.isfinite(value):
            return text
        return value if _is_plain(value) else text
    return text


def is_unsafe(text: str) -> bool:
    """Return whether text holds what XML cannot, or does not keep."""
    return _UNSAFE.search(text) is not None


def cuboid_points(center_m: list[float], yaw_rad: float, size_m: list[float]) -> str:
    """Return a box as CVAT's 16 numbers, written in pairs as all points in its XML."""
    numbers = [*center_m, 0.0, 0.0, yaw_rad, *size_m]
    numbers += [0.0] * (NUM_POINTS_3D - len(numbers))
    texts = [repr(float(number)) for number in numbers]
    return ";".join(f"{x},{y}" for x, y in zip(texts[::2], texts[1::2], strict=True))


def read_points(text: str) -> list[float]:
    """Return position, rotation and size of a cuboid: nine numbers.

    Raises:
        BrokenLabelError: there are not 9 to 16 finite numbers.
    """
    parts = re.split(r"[,;\s]+", text.strip(), maxsplit=NUM_POINTS_3D)
    if not 9 <= len(parts) <= NUM_POINTS_3D:
        raise BrokenLabelError(f"points are {text!r:.60}, expected {NUM_POINTS_3D} numbers")
    return [finite(part, "a point") for part in parts][:9]


def _is_plain(value: object) -> bool:
    if isinstance(value, list):
        return all(isinstance(item, (str, int, float)) for item in value)
    return isinstance(value, (str, int, float))
