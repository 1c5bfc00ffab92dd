"""Finds which messages of different sensors belong together, and where scenes begin."""

import numpy as np
from numpy.typing import NDArray

NO_PARTNER = -1


def match_nearest(
    anchor_ns: NDArray[np.int64], other_ns: NDArray[np.int64], tolerance_ns: int
) -> NDArray[np.int64]:
    """Return for each anchor the row of its partner, or -1.

    Two messages are partners if each is the nearest to the other and they are no farther apart
    than the tolerance; so no message has two partners. Of two at the same distance the earlier
    one is nearer.

    Args:
        anchor_ns: (A,) int64 times, in any order.
        other_ns: (B,) int64 times, in any order.
        tolerance_ns: the largest distance.
    """
    if len(anchor_ns) == 0 or len(other_ns) == 0:
        return np.full(len(anchor_ns), NO_PARTNER, dtype=np.int64)
    partner = _nearest(anchor_ns, other_ns)
    is_mutual = _nearest(other_ns, anchor_ns)[partner] == np.arange(len(anchor_ns))
    is_near = np.abs(other_ns[partner] - anchor_ns) <= tolerance_ns
    return np.where(is_mutual & is_near, partner, NO_PARTNER)


def _nearest(times_ns: NDArray[np.int64], among_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the row of the nearest of `among_ns` for each time; the earlier one of two."""
    order = np.argsort(among_ns, kind="stable")
    rising = among_ns[order]
    after = np.clip(np.searchsorted(rising, times_ns, side="left"), 0, len(rising) - 1)
    before = np.clip(after - 1, 0, None)
    is_after = np.abs(rising[after] - times_ns) < np.abs(times_ns - rising[before])
    chosen = np.where(is_after, after, before)
    chosen = np.searchsorted(rising, rising[chosen], side="left")  # of equal times the first
    return order[chosen].astype(np.int64)


def number_scenes(
    times_ns: NDArray[np.int64], scene_length_s: float, max_gap_s: float
) -> NDArray[np.int64]:
    """Return (N,) scene numbers of frames at rising times.

    A log is cut at gaps, and each part into the number of equal pieces that comes nearest to the
    wanted length.
    """
    numbers = np.zeros(len(times_ns), dtype=np.int64)
    if len(times_ns) == 0:
        return numbers
    starts = np.flatnonzero(np.diff(times_ns) > max_gap_s * 1e9) + 1
    first = 0
    for part in np.split(np.arange(len(times_ns)), starts):
        elapsed_ns = times_ns[part] - times_ns[part[0]]
        num_pieces = max(1, round(int(elapsed_ns[-1]) * 1e-9 / scene_length_s))
        piece = np.minimum(elapsed_ns * num_pieces // max(int(elapsed_ns[-1]), 1), num_pieces - 1)
        numbers[part] = first + piece
        first += num_pieces
    return numbers
