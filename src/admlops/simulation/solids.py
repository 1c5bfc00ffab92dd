"""Convex solids of which objects are built, as rows of numbers that compiled loops read.

A solid stands upright on its bottom face. It is a frustum: a box whose top may be shorter,
narrower and shifted along its length, or (round) a cone's frustum with radii instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

X, Y, Z, YAW, LENGTH, WIDTH, TOP_LENGTH, TOP_WIDTH, SHIFT, HEIGHT, ROUND = range(11)
NUM_COLUMNS = 11


@dataclass(frozen=True, slots=True)
class Solids:
    """P solids of any number of objects; the solids of one object are neighbours.

    Attributes:
        table: (P, 11) float64: x y z of the bottom's centre and yaw; half length and half width of
            the bottom, then of the top; shift of the top along the length; height; 1 if round.
        material: (P,) int64 row of the table of materials.
        owner: (P,) int64 object that the solid belongs to.
    """

    table: NDArray[np.float64]
    material: NDArray[np.int64]
    owner: NDArray[np.int64]

    @classmethod
    def concatenate(cls, parts: Sequence["Solids"]) -> Self:
        """Return all solids; the objects of each part are numbered after those before it."""
        offsets = np.cumsum([0] + [int(p.owner.max(initial=-1)) + 1 for p in parts])
        return cls(
            np.concatenate([np.empty((0, NUM_COLUMNS)), *(p.table for p in parts)]),
            np.concatenate([np.empty(0, np.int64), *(p.material for p in parts)]),
            np.concatenate(
                [np.empty(0, np.int64)]
                + [p.owner + offset for p, offset in zip(parts, offsets[:-1], strict=True)]
            ),
        )

    def placed(self, position_m: NDArray[np.float64], yaw_rad: NDArray[np.float64]) -> Self:
        """Return the solids moved with their objects.

        Args:
            position_m: (N, 3) where each object's origin goes.
            yaw_rad: (N,) how each object is turned.
        """
        table = self.table.copy()
        cosine, sine = np.cos(yaw_rad)[self.owner], np.sin(yaw_rad)[self.owner]
        x, y = self.table[:, X], self.table[:, Y]
        table[:, X] = x * cosine - y * sine + position_m[self.owner, 0]
        table[:, Y] = x * sine + y * cosine + position_m[self.owner, 1]
        table[:, Z] += position_m[self.owner, 2]
        table[:, YAW] += yaw_rad[self.owner]
        return type(self)(table, self.material, self.owner)

    def select(self, index: NDArray[np.bool_]) -> Self:
        """Return the solids that a mask picks; owners keep their numbers."""
        return type(self)(self.table[index], self.material[index], self.owner[index])


@dataclass(frozen=True, slots=True)
class Part:
    """One solid of an object, in the object's frame: origin under its middle, x along it.

    Attributes:
        at_m: x y z of the bottom's centre.
        size_m: length, width, height of the bottom and the whole.
        material: row of the table of materials.
        top: length and width of the top as shares of the bottom's.
        shift_m: shift of the top along the length.
        is_round: whether it is a cone's frustum; the length is then the diameter.
    """

    at_m: tuple[float, float, float]
    size_m: tuple[float, float, float]
    material: int
    top: tuple[float, float] = (1.0, 1.0)
    shift_m: float = 0.0
    is_round: bool = False


def build_solids(parts: Sequence[Part]) -> Solids:
    """Return one object's solids."""
    rows = np.zeros((len(parts), NUM_COLUMNS))
    for row, part in zip(rows, parts, strict=True):
        half_length, half_width = part.size_m[0] / 2, part.size_m[1] / 2
        row[X : Z + 1] = part.at_m
        row[LENGTH : WIDTH + 1] = half_length, half_width
        row[TOP_LENGTH : TOP_WIDTH + 1] = half_length * part.top[0], half_width * part.top[1]
        row[SHIFT : ROUND + 1] = part.shift_m, part.size_m[2], part.is_round
    return Solids(
        rows,
        np.array([part.material for part in parts], dtype=np.int64),
        np.zeros(len(parts), dtype=np.int64),
    )
