"""Picking frames one after the other, each the best after what was picked before."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from admlops.curation.gains import Gain


@dataclass(frozen=True, slots=True)
class Pick:
    """One frame that was picked.

    Attributes:
        index: its place among the candidates.
        score: its worth for its price, when it was picked.
        gains: what it brought by each gain's name, where the best at the start is 1.
    """

    index: int
    score: float
    gains: dict[str, float]


@dataclass(frozen=True, slots=True)
class Limits:
    """What stops picking, and how much price counts.

    Attributes:
        num_frames: picks at most.
        cost: (N,) cost of each candidate.
        max_cost: cost of all picks together at most.
        cost_power: worth is divided by this power of the cost: 0 looks at worth alone, 1 at worth
            per box.
    """

    num_frames: int
    cost: NDArray[np.float64]
    max_cost: float = float("inf")
    cost_power: float = 0.0


def pick_greedily(
    utility: NDArray[np.float64], gains: Mapping[str, tuple[float, Gain]], limits: Limits
) -> list[Pick]:
    """Return picks in order, each the best by utility plus weighted gains for its price.

    Ties go to the first; a candidate that would pass the cost is passed over.

    Args:
        utility: (N,) what each candidate is worth whatever is picked.
        gains: weight and gain by name.
        limits: what stops picking.
    """
    free = np.ones(len(utility), dtype=np.bool_)
    price = np.maximum(limits.cost, 1.0) ** limits.cost_power
    picks: list[Pick] = []
    spent = 0.0
    while len(picks) < limits.num_frames:
        free &= limits.cost <= limits.max_cost - spent
        if not free.any():
            break
        now = {name: gain.values() for name, (_, gain) in gains.items()}
        worth = utility + sum(weight * now[name] for name, (weight, _) in gains.items())
        index = int(np.argmax(np.where(free, worth / price, -np.inf)))
        brought = {name: float(values[index]) for name, values in now.items()}
        picks.append(Pick(index, float(worth[index] / price[index]), brought))
        free[index] = False
        spent += float(limits.cost[index])
        for _, gain in gains.values():
            gain.take(index)
    return picks
