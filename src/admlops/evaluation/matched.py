"""Average precision of matches that are all in memory: few frames, no slices, no interval."""

import numpy as np

from admlops.evaluation.average_precision import ResampledPrecision
from admlops.evaluation.measures import UNMATCHED, CategoryMatches


def average_precision(matches: CategoryMatches, row: int) -> float:
    """Return the average precision of one measure; NaN without labels.

    Args:
        matches: of a category, in some frames.
        row: of the measure.
    """
    found = matches.matches[row]
    judged = np.flatnonzero(found >= UNMATCHED)
    order = judged[np.argsort(-matches.score[judged], kind="stable")]
    once = ResampledPrecision(
        np.array([matches.counted.sum()], dtype=np.int64), np.ones((1, 1), dtype=np.uint8)
    )
    once.add(np.zeros(len(order), dtype=np.int64), found[order] >= 0, matches.score[order])
    return float(once.values()[0])
