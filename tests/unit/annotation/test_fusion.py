import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admlops.annotation.fusion import FusionConfig, fuse_boxes
from admlops.structures.boxes import Boxes


def boxes(*rows, category="car"):
    """Rows of x, y, yaw, score; cars are 4 x 2 x 1.5."""
    values = np.array(rows, dtype=float).reshape(-1, 4)
    size = np.tile([4.0, 2.0, 1.5], (len(values), 1))
    center = np.column_stack([values[:, :2], np.full(len(values), 0.75)])
    return Boxes.make(center, size, values[:, 2], [category] * len(values), score=values[:, 3])


def test_two_models_that_agree_give_their_weighted_mean():
    # weights 0.9 and 0.3: x = (0.9 * 10 + 0.3 * 10.4) / 1.2 = 10.1; score = (0.9 + 0.3) / 2
    fused = fuse_boxes([boxes([10, 0, 0, 0.9]), boxes([10.4, 0, 0, 0.3])], FusionConfig())
    assert fused.boxes.center_m[:, 0] == pytest.approx([10.1])
    assert fused.boxes.score == pytest.approx([0.6])
    assert fused.agreement == pytest.approx([1.0])
    assert not fused.contested.any()


def test_what_one_of_two_models_shows_loses_half_its_score():
    fused = fuse_boxes(
        [boxes([10, 0, 0, 0.8], [30, 5, 0, 0.9]), boxes([10, 0, 0, 0.8])], FusionConfig()
    )
    assert fused.boxes.center_m[:, 0].tolist() == [10, 30]
    assert fused.boxes.score == pytest.approx([0.8, 0.45])
    assert fused.agreement == pytest.approx([1.0, 0.5])


def test_weights_of_models_count_in_place_score_and_agreement():
    # a model of weight 3 beside one of weight 1: x = (3 * 10 + 10.4) / 4, score = 0.8 * 4 / 4
    config = FusionConfig(weights=(3.0, 1.0))
    fused = fuse_boxes([boxes([10, 0, 0, 0.8]), boxes([10.4, 0, 0, 0.8])], config)
    assert fused.boxes.center_m[0, 0] == pytest.approx(10.1)
    alone = fuse_boxes([boxes([10, 0, 0, 0.8]), boxes()], config)
    assert alone.boxes.score == pytest.approx([0.6])
    assert alone.agreement == pytest.approx([0.75])
    with pytest.raises(ValueError, match="1 models have 2 weights"):
        fuse_boxes([boxes()], config)


def test_a_model_that_heads_backward_is_outvoted_and_does_not_turn_the_axis():
    # axes 0.1 and 0.3 (the latter drawn backward) of equal weight: axis 0.2; majority looks forward
    models = [boxes([10, 0, 0.1, 0.8]), boxes([10, 0, 0.3 - np.pi, 0.6]), boxes([10, 0, 0.3, 0.2])]
    fused = fuse_boxes(models, FusionConfig())
    assert fused.boxes.yaw_rad == pytest.approx([0.2])


def test_headings_on_both_sides_of_the_cut_stay_there():
    fused = fuse_boxes(
        [boxes([10, 0, np.pi - 0.1, 0.5]), boxes([10, 0, -np.pi + 0.1, 0.5])], FusionConfig()
    )
    assert abs(fused.boxes.yaw_rad[0]) == pytest.approx(np.pi)
    assert -np.pi <= fused.boxes.yaw_rad[0] < np.pi


def test_a_box_that_one_model_shows_twice_counts_once():
    fused = fuse_boxes([boxes([10, 0, 0, 0.8], [10.2, 0, 0, 0.4]), boxes()], FusionConfig())
    assert len(fused.boxes) == 1
    assert fused.boxes.score == pytest.approx([0.4])


def test_categories_stay_apart_and_contest_a_place():
    models = [boxes([10, 0, 0, 0.8]), boxes([10, 0, 0, 0.6], category="van")]
    fused = fuse_boxes(models, FusionConfig())
    assert list(fused.boxes.category) == ["car", "van"]
    assert fused.contested.all()


def test_weak_boxes_and_empty_frames_leave_nothing():
    assert len(fuse_boxes([boxes([10, 0, 0, 0.05]), boxes()], FusionConfig()).boxes) == 0
    assert fuse_boxes([boxes(), boxes()], FusionConfig()).contested.shape == (0,)


def test_boxes_that_are_no_numbers_or_have_no_score_do_not_count():
    models = [boxes([10, 0, 0, 0.8], [10, 0, np.nan, 0.9], [np.inf, 0, 0, 0.9], [10, 0, 0, np.nan])]
    for config in (FusionConfig(), FusionConfig(min_score=0.0)):
        fused = fuse_boxes([*models, boxes([30, 0, 0, 0.0])], config)
        assert fused.boxes.as_7() == pytest.approx(np.array([[10, 0, 0.75, 4, 2, 1.5, 0]]))
        assert fused.boxes.score == pytest.approx([0.4])


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(st.floats(0, 30), st.floats(-8, 8), st.floats(-3.1, 3.1), st.floats(0.11, 1)),
        max_size=12,
    )
)
def test_fusing_equal_models_is_fusing_one(rows):
    one = fuse_boxes([boxes(*rows)], FusionConfig())
    three = fuse_boxes([boxes(*rows)] * 3, FusionConfig())
    assert three.boxes.score.max(initial=0) == pytest.approx(one.boxes.score.max(initial=0))
    assert (three.agreement == 1).all()
    assert (three.boxes.score <= 1 + 1e-12).all()
