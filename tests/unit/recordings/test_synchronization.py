import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from admlops.recordings.synchronization import match_nearest, number_scenes


def times(*values):
    return np.array(values, dtype=np.int64)


def test_the_nearest_within_the_tolerance_is_the_partner():
    partner = match_nearest(times(0, 100, 200), times(9, 95, 230), 20)
    assert partner.tolist() == [0, 1, -1]


def test_no_message_has_two_partners():
    """Both sweeps are near the one image; the nearer one gets it."""
    assert match_nearest(times(0, 30), times(20), 50).tolist() == [-1, 0]


def test_of_two_at_one_distance_the_earlier_is_nearer():
    assert match_nearest(times(100), times(110, 90), 20).tolist() == [1]


def test_without_messages_there_are_no_partners():
    assert match_nearest(times(1, 2), times(), 5).tolist() == [-1, -1]
    assert match_nearest(times(), times(1), 5).tolist() == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-300, 300), max_size=20),
    st.lists(st.integers(-300, 300), max_size=20),
    st.integers(0, 100),
)
def test_partners_are_unique_near_and_mutually_nearest(anchors, others, tolerance):
    anchor, other = times(*anchors), times(*others)
    partner = match_nearest(anchor, other, tolerance)
    used = partner[partner >= 0]
    assert len(set(used)) == len(used)
    for row in np.flatnonzero(partner >= 0):
        distance = abs(anchor[row] - other[partner[row]])
        assert distance <= tolerance
        assert distance == np.abs(other - anchor[row]).min()
        assert distance == np.abs(anchor - other[partner[row]]).min()
    for row in np.flatnonzero(partner < 0):
        near = np.flatnonzero(np.abs(other - anchor[row]) <= tolerance)
        for one in near:  # it is nobody's, or somebody else's who is at least as near
            mine = abs(other[one] - anchor[row])
            assert (
                np.abs(anchor - other[one]).min() <= mine
                or np.abs(other - anchor[row]).min() < mine
            )


def seconds(*values):
    return np.round(np.array(values) * 1e9).astype(np.int64)


def test_a_minute_becomes_three_scenes():
    numbers = number_scenes(seconds(*np.arange(0, 60.01, 0.5)), 20.0, 1.0)
    assert np.bincount(numbers).tolist() == [40, 40, 41]


def test_a_short_log_is_one_scene_and_a_gap_cuts():
    assert number_scenes(seconds(0, 0.1, 0.2), 20.0, 1.0).tolist() == [0, 0, 0]
    assert number_scenes(seconds(0, 0.1, 5.0, 5.1), 20.0, 1.0).tolist() == [0, 0, 1, 1]
    assert number_scenes(times(), 20.0, 1.0).tolist() == []
    assert number_scenes(times(7), 20.0, 1.0).tolist() == [0]
