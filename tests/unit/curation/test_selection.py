import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from admlops.curation.gains import Balance, Needs, Novelty, Spread
from admlops.curation.moments import Moments
from admlops.curation.selection import Limits, pick_greedily
from admlops.structures.frame import FrameKey


def limits(count, num_frames, cost=None, most=np.inf, power=0.0):
    return Limits(num_frames, np.ones(count) if cost is None else np.array(cost), most, power)


def strangers(count):
    """Frames that share nothing."""
    keys = [FrameKey("log", str(number), 0) for number in range(count)]
    moments = Moments.of(keys, np.stack([np.eye(4)] * count))
    return Novelty(moments, moments.select(np.empty(0, np.int64)))


def indices(picks):
    return [pick.index for pick in picks]


def test_without_gains_it_is_a_ranking():
    picks = pick_greedily(np.array([0.1, 0.9, 0.5]), {}, limits(3, 2))
    assert indices(picks) == [1, 2]
    assert picks[0].score == 0.9


def test_near_duplicates_are_not_all_picked():
    spread = Spread(np.array([[0.0], [0.01], [0.02], [5.0]]))
    utility = np.array([1.0, 0.99, 0.98, 0.5])
    picks = pick_greedily(utility, {"diversity": (2.0, spread)}, limits(4, 2))
    assert set(indices(picks)) == {0, 3}


def test_spread_alone_is_the_greedy_k_centre():
    spread = Spread(np.array([[0.0], [1.0], [4.0], [10.0], [6.0]]), np.array([[0.0]]))
    picks = pick_greedily(np.zeros(5), {"diversity": (1.0, spread)}, limits(5, 3))
    assert indices(picks) == [3, 2, 4]
    assert [pick.gains["diversity"] for pick in picks] == [1.0, 0.4, 0.2]


def test_costs_stop_picking_and_dear_frames_are_passed_over():
    picks = pick_greedily(
        np.array([3.0, 2.0, 1.0]), {}, limits(3, 3, cost=[5.0, 9.0, 4.0], most=10.0)
    )
    assert indices(picks) == [0, 2]


@pytest.mark.parametrize(("power", "expected"), [(0.0, [0, 1]), (0.5, [1, 0]), (1.0, [1, 0])])
def test_worth_is_divided_by_a_power_of_the_cost(power, expected):
    picks = pick_greedily(np.array([3.0, 2.0]), {}, limits(2, 2, cost=[9.0, 1.0], power=power))
    assert indices(picks) == expected
    assert picks[0].score == (3.0 if power == 0.0 else 2.0)


def test_balance_fills_the_category_with_few_labels_and_then_turns_to_others():
    expected = np.array([[10.0, 0.0], [0.0, 5.0], [0.0, 5.0], [0.0, 5.0]])
    balance = Balance(expected, np.array([95.0, 0.0]), strangers(4))
    values = balance.values()
    assert values[1] == 1.0
    assert values[0] == pytest.approx(np.log(1.1) / np.log(2.0))
    balance.take(1)
    assert balance.values()[2] == pytest.approx(np.log(1.5) / np.log(2.0))


def test_needs_stop_asking_for_a_full_cell():
    supply = np.array([[4.0, 0.0], [4.0, 0.0], [0.0, 1.0]])
    needs = Needs(supply, np.array([4.0, 10.0]), np.zeros(3, np.int64), np.zeros(2, np.bool_))
    assert needs.values().tolist() == pytest.approx([1.0, 1.0, 0.1])
    needs.take(0)
    assert needs.values().tolist() == pytest.approx([0.0, 0.0, 0.1])


def test_a_met_requirement_asks_for_nothing():
    none = np.empty(0, np.bool_)
    needs = Needs(np.empty((2, 0)), np.empty(0), np.zeros(2, np.int64), none)
    needs.take(0)
    assert needs.values().tolist() == [0.0, 0.0]


def test_a_second_frame_of_a_scene_brings_no_scene():
    supply = np.array([[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]])
    by_scene = np.array([True, False])
    needs = Needs(supply, np.array([2.0, 4.0]), np.array([0, 0, 1]), by_scene)
    assert needs.values().tolist() == [1.0, 1.0, 1.0]
    needs.take(0)
    assert needs.values() == pytest.approx([1 / 3, 1 / 3, 1.0])


def test_no_candidates_and_equal_descriptors():
    empty = Spread(np.empty((0, 2)))
    assert pick_greedily(np.empty(0), {"diversity": (1.0, empty)}, limits(0, 3)) == []
    equal = Spread(np.zeros((2, 0)))
    picks = pick_greedily(np.zeros(2), {"diversity": (1.0, equal)}, limits(2, 5))
    assert indices(picks) == [0, 1]


@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 9))
def test_picks_are_distinct_and_repeatable(count, wanted, seed):
    rng = np.random.default_rng(seed)
    utility, places = rng.random(count), rng.random((count, 3))

    def pick():
        gains = {
            "diversity": (1.0, Spread(places)),
            "rarity": (1.0, Balance(places, np.ones(3), strangers(count))),
        }
        return indices(pick_greedily(utility, gains, limits(count, wanted)))

    assert len(set(pick())) == len(pick()) == min(count, wanted)
    assert pick() == pick()
