"""The frames of an evaluation: their number, digest, tags, and how they are resampled."""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from admlops.structures.frame import FrameKey

MAX_GROUPS = 4096
"""Groups of frames that are resampled; up to as many frames, each is its own group."""
_DIGEST_BITS = 256


class FrameSet:
    """Frames as they come by; what is kept of them does not grow with their number.

    A frame is known by the first 64 bits of the SHA-256 of its name. The digest of the set is the
    sum of these hashes in full, so it does not depend on the order.
    """

    def __init__(self) -> None:
        self.num_frames = 0
        self.tag_sets: list[tuple[str, ...]] = []
        self._number_of: dict[tuple[str, ...], int] = {}
        self._sum = 0
        self._first: NDArray[np.uint64] = np.empty(0, dtype=np.uint64)

    def add(
        self, frames: Sequence[FrameKey | str], tags: Iterable[tuple[str, ...]]
    ) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
        """Add frames; return (F,) by which each is known, and (F,) its row in `tag_sets`."""
        digests = [hashlib.sha256(str(frame).encode()).digest() for frame in frames]
        for digest in digests:
            self._sum = (self._sum + int.from_bytes(digest)) % (1 << _DIGEST_BITS)
        hashes = np.array([int.from_bytes(digest[:8]) for digest in digests], dtype=np.uint64)
        self.num_frames += len(digests)
        if self.num_frames <= MAX_GROUPS:
            self._first = np.sort(np.concatenate([self._first, hashes]))
        return hashes, np.array([self._tag_set(row) for row in tags], dtype=np.int32)

    def _tag_set(self, tags: tuple[str, ...]) -> int:
        if tags not in self._number_of:
            self._number_of[tags] = len(self.tag_sets)
            self.tag_sets.append(tags)
        return self._number_of[tags]

    @property
    def digest(self) -> str:
        """A digest of the frames' names, whatever their order."""
        return f"{self._sum:064x}"

    @property
    def num_groups(self) -> int:
        """How many groups are resampled."""
        return min(self.num_frames, MAX_GROUPS)

    def group_of(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return (N,) the group of each frame; known when all frames were added.

        Groups follow from the names alone, so that two models scored on the same frames are
        compared draw by draw.
        """
        if self.num_frames <= MAX_GROUPS:
            return np.searchsorted(self._first, hashes).astype(np.int64)
        return (hashes % np.uint64(MAX_GROUPS)).astype(np.int64)


def draw_groups(num_groups: int, num_draws: int, seed: int) -> NDArray[np.uint8]:
    """Return (B, G) how often each draw with replacement holds each group.

    Source: Efron, "Bootstrap methods", 1979.
    """
    generator = np.random.default_rng(seed)
    weights = np.zeros((num_draws, num_groups), dtype=np.uint8)
    for row in range(num_draws):
        drawn = generator.integers(0, max(num_groups, 1), num_groups)
        weights[row] = np.minimum(np.bincount(drawn, minlength=num_groups), 255)
    return weights
