"""What a requirement lacks, boxes or scenes, and what candidates would bring of it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from admlops.curation.content import Content
from admlops.structures.boxes import Boxes

_FAINT = 0.05
"""Weight of the pool's spread over distance beside the scores of a single frame."""


@dataclass(frozen=True, slots=True)
class Need:
    """Boxes that are missing, or scenes that hold one.

    Attributes:
        category: of the boxes.
        range_m: nearest and farthest distance of their centres on the ground.
        tags: that a frame must have.
        num_missing: how many boxes, or scenes, are missing.
        scenes: log and scene of those that hold some, where scenes are missing; None where boxes.
    """

    category: str
    range_m: tuple[float, float]
    tags: frozenset[str]
    num_missing: float
    scenes: frozenset[tuple[str, str]] | None = None


def expect_supply(
    needs: Sequence[Need],
    content: Content,
    predictions: Sequence[Boxes],
    frames: Sequence[tuple[tuple[str, str], Collection[str]]],
) -> NDArray[np.float64]:
    """Return (N, G) boxes, or scenes, that each frame is expected to bring to each need.

    The expected boxes of a category are spread over distance as the scores of its predictions are,
    in the frame and, faintly, in all frames; a frame that lacks a tag brings nothing, nor does one
    of a scene that is known where scenes are missing.

    Args:
        needs: what is missing.
        content: what the frames probably hold.
        predictions: of each frame.
        frames: log and scene, and tags, of each frame.
    """
    supply = np.zeros((len(predictions), len(needs)))
    for column, need in enumerate(needs):
        if need.category not in content.categories:
            continue
        parts = np.array([_scores_within(boxes, need) for boxes in predictions]).reshape(-1, 2)
        common = parts.sum(axis=0) + 1e-9
        inside = parts[:, 0] + _FAINT * common[0] / common[1]
        share = inside / (parts[:, 1] + _FAINT)
        fits = np.array([_fits(need, *frame) for frame in frames], np.bool_)
        expected = content.boxes[:, content.categories.index(need.category)]
        brought = np.where(fits, expected * np.minimum(share, 1.0), 0.0)
        supply[:, column] = brought if need.scenes is None else np.minimum(brought, 1.0)
    return supply


def _fits(need: Need, scene: tuple[str, str], tags: Collection[str]) -> bool:
    return need.tags <= set(tags) and scene not in (need.scenes or ())


def _scores_within(boxes: Boxes, need: Need) -> tuple[float, float]:
    """Return the sum of the category's scores within the range, and of all of them."""
    score = np.where(boxes.category == need.category, boxes.score, 0.0)
    distance = np.hypot(boxes.center_m[:, 0], boxes.center_m[:, 1])
    low, high = need.range_m
    return float(score[(distance >= low) & (distance < high)].sum()), float(score.sum())
