"""Mining: which unlabelled frames to label next, from a model's doubts and its known failures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from admlops.config import Config
from admlops.curation.descriptors import standardize
from admlops.curation.selection import Limits, Pick, pick_diverse
from admlops.curation.signals import (
    Aggregate,
    UncertaintyMeasure,
    category_weights,
    failure_density,
    frame_rarity,
    frame_uncertainty,
    rank,
)
from admlops.structures.boxes import Boxes
from admlops.structures.frame import FrameKey
from admlops.structures.label_request import RequestedFrame


class SignalWeights(Config):
    """How much each signal counts; each is a rank from 0 to 1 among the candidates."""

    uncertainty: float = Field(default=1.0, ge=0)
    """The model's doubt about its own boxes."""
    failure_similarity: float = Field(default=1.0, ge=0)
    """Likeness to frames on which the model failed."""
    rarity: float = Field(default=0.5, ge=0)
    """Expected objects of categories that have few labels."""
    diversity: float = Field(default=1.0, ge=0)
    """Distance from what is labelled and what was picked before."""


class MiningRule(Config):
    """How frames are scored and picked."""

    num_frames: int = Field(default=20, ge=1)
    """Frames to ask for at most."""
    max_boxes: float | None = Field(default=None, gt=0)
    """Boxes to ask for at most, by expectation."""
    weights: SignalWeights = SignalWeights()
    """How much each signal counts."""
    uncertainty: UncertaintyMeasure = "entropy"
    """Doubt about one box: entropy of its score, or nearness to the threshold."""
    aggregate: Aggregate = "sum"
    """Doubt about a frame: sum, mean or max over its boxes."""
    threshold: float = Field(default=0.5, gt=0, lt=1)
    """Score from which a prediction is used; where the margin is smallest."""
    min_score: float = Field(default=0.05, ge=0, le=1)
    """Predictions below are ignored."""
    box_score: float = Field(default=0.3, ge=0, le=1)
    """Predictions from here on count as boxes to draw."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """N unlabelled frames.

    Attributes:
        keys: their keys.
        frame_ids: their names in the source format.
        predictions: the model's boxes of each.
        descriptors: (N, D) what each looks like.
    """

    keys: Sequence[FrameKey]
    frame_ids: Sequence[str]
    predictions: Sequence[Boxes]
    descriptors: NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Experience:
    """What is known from labelled frames.

    Attributes:
        failure_descriptors: (F, D) frames on which the model failed.
        failure_counts: (F,) how often.
        labelled_descriptors: (L, D) frames that are labelled.
        label_counts: labels per category.
    """

    failure_descriptors: NDArray[np.floating]
    failure_counts: NDArray[np.float64]
    labelled_descriptors: NDArray[np.floating]
    label_counts: Mapping[str, int]


def mine_frames(
    candidates: Candidates, experience: Experience, rule: MiningRule
) -> list[RequestedFrame]:
    """Return the frames to label, most wanted first, with the reason for each."""
    if not candidates.keys:
        return []
    pool, failed, labelled = _standardize_together(candidates, experience)
    signals = score_candidates(candidates, experience, (pool, failed), rule)
    weights = rule.weights
    utility = sum(
        (getattr(weights, name) * values for name, values in signals.items()),
        start=np.zeros(len(pool)),
    )
    cost = np.array([expected_boxes(boxes, rule.box_score) for boxes in candidates.predictions])
    limits = Limits(rule.num_frames, cost, rule.max_boxes or float("inf"))
    picks = pick_diverse(utility, pool, limits, weights.diversity, labelled)
    return [_describe(candidates, signals, weights, pick, cost[pick.index]) for pick in picks]


def score_candidates(
    candidates: Candidates,
    experience: Experience,
    standardized: tuple[NDArray[np.float64], NDArray[np.float64]],
    rule: MiningRule,
) -> dict[str, NDArray[np.float64]]:
    """Return each signal as (N,) ranks in [0, 1] among the candidates.

    Args:
        candidates: the unlabelled frames.
        experience: what is known from labelled ones.
        standardized: descriptors of the candidates and of the failed frames, on one scale.
        rule: how doubt is measured.
    """
    rarity_of = category_weights(experience.label_counts)
    doubts = [
        frame_uncertainty(boxes, rule.uncertainty, rule.aggregate, rule.threshold, rule.min_score)
        for boxes in candidates.predictions
    ]
    rarities = [frame_rarity(b, rarity_of, rule.min_score) for b in candidates.predictions]
    pool, failed = standardized
    return {
        "uncertainty": rank(doubts),
        "failure_similarity": rank(failure_density(pool, failed, experience.failure_counts)),
        "rarity": rank(rarities),
    }


def expected_boxes(boxes: Boxes, min_score: float) -> float:
    """Return how many boxes an annotator will probably draw: predictions of `min_score` on."""
    return float(np.count_nonzero(boxes.score >= min_score))


def _standardize_together(
    candidates: Candidates, experience: Experience
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return candidates', failed and labelled frames' descriptors on one scale."""
    width = candidates.descriptors.shape[1]
    parts = [
        candidates.descriptors,
        experience.failure_descriptors.reshape(-1, width),
        experience.labelled_descriptors.reshape(-1, width),
    ]
    whole = standardize(np.concatenate(parts))
    first, second = len(parts[0]), len(parts[0]) + len(parts[1])
    return whole[:first], whole[first:second], whole[second:]


def _describe(
    candidates: Candidates,
    signals: Mapping[str, NDArray[np.float64]],
    weights: SignalWeights,
    pick: Pick,
    cost: float,
) -> RequestedFrame:
    values = {name: float(ranks[pick.index]) for name, ranks in signals.items()}
    values["diversity"] = pick.distance
    strongest = max(values, key=lambda name: getattr(weights, name) * values[name])
    key = candidates.keys[pick.index]
    return RequestedFrame(
        log=key.log,
        scene=key.scene,
        timestamp_ns=key.timestamp_ns,
        frame_id=candidates.frame_ids[pick.index],
        score=round(pick.score, 6),
        reason=_reason(strongest, values[strongest]),
        signals={name: round(value, 6) for name, value in values.items()},
        expected_boxes=cost,
    )


def _reason(signal: str, value: float) -> str:
    share = f"{100.0 * value:.0f} %"
    return {
        "uncertainty": f"the model doubts its boxes more than in {share} of the candidates",
        "failure_similarity": f"more like frames it failed on than {share} of the candidates",
        "rarity": f"more objects of rare categories expected than in {share} of the candidates",
        "diversity": f"unlike what is labelled or picked: {share} of the largest distance",
    }[signal]
