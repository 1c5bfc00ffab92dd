import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from admlops.curation.selection import Limits, pick_diverse


def limits(count, num_frames, **values):
    return Limits(num_frames, values.get("cost", np.ones(count)), values.get("most", np.inf))


def test_without_diversity_it_is_a_ranking():
    utility = np.array([0.1, 0.9, 0.5])
    picks = pick_diverse(utility, np.zeros((3, 1)), limits(3, 2), diversity=0.0)
    assert [pick.index for pick in picks] == [1, 2]
    assert picks[0].score == 0.9


def test_near_duplicates_are_not_all_picked():
    places = np.array([[0.0], [0.01], [0.02], [5.0]])
    utility = np.array([1.0, 0.99, 0.98, 0.5])
    picks = pick_diverse(utility, places, limits(4, 2), diversity=2.0)
    assert {pick.index for pick in picks} == {0, 3}


def test_diversity_alone_is_the_greedy_k_centre():
    places = np.array([[0.0], [1.0], [4.0], [10.0], [6.0]])
    labelled = np.array([[0.0]])
    picks = pick_diverse(np.zeros(5), places, limits(5, 3), 1.0, labelled)
    assert [pick.index for pick in picks] == [3, 2, 4]
    assert [pick.distance for pick in picks] == [1.0, 0.4, 0.2]


def test_costs_stop_picking_and_dear_frames_are_passed_over():
    utility, cost = np.array([3.0, 2.0, 1.0]), np.array([5.0, 9.0, 4.0])
    picks = pick_diverse(utility, np.zeros((3, 2)), limits(3, 3, cost=cost, most=10.0), 0.0)
    assert [pick.index for pick in picks] == [0, 2]


def test_no_candidates_and_equal_descriptors():
    assert pick_diverse(np.empty(0), np.empty((0, 2)), limits(0, 3), 1.0) == []
    picks = pick_diverse(np.zeros(2), np.zeros((2, 0)), limits(2, 5), 1.0)
    assert [pick.index for pick in picks] == [0, 1]


@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 9))
def test_picks_are_distinct_and_repeatable(count, wanted, seed):
    rng = np.random.default_rng(seed)
    utility, places = rng.random(count), rng.random((count, 3))
    picks = pick_diverse(utility, places, limits(count, wanted), 1.0)
    indices = [pick.index for pick in picks]
    assert len(set(indices)) == len(indices) == min(count, wanted)
    again = pick_diverse(utility, places, limits(count, wanted), 1.0)
    assert [pick.index for pick in again] == indices
