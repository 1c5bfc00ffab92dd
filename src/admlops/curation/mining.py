"""Mining: which unlabelled frames to label next, from a model's doubts and its known failures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from admlops.config import Config
from admlops.curation.consistency import disagreement
from admlops.curation.content import Content, balance_start
from admlops.curation.descriptors import standardize
from admlops.curation.gains import Balance, Gain, Needs, Novelty, Spread
from admlops.curation.moments import Moments
from admlops.curation.selection import Limits, Pick, pick_greedily
from admlops.curation.signals import (
    Aggregate,
    UncertaintyMeasure,
    failure_density,
    frame_uncertainty,
    rank,
)
from admlops.structures.boxes import Boxes
from admlops.structures.frame import FrameKey
from admlops.structures.label_request import RequestedFrame


class SignalWeights(Config):
    """How much each signal counts; each is from 0 to 1."""

    rarity: float = Field(default=1.0, ge=0)
    """Expected labels, by how much they let each category grow; picks fill categories."""
    requirement: float = Field(default=1.0, ge=0)
    """Expected labels of what a requirement lacks; picks fill its cells."""
    likeness: float = Field(default=1.0, ge=0)
    """Likeness to the frames that `like` names."""
    uncertainty: float = Field(default=0.05, ge=0)
    """The model's doubt about its own boxes."""
    disagreement: float = Field(default=0.05, ge=0)
    """Differences from what other models predict."""
    failure_similarity: float = Field(default=0.05, ge=0)
    """Likeness to frames on which the model failed."""
    flicker: float = Field(default=0.05, ge=0)
    """Boxes that neighbouring frames do not show."""
    diversity: float = Field(default=0.05, ge=0)
    """Distance from what is labelled and what was picked before."""


class MiningRule(Config):
    """How frames are scored and picked."""

    num_frames: int = Field(default=20, ge=1)
    """Frames to ask for at most."""
    max_boxes: float | None = Field(default=None, gt=0)
    """Boxes to ask for at most, by expectation."""
    cost_power: float = Field(default=0.5, ge=0, le=1)
    """A frame's worth is divided by this power of its expected boxes: 0 heeds worth alone, for
    labels that are paid by the frame; 1 heeds worth per box."""
    weights: SignalWeights = SignalWeights()
    """How much each signal counts."""
    uncertainty: UncertaintyMeasure = "entropy"
    """Doubt about one box: entropy of its score, or nearness to the threshold."""
    aggregate: Aggregate = "sum"
    """Doubt about a frame: sum, mean or max over its boxes."""
    threshold: float = Field(default=0.5, gt=0, lt=1)
    """Score from which a prediction is used; where the margin is smallest."""
    min_score: float = Field(default=0.1, ge=0, le=1)
    """Predictions below are ignored."""
    box_score: float = Field(default=0.3, ge=0, le=1)
    """Predictions from here on are boxes that a user would see, and are expected to be drawn where
    no labelled frame says better."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """N unlabelled frames.

    Attributes:
        keys: their keys.
        moments: when and where they were taken.
        frame_ids: their names in the source format.
        predictions: the model's boxes of each.
        descriptors: (N, D) what each looks like.
        content: what each is expected to hold.
        supply: (N, G) boxes, or scenes, that each would bring to what a requirement lacks.
        rivals: boxes of each by every other model; empty where there is none.
        flicker: (N,) how much its boxes differ from its neighbours'; empty where unknown.
    """

    keys: Sequence[FrameKey]
    moments: Moments
    frame_ids: Sequence[str]
    predictions: Sequence[Boxes]
    descriptors: NDArray[np.floating]
    content: Content
    supply: NDArray[np.float64]
    rivals: Sequence[Sequence[Boxes]]
    flicker: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Experience:
    """What is known from labelled frames.

    Attributes:
        failure_descriptors: (F, D) frames on which the model failed.
        failure_counts: (F,) how often.
        labelled_descriptors: (L, D) frames that are labelled.
        labelled_moments: when and where frames with labels that count were taken.
        label_counts: labels per category.
        like_descriptors: (Q, D) frames that picks shall be like.
        missing: (G,) boxes, or scenes, that cells of a requirement lack.
        by_scene: (G,) whether scenes are missing.
    """

    failure_descriptors: NDArray[np.floating]
    failure_counts: NDArray[np.float64]
    labelled_descriptors: NDArray[np.floating]
    labelled_moments: Moments
    label_counts: Mapping[str, int]
    like_descriptors: NDArray[np.floating]
    missing: NDArray[np.float64]
    by_scene: NDArray[np.bool_]


def mine_frames(
    candidates: Candidates, experience: Experience, rule: MiningRule
) -> list[RequestedFrame]:
    """Return the frames to label, most wanted first, with the reason for each."""
    if not candidates.keys:
        return []
    pool, failed, like, labelled = _standardize_together(candidates, experience)
    signals = score_candidates(candidates, experience.failure_counts, (pool, failed, like), rule)
    weights = rule.weights
    utility = sum(
        (getattr(weights, name) * values for name, values in signals.items()),
        start=np.zeros(len(pool)),
    )
    content = candidates.content
    counts = balance_start(experience.label_counts, content.categories)
    novelty = Novelty(candidates.moments, experience.labelled_moments)
    scene = candidates.moments.scene
    needs = Needs(candidates.supply, experience.missing, scene, experience.by_scene)
    gains: dict[str, tuple[float, Gain]] = {
        "rarity": (weights.rarity, Balance(content.boxes, counts, novelty)),
        "requirement": (weights.requirement, needs),
        "diversity": (weights.diversity, Spread(pool, labelled)),
    }
    max_boxes = rule.max_boxes or float("inf")
    limits = Limits(rule.num_frames, content.cost, max_boxes, rule.cost_power)
    picks = pick_greedily(utility, gains, limits)
    return [_describe(candidates, signals, weights, pick) for pick in picks]


def score_candidates(
    candidates: Candidates,
    failure_counts: NDArray[np.float64],
    standardized: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    rule: MiningRule,
) -> dict[str, NDArray[np.float64]]:
    """Return each signal that picks do not change as (N,) ranks in [0, 1] among the candidates.

    Args:
        candidates: the unlabelled frames.
        failure_counts: (F,) how often the model failed on each failed frame.
        standardized: descriptors of the candidates, of the failed frames and of those that picks
            shall be like, on one scale.
        rule: how doubt is measured.
    """
    doubts = [
        frame_uncertainty(boxes, rule.uncertainty, rule.aggregate, rule.threshold, rule.min_score)
        for boxes in candidates.predictions
    ]
    rivals = candidates.rivals or [()] * len(doubts)
    quarrels = [
        disagreement(boxes, others, rule.min_score)
        for boxes, others in zip(candidates.predictions, rivals, strict=True)
    ]
    pool, failed, like = standardized
    flicker = candidates.flicker if len(candidates.flicker) else np.zeros(len(doubts))
    return {
        "uncertainty": rank(doubts),
        "disagreement": rank(quarrels),
        "failure_similarity": rank(failure_density(pool, failed, failure_counts)),
        "likeness": rank(failure_density(pool, like, np.ones(len(like)))),
        "flicker": rank(flicker),
    }


def _standardize_together(
    candidates: Candidates, experience: Experience
) -> tuple[NDArray[np.float64], ...]:
    """Return candidates', failed, wanted and labelled frames' descriptors on one scale."""
    width = candidates.descriptors.shape[1]
    parts = [
        candidates.descriptors,
        experience.failure_descriptors.reshape(-1, width),
        experience.like_descriptors.reshape(-1, width),
        experience.labelled_descriptors.reshape(-1, width),
    ]
    whole = standardize(np.concatenate(parts))
    return tuple(np.split(whole, np.cumsum([len(part) for part in parts])[:-1]))


def _describe(
    candidates: Candidates,
    signals: Mapping[str, NDArray[np.float64]],
    weights: SignalWeights,
    pick: Pick,
) -> RequestedFrame:
    values = {name: float(ranks[pick.index]) for name, ranks in signals.items()} | pick.gains
    strongest = max(values, key=lambda name: getattr(weights, name) * values[name])
    key = candidates.keys[pick.index]
    return RequestedFrame(
        log=key.log,
        scene=key.scene,
        timestamp_ns=key.timestamp_ns,
        frame_id=candidates.frame_ids[pick.index],
        score=round(pick.score, 6),
        reason=_reason(strongest, values[strongest], candidates.content, pick.index),
        signals={name: round(value, 6) for name, value in values.items()},
        expected_boxes=round(float(candidates.content.cost[pick.index]), 3),
    )


def _reason(signal: str, value: float, content: Content, index: int) -> str:
    share = f"{100.0 * value:.0f} %"
    held = zip(content.categories, content.boxes[index], strict=True)
    found = ", ".join(f"{count:.1f} {name}" for name, count in held if count >= 0.5) or "little"
    return {
        "uncertainty": f"the model doubts its boxes more than in {share} of the candidates",
        "disagreement": f"models differ more than in {share} of the candidates",
        "failure_similarity": f"more like frames it failed on than {share} of the candidates",
        "likeness": f"more like the frames that were named than {share} of the candidates",
        "flicker": f"boxes come and go more than in {share} of the candidates",
        "rarity": f"fills categories with few labels: {found} expected; {share} of the best",
        "requirement": f"closes gaps of the requirement: {found} expected; {share} of the best",
        "diversity": f"unlike what is labelled or picked: {share} of the largest distance",
    }[signal]
