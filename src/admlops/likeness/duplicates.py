"""Near duplicates among many frames: each one is compared with few, and time stays near linear.

In order, a frame repeats the likest of the frames before it that repeat none themselves, or
repeats none. So a vehicle that stands repeats one frame for as long as it stands, and one that
creeps repeats another every half metre. Whom a frame is compared with: the last such frame of its
scene, and those that share one of 16 MinHash keys, as alike frames do.
Source: A. Broder, "On the resemblance and containment of documents", 1997.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field

from admlops.config import Config
from admlops.likeness.thumbnails import THUMBNAIL_BITS

NO_SENSOR = -1
MIN_BITS = (24, 8)
"""A thumbnail of an image, or of a cloud, with fewer bits set shows nothing to compare."""
NUM_KEYS = 16
_HASHES_PER_KEY = 10
"""Two frames of which 8 % changed share no key with a chance of 1 in 9,000; strangers, of which
two thirds differ, share one with a chance of 1 in 4,000."""
_TABLE_BITS = 17
_CHUNK_ROWS = 1024
_Arrays = tuple[
    NDArray[np.uint64],
    NDArray[np.int64],
    NDArray[np.int64],
    NDArray[np.float64],
    NDArray[np.float64],
]
"""The fields of `Looks`, of poses the first three rows, and the limits of a rule."""


class DuplicateRule(Config):
    """How alike frames must be to be duplicates."""

    max_changed_share: float = Field(default=0.08, ge=0, le=0.1)
    """Share of the bits set in either thumbnail (256 of an image, 256 of a cloud) that may have
    changed. Another encoding changes 0.05; a tenth of a second of driving 0.1 and more."""
    max_changed_share_standing: float = Field(default=0.12, ge=0, le=1)
    """The same where the poses of one scene say that the vehicle stands, and others drive by.
    Somebody who walks past a camera changes 0.15."""
    max_move_m: float = Field(default=0.5, ge=0)
    """A vehicle that moved no farther stands. Frames of one scene that are farther apart are no
    duplicates, whatever they look like."""
    max_turn_rad: float = Field(default=0.05, ge=0)
    """A vehicle that turned no more stands."""


@dataclass(frozen=True, slots=True)
class Looks:
    """What N frames look like, in the order in which they are compared.

    Attributes:
        bits: (N, 2, 4) uint64, the thumbnails of the front image and of the cloud.
        num_set: (N, 2) int64, how many bits are set; NO_SENSOR where there is no thumbnail.
        scene: (N,) int64, number of the scene; -1 where the scene has no poses.
        global_from_ego: (N, 4, 4) float64.
    """

    bits: NDArray[np.uint64]
    num_set: NDArray[np.int64]
    scene: NDArray[np.int64]
    global_from_ego: NDArray[np.float64]


def pack_bits(thumbnail: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Return the (256,) bits as (4,) uint64."""
    return np.packbits(thumbnail).view(np.uint64)


