"""Acceptance sampling by attributes: single plans for normal inspection.

Source: ISO 2859-1:1999 (ANSI/ASQ Z1.4, MIL-STD-105E), table 1 (sample size code letters) and
table 2-A (single sampling plans for normal inspection).
"""

from bisect import bisect_left
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from admlops.errors import ConfigError

InspectionLevel = Literal["I", "II", "III"]

CODE_LETTERS = "ABCDEFGHJKLMNPQR"
SAMPLE_SIZES = (2, 3, 5, 8, 13, 20, 32, 50, 80, 125, 200, 315, 500, 800, 1250, 2000)
"""Size of the sample for each code letter."""
AQLS = (
    *(0.010, 0.015, 0.025, 0.040, 0.065, 0.10, 0.15, 0.25, 0.40, 0.65, 1.0, 1.5, 2.5),
    *(4.0, 6.5, 10.0, 15.0, 25.0, 40.0, 65.0, 100.0, 150.0, 250.0, 400.0, 650.0, 1000.0),
)
"""Acceptance quality limits of the table, in nonconforming items or nonconformities per 100."""
_LAST_LOTS = (8, 15, 25, 50, 90, 150, 280, 500, 1200, 3200, 10_000, 35_000, 150_000, 500_000)
_LETTERS_BY_LEVEL: dict[InspectionLevel, str] = {
    "I": "AABCCDEFGHJKLMN",
    "II": "ABCDEFGHJKLMNPQ",
    "III": "BCDEFGHJKLMNPQR",
}
_FIRST_DIAGONAL = 14
_ACCEPTANCE: tuple[int | None, ...] = (0, None, None, 1, 2, 3, 5, 7, 10, 14, 21, 30, 44)
"""Table 2-A is one sequence along its diagonals: letter and AQL, both counted from 0, add up to 14
where the acceptance number is 0. In the gap after 0 the first arrow points up (but down in row A),
the second down."""
_LAST_WITH_30 = CODE_LETTERS.index("E")
"""Only samples up to letter E are so small that 30 and 44 are in the table; beyond, 21 is last."""


@dataclass(frozen=True, slots=True)
class SamplingPlan:
    """How many items of a lot are inspected, and how many bad ones are too many.

    Attributes:
        lot_size: items in the lot.
        aql: acceptance quality limit, per 100 items.
        code_letter: of the plan that is used, after the table's arrows were followed.
        sample_size: items to inspect; the whole lot where the table asks for as much or more.
        acceptance_number: most bad items with which the lot is accepted.
    """

    lot_size: int
    aql: float
    code_letter: str
    sample_size: int
    acceptance_number: int

    def accepts(self, num_bad: int) -> bool:
        """Return whether a lot with so many bad items in the sample is accepted."""
        return num_bad <= self.acceptance_number


def code_letter(lot_size: int, level: InspectionLevel = "II") -> str:
    """Return the sample size code letter of table 1.

    Raises:
        ConfigError: the lot is empty.
    """
    if lot_size < 1:
        raise ConfigError(f"lot_size {lot_size}: a lot holds at least one item")
    return _LETTERS_BY_LEVEL[level][bisect_left(_LAST_LOTS, lot_size)]


def table_aql(percent: float) -> float:
    """Return the table's largest AQL that is not above `percent`: the stricter neighbour.

    Raises:
        ConfigError: it is below the table's least AQL.
    """
    fitting = [aql for aql in AQLS if aql <= percent * (1 + 1e-9)]
    if not fitting:
        raise ConfigError(f"aql {percent}: below the table's least, {AQLS[0]}")
    return fitting[-1]


def plan_sampling(lot_size: int, aql: float, level: InspectionLevel = "II") -> SamplingPlan:
    """Return the single sampling plan for normal inspection of a lot.

    Args:
        lot_size: items in the lot.
        aql: acceptance quality limit; between two of the table's the stricter is taken.
        level: general inspection level.

    Raises:
        ConfigError: the lot is empty, or the AQL is below the table.
    """
    limit = table_aql(aql)
    row, column = CODE_LETTERS.index(code_letter(lot_size, level)), AQLS.index(limit)
    while (step := _arrow(row, column)) != 0:
        row += step
    number = _ACCEPTANCE[row + column - _FIRST_DIAGONAL]
    assert number is not None  # noqa: S101 - arrows end at a number
    size = min(SAMPLE_SIZES[row], lot_size)
    return SamplingPlan(lot_size, limit, CODE_LETTERS[row], size, number)


def _arrow(row: int, column: int) -> int:
    """Return the direction of the arrow at a place of table 2-A; 0 where a number stands."""
    diagonal = row + column - _FIRST_DIAGONAL
    last = len(_ACCEPTANCE) - 1 if row <= _LAST_WITH_30 else _ACCEPTANCE.index(21)
    if diagonal < 0:
        return 1 if row < len(CODE_LETTERS) - 1 else 0
    if diagonal > last or (diagonal == 1 and row > 0):
        return -1
    return 1 if diagonal in (1, 2) else 0


def draw_sample(plan: SamplingPlan, seed: int) -> NDArray[np.int64]:
    """Return (sample_size,) numbers of the items to inspect, rising, each at most once."""
    random = np.random.default_rng(seed)
    drawn = random.choice(plan.lot_size, size=plan.sample_size, replace=False)
    return np.sort(drawn).astype(np.int64)
