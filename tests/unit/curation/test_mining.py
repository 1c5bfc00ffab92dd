from dataclasses import replace

import numpy as np
import pytest

from admlops.curation.content import Content, Judged, expect_content
from admlops.curation.mining import (
    Candidates,
    Experience,
    MiningRule,
    SignalWeights,
    mine_frames,
)
from admlops.structures.boxes import Boxes
from admlops.structures.frame import FrameKey


def predictions(scores, category="car"):
    count = len(scores)
    return Boxes.make(
        np.zeros((count, 3)),
        np.ones((count, 3)),
        np.zeros(count),
        [category] * count,
        score=scores,
    )


PREDICTIONS = [
    predictions([0.99, 0.98]),
    predictions([0.5, 0.5]),
    predictions([0.99], "cyclist"),
    Boxes.empty(),
]
CANDIDATES = Candidates(
    keys=[FrameKey("log", "scene", index) for index in range(4)],
    frame_ids=["a", "b", "c", "d"],
    predictions=PREDICTIONS,
    descriptors=np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [9.0, 9.0]]),
    content=expect_content(PREDICTIONS, ["car", "cyclist"], Judged([], []), (0.05, 0.3)),
    supply=np.array([[2.0], [0.0], [0.0], [0.0]]),
    rivals=[(PREDICTIONS[0],), (PREDICTIONS[1],), (Boxes.empty(),), (Boxes.empty(),)],
    flicker=np.array([0.0, 0.0, 0.0, 3.0]),
)
EXPERIENCE = Experience(
    failure_descriptors=np.array([[9.0, 9.1]]),
    failure_counts=np.array([4.0]),
    labelled_descriptors=np.array([[0.0, 0.0]]),
    label_counts={"car": 100, "cyclist": 1},
    like_descriptors=np.array([[1.1, 0.0]]),
    missing=np.array([5.0]),
    by_scene=np.array([False]),
)


def rule(num_frames=1, **weights):
    nothing = dict.fromkeys(SignalWeights.model_fields, 0.0)
    return MiningRule(num_frames=num_frames, weights=SignalWeights(**(nothing | weights)))


@pytest.mark.parametrize(
    ("signal", "expected", "reason"),
    [
        ("uncertainty", "b", "doubts its boxes more than in 100 %"),
        ("disagreement", "c", "models differ more than in 100 %"),
        ("failure_similarity", "d", "more like frames it failed on than 100 %"),
        ("likeness", "b", "more like the frames that were named than 100 %"),
        ("flicker", "d", "boxes come and go more than in 100 %"),
        ("rarity", "c", "few labels: 1.0 cyclist expected"),
        ("requirement", "a", "gaps of the requirement: 2.0 car expected"),
        ("diversity", "d", "unlike what is labelled"),
    ],
)
def test_each_signal_picks_its_frame_and_says_why(signal, expected, reason):
    (frame,) = mine_frames(CANDIDATES, EXPERIENCE, rule(**{signal: 1.0}))
    assert frame.frame_id == expected
    assert reason in frame.reason
    assert frame.signals[signal] == 1.0


def test_weights_combine_signals():
    settings = rule(4, uncertainty=2.0, flicker=1.0).replace(cost_power=0.0)
    frames = mine_frames(CANDIDATES, EXPERIENCE, settings)
    assert {frame.frame_id for frame in frames} == {"a", "b", "c", "d"}
    assert frames[0].frame_id == "b"
    assert frames[0].score == pytest.approx(2.0 * 1.0 + 1 / 3)


def test_boxes_can_be_the_budget():
    settings = rule(4, uncertainty=1.0).replace(max_boxes=3)
    frames = mine_frames(CANDIDATES, EXPERIENCE, settings)
    assert sum(frame.expected_boxes for frame in frames) <= 3
    assert frames[0].frame_id == "b"
    assert frames[0].expected_boxes == 2


def test_picks_turn_to_another_category_when_one_is_filled():
    boxes = np.array([[0.0, 6.0], [0.0, 6.0], [3.0, 0.0], [0.0, 0.0]])
    content = Content(("car", "cyclist"), boxes, np.ones(4))
    counts = replace(EXPERIENCE, label_counts={"car": 5, "cyclist": 2})
    frames = mine_frames(replace(CANDIDATES, content=content), counts, rule(3, rarity=1.0))
    assert [frame.frame_id for frame in frames] == ["a", "b", "c"]
    assert frames[0].signals["rarity"] == 1.0 > frames[1].signals["rarity"]
    even = replace(EXPERIENCE, label_counts={"car": 1, "cyclist": 2})
    frames = mine_frames(replace(CANDIDATES, content=content), even, rule(2, rarity=1.0))
    assert [frame.frame_id for frame in frames] == ["a", "c"]


def test_no_candidates_no_failures_no_labels():
    content = Content((), np.empty((0, 0)), np.empty(0))
    none = Candidates([], [], [], np.empty((0, 2)), content, np.empty((0, 0)), [], np.empty(0))
    empty = np.empty((0, 2))
    nothing = Experience(empty, np.empty(0), empty, {}, empty, np.empty(0), np.empty(0, np.bool_))
    assert mine_frames(none, nothing, MiningRule()) == []
    plain = replace(CANDIDATES, supply=np.empty((4, 0)), rivals=[], flicker=np.empty(0))
    assert len(mine_frames(plain, nothing, MiningRule())) == 4
