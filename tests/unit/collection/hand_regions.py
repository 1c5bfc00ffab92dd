"""A detector of regions that finds what it was told."""

import hashlib

import numpy as np

from admlops.collection.regions import Regions


def seen(*rows):
    """Return regions of rows (left, top, right, bottom, category, score)."""
    return Regions(
        np.array([row[:4] for row in rows], dtype=np.float64).reshape(-1, 4),
        np.array([row[4] for row in rows], dtype=object),
        np.array([row[5] for row in rows], dtype=np.float64),
    )


class HandMade:
    """A detector of a third party: finds what it was told."""

    categories = ("person", "car")
    answer: "Regions | Exception" = seen()

    def __init__(self, file):
        self.digest = hashlib.sha256(file.read_bytes()).hexdigest()

    def detect(self, pixels):
        assert pixels.dtype == np.uint8
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer
