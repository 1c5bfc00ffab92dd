"""Who looks at automatic labels: nobody, a person who corrects them, or a person who labels."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from admlops.annotation.automatic import AUTO, CONFIDENCE, INTERPOLATED
from admlops.annotation.calibration import Calibration, Outcomes, calibrate, find_right
from admlops.annotation.fusion import OTHERS, Share
from admlops.annotation.tracking import TrackedBoxes
from admlops.config import Config
from admlops.structures.boxes import Boxes
from admlops.structures.frame import FrameKey
from admlops.structures.label_request import RequestedFrame

Route = Literal["accept", "review", "ask"]
ROUTES: tuple[Route, ...] = ("accept", "review", "ask")
ACCEPT, REVIEW, ASK = range(3)


class RoutingConfig(Config):
    """What must be so that a box is trusted."""

    accept: dict[str, Share] = Field(default_factory=lambda: {OTHERS: 0.9})
    """Probability of being right from which on a box is accepted, by category; "" is for all
    others."""
    review: dict[str, Share] = Field(default_factory=lambda: {OTHERS: 0.4})
    """Probability from which on a box is given to a person to correct, by category; a frame with
    less certain ones is asked for."""
    doubt: Share = 0.15
    """Boxes with a lower probability are ignored."""
    min_agreement: Share = 0.6
    """Share of the models that must show an accepted box."""
    min_hits: int = Field(default=3, ge=1)
    """Detections that the track of an accepted box must have."""
    min_iou: dict[str, Share] = Field(
        default_factory=lambda: {"pedestrian": 0.3, "cyclist": 0.3, OTHERS: 0.5}
    )
    """Overlap on the ground with a label from which on a box is right, by category."""
    min_judged: int = Field(default=60, ge=1)
    """Boxes of a category in labelled frames from which on its scores are calibrated."""


@dataclass(frozen=True, slots=True)
class RoutedFrame:
    """A frame's automatic labels.

    Attributes:
        key: of the frame.
        boxes: those that are not ignored; the score is the probability of being right.
        routes: (N,) int64 number in `ROUTES` of each box.
        is_interpolated: (N,) whether no model showed the box.
    """

    key: FrameKey
    boxes: Boxes
    routes: NDArray[np.int64]
    is_interpolated: NDArray[np.bool_]

    @property
    def route(self) -> Route:
        """The least trusting route of its boxes; a frame without boxes is looked at."""
        return ROUTES[self.routes.max(initial=ACCEPT if len(self.boxes) else REVIEW)]

    @property
    def prelabels(self) -> Boxes:
        """The boxes that are good enough to start from, marked as automatic."""
        return mark(self, self.routes != ASK)

    @property
    def accepted(self) -> Boxes:
        """The accepted boxes as labels: without scores."""
        marked = mark(self, self.routes == ACCEPT)
        return marked.replace(score=np.full(len(marked), np.nan))


@dataclass(frozen=True, slots=True)
class ExpectedQuality:
    """What labelled frames say about accepted boxes, each judged by what the others taught.

    Attributes:
        num_labels: in frames that were judged.
        num_accepted: boxes that would have been accepted there.
        num_right: of them, those that are right.
    """

    num_labels: int = 0
    num_accepted: int = 0
    num_right: int = 0

    def scores(self) -> dict[str, float]:
        """Return what can be said; nothing where nothing was judged."""
        scores = {}
        if self.num_accepted:
            scores["expected_precision"] = self.num_right / self.num_accepted
        if self.num_labels:
            scores["expected_recall"] = self.num_right / self.num_labels
        return scores


def route_frame(
    key: FrameKey, tracked: TrackedBoxes, calibration: Calibration, config: RoutingConfig
) -> RoutedFrame:
    """Decide about each box of a frame."""
    probability = calibration.probability(tracked.boxes)
    names = tracked.boxes.category
    accept = np.array([_limit(config.accept, name, 0.9) for name in names])
    review = np.array([_limit(config.review, name, 0.4) for name in names])
    is_trusted = (
        (probability >= accept)
        & (tracked.agreement >= config.min_agreement - 1e-9)
        & (tracked.num_hits >= config.min_hits)
        & ~tracked.contested
        & ~tracked.is_interpolated
    )
    routes = np.where(is_trusted, ACCEPT, np.where(probability >= review, REVIEW, ASK))
    kept = np.flatnonzero((probability >= config.doubt) | (routes != ASK))
    boxes = tracked.boxes.replace(score=probability).select(kept)
    return RoutedFrame(key, boxes, routes[kept], tracked.is_interpolated[kept])


def mark(frame: RoutedFrame, chosen: NDArray[np.bool_]) -> Boxes:
    """Return chosen boxes of a frame with attributes that say how they were made."""
    rows = np.flatnonzero(chosen)
    texts = []
    for row in rows:
        values: dict[str, bool | float] = {
            AUTO: True,
            CONFIDENCE: round(float(frame.boxes.score[row]), 4),
        }
        if frame.is_interpolated[row]:
            values[INTERPOLATED] = True
        texts.append(json.dumps(values, sort_keys=True))
    return frame.boxes.select(rows).replace(attributes=np.array(texts, dtype=object).reshape(-1))


def ask_for(frame: RoutedFrame) -> RequestedFrame:
    """Return a frame as it is requested; its score is the number of corrections to expect."""
    probability = frame.boxes.score
    is_review, is_asked = frame.routes == REVIEW, frame.routes == ASK
    doubt = float((1.0 - probability[is_review]).sum() + probability[is_asked].sum())
    count = max(len(frame.boxes), 1)
    return RequestedFrame(
        **frame.key._asdict(),
        reason=_reason(frame),
        score=round(doubt, 4),
        signals={
            "ask": float(is_asked.sum()) / count,
            "review": float(is_review.sum()) / count,
        },
        expected_boxes=round(float(probability.sum()), 3),
    )


def judge(
    tracked: Sequence[TrackedBoxes], labels: Sequence[Boxes], config: RoutingConfig
) -> Outcomes:
    """Return which boxes of labelled frames are right; those between detections too."""
    right = [
        find_right(found.boxes, known, config.min_iou)
        for found, known in zip(tracked, labels, strict=True)
    ]
    return Outcomes(
        category=np.concatenate([np.empty(0, object), *(t.boxes.category for t in tracked)]),
        score=np.concatenate([np.empty(0), *(t.boxes.score for t in tracked)]),
        is_right=np.concatenate([np.empty(0, bool), *right]),
    )


def expect_quality(
    tracked: Mapping[FrameKey, TrackedBoxes],
    labels: Mapping[FrameKey, Boxes],
    config: RoutingConfig,
) -> ExpectedQuality:
    """Route labelled scenes by what the other scenes teach, and count what is accepted.

    The scenes are taken in two halves; one scene alone says nothing.
    """
    scenes = sorted({key[:2] for key in labels})
    if len(scenes) < 2:
        return ExpectedQuality()
    half = {scene: number % 2 for number, scene in enumerate(scenes)}
    counts = np.zeros(3, np.int64)
    for fold in range(2):
        known = [key for key in sorted(labels) if half[key[:2]] != fold]
        asked = [key for key in sorted(labels) if half[key[:2]] == fold]
        taught = judge([tracked[key] for key in known], [labels[key] for key in known], config)
        calibration = calibrate(taught, config.min_judged)
        for key in asked:
            accepted = route_frame(key, tracked[key], calibration, config).accepted
            scored = accepted.replace(score=np.ones(len(accepted)))
            right = find_right(scored, labels[key], config.min_iou)
            counts += np.array([len(labels[key]), len(right), np.count_nonzero(right)])
    return ExpectedQuality(*counts.tolist())


def _limit(table: Mapping[str, float], category: str, fallback: float) -> float:
    return table.get(category, table.get(OTHERS, fallback))


def _reason(frame: RoutedFrame) -> str:
    if len(frame.boxes) == 0:
        return "no model shows anything"
    parts = []
    for route, words in ((ASK, "uncertain"), (REVIEW, "to correct")):
        names = frame.boxes.category[frame.routes == route]
        counts = {name: int((names == name).sum()) for name in sorted(set(names))}
        if counts:
            listed = ", ".join(f"{count} {name}" for name, count in counts.items())
            parts.append(f"{listed} {words}")
    return "; ".join(parts) or "all accepted"