def find_duplicates(
    looks: Looks, rule: DuplicateRule
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return (N,) the row that each row repeats (itself if none), and (N,) the share that changed.

    What the row repeated repeats none itself. Memory is about 600 bytes a frame.
    """
    limits = np.array(
        [
            rule.max_changed_share,
            rule.max_changed_share_standing,
            rule.max_move_m,
            np.cos(min(rule.max_turn_rad, np.pi)),
        ]
    )
    fields = (looks.bits, looks.num_set, looks.scene, looks.global_from_ego[:, :3], limits)
    bits, num_set, scene, poses, limits = map(np.ascontiguousarray, fields)
    return _find((bits, num_set, scene, poses, limits), _keys(looks))


def _keys(looks: Looks) -> NDArray[np.int32]:
    """Return (N, 32) MinHash keys of image and cloud, cut to 17 bits; -1 where nothing is seen."""
    generator = np.random.default_rng(0)
    size = (NUM_KEYS * _HASHES_PER_KEY, THUMBNAIL_BITS)
    orders = generator.permuted(np.broadcast_to(np.arange(THUMBNAIL_BITS), size), axis=1)
    factors = generator.integers(1, 2**63, (NUM_KEYS, _HASHES_PER_KEY), np.uint64) | np.uint64(1)
    keys = np.full((len(looks.scene), 2, NUM_KEYS), -1, np.int32)
    for sensor, least in enumerate(MIN_BITS):
        rows = np.flatnonzero(looks.num_set[:, sensor] >= least)
        for start in range(0, len(rows), _CHUNK_ROWS):
            some = rows[start : start + _CHUNK_ROWS]
            thumbnails = np.unpackbits(looks.bits[some, sensor].view(np.uint8), axis=1)
            places = _first_set(thumbnails, orders).reshape(len(some), NUM_KEYS, -1)
            mixed = (places * factors).sum(axis=2, dtype=np.uint64)
            keys[some, sensor] = (mixed >> np.uint64(64 - _TABLE_BITS)).astype(np.int32)
    return keys.reshape(len(keys), 2 * NUM_KEYS)


@njit(cache=True)
def _first_set(thumbnails: NDArray[np.uint8], orders: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return (N, H) at which place, from 1 on, (H, B) orders meet the first set of (N, B) bits."""
    places = np.zeros((len(thumbnails), len(orders)), np.uint64)
    for row in range(len(thumbnails)):
        for number in range(len(orders)):
            place = 0
            while not thumbnails[row, orders[number, place]]:
                place += 1
            places[row, number] = place + 1
    return places


@njit(cache=True)
def _find(looks: _Arrays, keys: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return what `find_duplicates` does; each key has a chain of the rows that repeat none."""
    scene = looks[2]
    num_rows, num_keys = keys.shape
    first = np.arange(num_rows)
    changed = np.zeros(num_rows)
    last_of_scene = np.full(num_rows, -1)
    newest = np.full((num_keys, 1 << _TABLE_BITS), -1, np.int32)
    older = np.full((num_rows, num_keys), -1, np.int32)
    for row in range(num_rows):
        least, found = np.inf, -1
        if scene[row] >= 0 and last_of_scene[scene[row]] >= 0:
            found = last_of_scene[scene[row]]
            least = _difference(looks, found, row)
        for number in range(num_keys):
            if keys[row, number] >= 0:
                start = newest[number, keys[row, number]]
                share, other = _search_chain(looks, older[:, number], start, row)
                if share < least or (share == least and other < found):
                    least, found = share, other
        if least < np.inf:
            first[row], changed[row] = found, least
        else:
            if scene[row] >= 0:
                last_of_scene[scene[row]] = row
            _remember(keys, newest, older, row)
    return first, changed


@njit(cache=True)
def _search_chain(
    looks: _Arrays, older: NDArray[np.int32], start: int, row: int
) -> tuple[float, int]:
    """Return the least share that changed since a row of a chain, and that row, the first one."""
    least, found = np.inf, -1
    other = start
    while other >= 0:
        share = _difference(looks, other, row)
        if share <= least:  # a chain leads back
            least, found = share, other
        other = older[other]
    return least, found


@njit(cache=True)
def _remember(
    keys: NDArray[np.int32], newest: NDArray[np.int32], older: NDArray[np.int32], row: int
) -> None:
    for number in range(keys.shape[1]):
        key = keys[row, number]
        if key >= 0:
            older[row, number] = newest[number, key]
            newest[number, key] = row


@njit(cache=True)
def _difference(looks: _Arrays, one: int, other: int) -> float:
    """Return the share that changed between two rows; infinity if they are no duplicates."""
    bits, num_set, scene, poses, limits = looks
    limit = limits[0]
    if scene[one] >= 0 and scene[one] == scene[other]:
        if not _stands(poses[one], poses[other], limits):
            return np.inf
        limit = limits[1]
    worst = -1.0
    for sensor in range(2):
        fewest = min(num_set[one, sensor], num_set[other, sensor])
        most = max(num_set[one, sensor], num_set[other, sensor])
        if fewest != NO_SENSOR and most >= MIN_BITS[sensor]:
            worst = max(worst, _changed_share(bits[one, sensor], bits[other, sensor]))
    return worst if 0.0 <= worst <= limit else np.inf


@njit(cache=True)
def _stands(
    one: NDArray[np.float64], other: NDArray[np.float64], limits: NDArray[np.float64]
) -> bool:
    """Return whether two (3, 4) poses are near in place and direction."""
    square, cosine = 0.0, -0.5
    for axis in range(3):
        square += (one[axis, 3] - other[axis, 3]) ** 2
        for column in range(3):
            cosine += 0.5 * one[axis, column] * other[axis, column]
    return square <= limits[2] ** 2 and cosine >= limits[3] - 1e-12


@njit(cache=True)
def _changed_share(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> float:
    """Return what `changed_share` does, of packed bits of which some are set."""
    differing, either = 0, 0
    for word in range(len(one)):
        differing += _count(one[word] ^ other[word])
        either += _count(one[word] | other[word])
    return differing / either


@njit(cache=True)
def _count(word: np.uint64) -> np.int64:
    """Return how many bits are set. Source: H. Warren, "Hacker's Delight", section 5-1."""
    word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
    pairs = np.uint64(0x3333333333333333)
    word = (word & pairs) + ((word >> np.uint64(2)) & pairs)
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))
