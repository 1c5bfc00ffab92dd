"""Which way a point moves over ground, from its positions alone, and headings through a stop."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from admlops.geometry.pose import wrap_angle

_COURSE_NS = 250_000_000
"""The course is taken from so long before to so long after; from fix to fix where they are rarer.
"""
_RATE_NS = 1_000_000_000
"""The yaw rate is told from the ways of so long before and so long after: a rate is a second
difference, and its noise falls with the square of the time."""
_STAND_M = 0.2
"""A point that moves less stands."""
_SLOW_WAY_M = 5.0
"""A vehicle that brakes from 2 m/s at 1 m/s² and drives off likewise needs 4 m."""
_SLOW_TURN_RAD = 1.0
"""No vehicle turns more in a slow way; one that drives off in reverse seems to."""


@dataclass(frozen=True, slots=True)
class Course:
    """Which way a point moves.

    Attributes:
        speed_mps: (N,) over ground.
        yaw_rad: (N,) counter-clockwise from the first axis.
        rate_radps: (N,) at which the yaw turns.
        is_known: (N,) whether there are positions before and after, without a gap between.
    """

    speed_mps: NDArray[np.float64]
    yaw_rad: NDArray[np.float64]
    rate_radps: NDArray[np.float64]
    is_known: NDArray[np.bool_]


def course_of(
    times_ns: NDArray[np.int64], position_m: NDArray[np.float64], max_gap_ns: int
) -> Course:
    """Return the course at each of (N, 3) positions; none is told over more than `max_gap_ns`.

    Within a second of an end, the yaw rate is that of a second from it.
    """
    piece = pieces_of(times_ns, max_gap_ns)
    first_ns = times_ns[np.searchsorted(piece, piece, side="left")]
    last_ns = times_ns[np.searchsorted(piece, piece, side="right") - 1]
    half_ns = _half_windows_ns(times_ns, piece)
    is_known = (times_ns - half_ns >= first_ns) & (times_ns + half_ns <= last_ns)
    before_m, after_m = _ways_m(times_ns, position_m, times_ns, half_ns)
    way_m = before_m + after_m
    rate_half_ns = np.maximum(half_ns, np.minimum(_RATE_NS, (last_ns - first_ns) // 2))
    centre_ns = np.maximum(np.minimum(times_ns, last_ns - rate_half_ns), first_ns + rate_half_ns)
    before_m, after_m = _ways_m(times_ns, position_m, centre_ns, rate_half_ns)
    turn_rad = wrap_angle(
        np.arctan2(after_m[:, 1], after_m[:, 0]) - np.arctan2(before_m[:, 1], before_m[:, 0])
    )
    rate_radps = turn_rad / (rate_half_ns * 1e-9)
    # Of a circle the way is a chord, shorter than the arc by sin(a) / a at half its angle.
    shortening = np.maximum(np.sinc(rate_radps * half_ns * 1e-9 / np.pi), 0.5)
    return Course(
        speed_mps=np.hypot(way_m[:, 0], way_m[:, 1]) / (half_ns * 2e-9 * shortening),
        yaw_rad=np.arctan2(way_m[:, 1], way_m[:, 0]),
        rate_radps=rate_radps,
        is_known=is_known,
    )


def pieces_of(times_ns: NDArray[np.int64], max_gap_ns: int) -> NDArray[np.int64]:
    """Return for each of (N,) times the number of the piece without a gap that it lies in."""
    is_gap = np.diff(times_ns) > max_gap_ns
    return np.concatenate([[0], np.cumsum(is_gap)]).astype(np.int64)


def interpolated(
    knots_ns: NDArray[np.int64], values: NDArray[np.float64], times_ns: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return (N, C) values at times, linearly between (K, C) at knots."""
    start_ns = knots_ns[0]
    knots, times = (knots_ns - start_ns) * 1e-9, (times_ns - start_ns) * 1e-9
    return np.column_stack([np.interp(times, knots, column) for column in values.T])


def headings_through_stops(
    yaw_rad: NDArray[np.float64],
    is_known: NDArray[np.bool_],
    times_ns: NDArray[np.int64],
    position_m: NDArray[np.float64],
    max_gap_ns: int,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return (N,) headings with those of slow and standing positions, and (N,) which are known.

    Between two known headings the turn is spread over the way, if that of the unknown positions is
    short: who stands does not turn. Before the first and after the last, theirs is kept as long as
    the point stands there. Nothing is carried over a gap.

    Args:
        yaw_rad: (N,) headings, of any value where they are not known.
        is_known: (N,) which are.
        times_ns: (N,) when.
        position_m: (N, 3) where.
        max_gap_ns: longer times between two positions are gaps.
    """
    yaw_rad, is_known = yaw_rad.copy(), is_known.copy()
    piece = pieces_of(times_ns, max_gap_ns)
    known = np.flatnonzero(is_known)
    for first, last in pairwise(known):
        if last - first == 1 or piece[first] != piece[last]:
            continue
        way_m = _way_since_m(position_m[first : last + 1])
        turn_rad = float(wrap_angle(yaw_rad[last] - yaw_rad[first]))
        if way_m[-2] - way_m[1] <= _SLOW_WAY_M and abs(turn_rad) <= _SLOW_TURN_RAD:
            share = way_m / max(way_m[-1], _STAND_M)
            yaw_rad[first + 1 : last] = yaw_rad[first] + (turn_rad * share)[1:-1]
            is_known[first + 1 : last] = True
    for number in np.unique(piece[known]):
        start, end = np.searchsorted(piece, [number, number + 1])
        first, last = known[np.searchsorted(known, [start, end]) - [0, 1]]
        for nearest, outer in (
            (first, np.arange(first - 1, start - 1, -1)),
            (last, np.arange(last + 1, end)),
        ):
            apart_m = np.linalg.norm(position_m[outer] - position_m[nearest], axis=1)
            held = outer[np.cumsum(apart_m >= _STAND_M) == 0]
            if len(held) and abs(times_ns[held[-1]] - times_ns[nearest]) >= _COURSE_NS:
                yaw_rad[held], is_known[held] = yaw_rad[nearest], True
    return yaw_rad, is_known


def _half_windows_ns(times_ns: NDArray[np.int64], piece: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (N,) how long the way before and after is: never less than to the neighbours."""
    gaps_ns = np.where(np.diff(piece) > 0, 0, np.diff(times_ns))
    before_ns, after_ns = np.append(0, gaps_ns), np.append(gaps_ns, 0)
    return np.maximum(_COURSE_NS, np.maximum(before_ns, after_ns))


def _ways_m(
    times_ns: NDArray[np.int64],
    position_m: NDArray[np.float64],
    centre_ns: NDArray[np.int64],
    half_ns: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the (N, 3) ways of the time before and of the time after each centre."""
    middle_m = interpolated(times_ns, position_m, centre_ns)
    before_m = middle_m - interpolated(times_ns, position_m, centre_ns - half_ns)
    return before_m, interpolated(times_ns, position_m, centre_ns + half_ns) - middle_m


def _way_since_m(position_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (N,) lengths of the way since the first of (N, 3) positions.

    It is measured in pieces of `_STAND_M`, so that the noise of a receiver that stands adds little.
    """
    way_m = np.zeros(len(position_m))
    anchor_m, done_m = position_m[0], 0.0
    for row, place_m in enumerate(position_m):
        away_m = float(np.hypot(*(place_m - anchor_m)[:2]))
        way_m[row] = done_m + away_m
        if away_m >= _STAND_M:
            anchor_m, done_m = place_m, way_m[row]
    return way_m
