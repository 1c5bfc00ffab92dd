"""Slices: parts of the labels and predictions that are scored on their own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from admlops.config import Config
from admlops.evaluation.average_precision import Ranking
from admlops.evaluation.measures import UNMATCHED, CategoryMatches

WHOLE = "all"


class SliceConfig(Config):
    """Which slices are scored."""

    range_edges_m: tuple[float, ...] = (0.0, 20.0, 40.0, 70.0)
    """Edges of the distances on the ground; none turns these slices off."""
    point_edges: tuple[int, ...] = (1, 10, 50, 200)
    """Edges of the numbers of lidar points inside a label; the last slice is open."""
    occlusions: tuple[int, ...] = (0, 1, 2)
    """Occlusion levels of labels."""
    tags: bool = True
    """One slice for each tag of the frames, for example a condition."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of one category.

    Attributes:
        name: for example "range_0_20m".
        labels: (N,) bool, labels to be found; finding another one is neither right nor wrong.
        predictions: (M,) bool, predictions that are wrong when they find nothing.
    """

    name: str
    labels: NDArray[np.bool_]
    predictions: NDArray[np.bool_]


def make_slices(
    matches: CategoryMatches, tags: Sequence[tuple[str, ...]], config: SliceConfig
) -> Iterator[Slice]:
    """Yield the whole, then the slices by range, occlusion, points and tag.

    What a prediction that found nothing has no value of (an occlusion, the points where nobody
    counted them) cannot exclude it: such predictions are wrong in every slice of that kind.

    Args:
        matches: labels and predictions of one category.
        tags: (F) tags of each frame.
        config: which slices.
    """
    label_range_m, range_m = matches.label_range_m(), matches.range_m()
    every = np.ones(len(matches.score), dtype=np.bool_)
    yield Slice(WHOLE, np.ones(len(matches.counted), dtype=np.bool_), every)
    for low, high in zip(config.range_edges_m, config.range_edges_m[1:], strict=False):
        name = f"range_{low:g}_{high:g}m"
        yield Slice(name, _between(label_range_m, low, high), _between(range_m, low, high))
    for level in config.occlusions:
        yield Slice(f"occlusion_{level}", matches.label_occlusion == level, every)
    for low, high in zip(config.point_edges, [*config.point_edges[1:], np.inf], strict=False):
        name = f"points_{low:g}_{high:g}" if np.isfinite(high) else f"points_{low:g}_up"
        unknown = matches.points < 0
        wrong = unknown | _between(matches.points, low, high)
        yield Slice(name, _between(matches.label_points, low, high), wrong)
    for tag in sorted({tag for row in tags for tag in row}) if config.tags else []:
        has_tag = np.array([tag in row for row in tags], dtype=np.bool_)
        yield Slice(f"tag_{tag}", has_tag[matches.label_frame], has_tag[matches.frame])


def rank(matches: CategoryMatches, row: int, part: Slice) -> Ranking:
    """Return the judged predictions of one measure (its row in the matches) and slice."""
    found = matches.matches[row]
    wanted = matches.counted & part.labels
    is_hit = np.zeros(len(found), dtype=np.bool_)
    is_hit[found >= 0] = wanted[found[found >= 0]]
    judged = is_hit | ((found == UNMATCHED) & part.predictions)
    return Ranking(
        frame=matches.frame[judged],
        is_hit=is_hit[judged],
        score=matches.score[judged],
        labels_per_frame=np.bincount(matches.label_frame[wanted], minlength=matches.num_frames),
    )


def _between(
    values: NDArray[np.float64] | NDArray[np.int32], low: float, high: float
) -> NDArray[np.bool_]:
    return (values >= low) & (values < high)
