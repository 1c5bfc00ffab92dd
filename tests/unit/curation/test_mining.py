import numpy as np
import pytest

from admlops.curation.mining import (
    Candidates,
    Experience,
    MiningRule,
    SignalWeights,
    expected_boxes,
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


CANDIDATES = Candidates(
    keys=[FrameKey("log", "scene", index) for index in range(4)],
    frame_ids=["a", "b", "c", "d"],
    predictions=[
        predictions([0.99, 0.98]),
        predictions([0.5, 0.5]),
        predictions([0.99], "cyclist"),
        Boxes.empty(),
    ],
    descriptors=np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [9.0, 9.0]]),
)
EXPERIENCE = Experience(
    failure_descriptors=np.array([[9.0, 9.1]]),
    failure_counts=np.array([4.0]),
    labelled_descriptors=np.array([[0.0, 0.0]]),
    label_counts={"car": 100, "cyclist": 1},
)


def rule(num_frames=1, **weights):
    nothing = dict.fromkeys(SignalWeights.model_fields, 0.0)
    return MiningRule(num_frames=num_frames, weights=SignalWeights(**(nothing | weights)))


@pytest.mark.parametrize(
    ("signal", "expected", "reason"),
    [
        ("uncertainty", "b", "doubts its boxes more than in 100 %"),
        ("failure_similarity", "d", "more like frames it failed on than 100 %"),
        ("rarity", "c", "rare categories"),
        ("diversity", "d", "unlike what is labelled"),
    ],
)
def test_each_signal_picks_its_frame_and_says_why(signal, expected, reason):
    (frame,) = mine_frames(CANDIDATES, EXPERIENCE, rule(**{signal: 1.0}))
    assert frame.frame_id == expected
    assert reason in frame.reason
    assert frame.signals[signal] == 1.0


def test_weights_combine_signals():
    frames = mine_frames(CANDIDATES, EXPERIENCE, rule(4, uncertainty=2.0, rarity=1.0))
    assert frames[0].frame_id == "b"
    assert {frame.frame_id for frame in frames} == {"a", "b", "c", "d"}
    assert frames[0].score == pytest.approx(2.0 * 1.0 + 1 / 3)


def test_boxes_can_be_the_budget():
    settings = rule(4, uncertainty=1.0).replace(max_boxes=3)
    frames = mine_frames(CANDIDATES, EXPERIENCE, settings)
    assert sum(frame.expected_boxes for frame in frames) <= 3
    assert frames[0].frame_id == "b"
    assert frames[0].expected_boxes == 2


def test_expected_boxes_counts_what_is_likely():
    assert expected_boxes(predictions([0.29, 0.3, 0.9]), 0.3) == 2.0
    assert expected_boxes(Boxes.empty(), 0.3) == 0.0


def test_no_candidates_no_failures_no_labels():
    none = Candidates([], [], [], np.empty((0, 2)))
    nothing = Experience(np.empty((0, 2)), np.empty(0), np.empty((0, 2)), {})
    assert mine_frames(none, nothing, MiningRule()) == []
    assert len(mine_frames(CANDIDATES, nothing, MiningRule())) == 4
