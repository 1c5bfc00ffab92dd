"""Golden requests: clouds and the boxes that a release must answer with."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from admlops.errors import DataError, GateError
from admlops.files import write_atomically
from admlops.structures.boxes import Boxes

REQUEST_FILE = "points.bin"
RESPONSE_FILE = "boxes.json"


@dataclass(frozen=True, slots=True)
class Golden:
    """One request and its response.

    Attributes:
        name: what it is called in messages and folders.
        points: (N, 4) float32 cloud in the lidar frame.
        boxes: what must come back.
    """

    name: str
    points: NDArray[np.float32]
    boxes: Boxes


def write_golden(folder: Path, golden: Golden) -> None:
    """Write one request and response below `folder`."""
    place = folder / golden.name
    write_atomically(place / REQUEST_FILE, golden.points.astype("<f4").tobytes())
    response = {
        "boxes": golden.boxes.as_7().tolist(),
        "scores": golden.boxes.score.tolist(),
        "labels": golden.boxes.category.tolist(),
    }
    write_atomically(place / RESPONSE_FILE, json.dumps(response, indent=1) + "\n")


def read_goldens(folder: Path) -> list[Golden]:
    """Return all golden requests below `folder`, in name order.

    Raises:
        DataError: there are none, or one cannot be read.
    """
    places = sorted(path.parent for path in folder.glob(f"*/{RESPONSE_FILE}"))
    if not places:
        raise DataError(f"{folder}: a release needs at least one golden request")
    return [_read(place) for place in places]


def _read(place: Path) -> Golden:
    try:
        points = np.frombuffer((place / REQUEST_FILE).read_bytes(), dtype="<f4").reshape(-1, 4)
        response = json.loads((place / RESPONSE_FILE).read_bytes())
        rows = np.asarray(response["boxes"], dtype=np.float64).reshape(-1, 7)
        boxes = Boxes.make(
            rows[:, :3], rows[:, 3:6], rows[:, 6], response["labels"], score=response["scores"]
        )
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{place}: this golden request cannot be read: {error}") from error
    return Golden(place.name, points, boxes)


def largest_difference(expected: Boxes, answered: Boxes) -> float:
    """Return the largest difference of any number of two sets of boxes, each with its partner.

    Partners are the nearest ones of the same category, each taken once, so that boxes whose
    scores are equal up to rounding may change places. Yaws are compared on the circle. Sets that
    do not pair up differ by infinity.
    """
    if len(expected) != len(answered):
        return float("inf")
    difference = np.abs(expected.as_7()[:, None] - answered.as_7()[None])
    difference[..., 6] = np.minimum(difference[..., 6], np.abs(2 * np.pi - difference[..., 6]))
    apart = np.abs(expected.score[:, None] - answered.score[None])
    pairs = np.maximum(difference.max(axis=2, initial=0.0), apart)
    pairs[expected.category[:, None] != answered.category[None]] = np.inf
    largest = 0.0
    for row in pairs:
        partner = int(np.argmin(row))
        largest = max(largest, float(row[partner]))
        pairs[:, partner] = np.inf
    return largest


def require_equal(golden: Golden, answered: Boxes, tolerance: float) -> float:
    """Return the largest difference between an answer and the golden one.

    Raises:
        GateError: it exceeds the tolerance; the message names the request and both counts.
    """
    difference = largest_difference(golden.boxes, answered)
    if not difference <= tolerance:
        raise GateError(
            f"golden request {golden.name!r}: the answer differs by {difference:.3g}, allowed is "
            f"{tolerance:g} ({len(answered)} boxes, expected {len(golden.boxes)})"
        )
    return difference


def total_boxes(goldens: Sequence[Golden]) -> int:
    """Return how many boxes the golden answers hold together."""
    return sum(len(golden.boxes) for golden in goldens)
