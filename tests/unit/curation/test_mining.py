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
from admlops.curation.moments import Moments
from admlops.geometry.pose import make_transform
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
KEYS = [FrameKey("log", "scene", index) for index in range(4)]
UNKNOWN = np.stack([np.eye(4)] * 4)
CANDIDATES = Candidates(
    keys=KEYS,
    moments=Moments.of(KEYS, UNKNOWN),
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
    labelled_moments=Moments.of([], UNKNOWN[:0]),
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


def moments_along(places_m, times_s, scenes="aaaa"):
    told = zip(scenes, times_s, strict=True)
    keys = [FrameKey("log", scene, round(time * 1e9)) for scene, time in told]
    poses = np.stack([make_transform(np.eye(3), [x, 1.0, 0.0]) for x in places_m])
    return Moments.of(keys, poses)


def test_the_next_frame_of_a_scene_is_passed_over_for_another_scene():
    """Frames a and b are a metre and a tenth of a second apart; c is of another scene."""
    boxes = np.array([[9.0], [9.0], [6.0], [0.0]])
    some = replace(
        CANDIDATES,
        content=Content(("cyclist",), boxes, np.ones(4)),
        moments=moments_along([0.0, 1.0, 0.0, 0.0], [0.0, 0.1, 0.0, 9.0], "aabb"),
    )
    frames = mine_frames(some, EXPERIENCE, rule(2, rarity=1.0))
    assert [frame.frame_id for frame in frames] == ["a", "c"]
    known = replace(EXPERIENCE, labelled_moments=moments_along([0.5], [0.05], "a"))
    frames = mine_frames(some, known, rule(2, rarity=1.0))
    assert frames[0].frame_id == "c"


def test_no_candidates_no_failures_no_labels():
    content = Content((), np.empty((0, 0)), np.empty(0))
    never = Moments.of([], UNKNOWN[:0])
    empty, zero = np.empty((0, 2)), np.empty(0)
    none = Candidates([], never, [], [], empty, content, np.empty((0, 0)), [], zero)
    nothing = Experience(empty, zero, empty, never, {}, empty, zero, np.empty(0, np.bool_))
    assert mine_frames(none, nothing, MiningRule()) == []
    plain = replace(CANDIDATES, supply=np.empty((4, 0)), rivals=[], flicker=np.empty(0))
    assert len(mine_frames(plain, nothing, MiningRule())) == 4
