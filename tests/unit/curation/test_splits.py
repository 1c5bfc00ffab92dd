import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from admlops.curation.grouping import (
    FramePlaces,
    Reach,
    connect,
    group_units,
    look_alike,
    near_in_space,
    number_values,
)
from admlops.curation.splitting import FREE, SplitRule, divide_units, move_unlabelled
from admlops.errors import ConfigError

SECOND = 1_000_000_000
NO_REACH = Reach(0, 0.0, 0.0)


def places(unit, **columns):
    count = len(unit)
    values = {
        "log": np.arange(count),
        "timestamp_ns": np.zeros(count, np.int64),
        "space": np.zeros(count, np.int64),
        "position_m": np.full((count, 2), np.nan),
        "sensor": np.arange(count),
        "location": np.full(count, -1),
        "look": np.full(count, -1),
        "descriptors": np.empty((count, 0)),
    }
    given_columns = {name: np.asarray(column) for name, column in columns.items()}
    return FramePlaces(unit=np.asarray(unit), **(values | given_columns))


def test_units_are_connected_through_others():
    assert connect(6, np.array([[4, 1], [1, 3], [5, 2]])).tolist() == [0, 1, 2, 1, 1, 2]


def test_each_reason_joins_units_and_is_counted():
    groups, pairs = group_units(places([0, 1, 2], sensor=[7, 8, 7]), NO_REACH)
    assert groups.tolist() == [0, 1, 0]
    assert pairs == {"same_data": 1, "same_location": 0, "same_look": 0}
    groups, pairs = group_units(places([0, 1, 2], location=[-1, 3, 3]), NO_REACH)
    assert groups.tolist() == [0, 1, 1]
    assert pairs["same_location"] == 1


def test_scenes_that_follow_each_other_in_a_log_belong_together():
    times = np.array([0, 5, 12, 40, 6]) * SECOND
    found, pairs = group_units(
        places([0, 0, 1, 2, 3], log=[0, 0, 0, 0, 1], timestamp_ns=times), Reach(10 * SECOND, 0, 0)
    )
    assert found.tolist() == [0, 0, 2, 3]
    assert pairs["near_in_time"] == 1


def test_places_are_compared_within_one_space_whatever_the_time():
    position = [[0.0, 0.0], [3.0, 4.0], [3.0, 4.0], [np.nan, np.nan], [20.0, 0.0]]
    frames = places([0, 1, 2, 3, 4], space=[0, 0, 1, 0, 0], position_m=position)
    assert near_in_space(frames, 5.0).tolist() == [[0, 1]]
    assert near_in_space(places([]), 5.0).tolist() == []


@given(st.integers(0, 2**32 - 1), st.floats(0.5, 20.0))
def test_no_near_pair_is_missed_and_no_far_one_is_joined(seed, distance_m):
    rng = np.random.default_rng(seed)
    position = rng.uniform(-30, 30, (12, 2))
    frames = places(np.arange(12), position_m=position)
    found = {tuple(sorted(pair)) for pair in near_in_space(frames, distance_m).tolist()}
    apart = np.linalg.norm(position[:, None] - position[None], axis=-1)
    for first in range(12):
        for second in range(first + 1, 12):
            if apart[first, second] <= distance_m:
                assert (
                    connect(12, np.array([*found]).reshape(-1, 2))[first]
                    == (connect(12, np.array([*found]).reshape(-1, 2))[second])
                )
    assert all(apart[pair] <= 2.83 * distance_m for pair in found)


def test_near_duplicates_by_embedding_belong_together():
    vectors = np.array([[0.0, 0.0], [0.01, 0.0], [1.0, 1.0], [np.nan, np.nan]])
    assert look_alike(vectors, np.arange(4), 0.05).tolist() == [[0, 1]]


def test_numbers_tell_values_apart():
    assert number_values(["a", "", "b", None, "a"]).tolist() == [0, -1, 1, -1, 0]


def divide(groups, fixed, content, shares=(0.5, 0.5)):
    names = [f"scene-{index}" for index in range(len(groups))]
    return divide_units(
        np.array(groups), np.array(fixed), np.array(content, np.float64), shares, names
    )


def test_groups_stay_whole_and_the_mix_is_even():
    content = [[10, 4], [10, 4], [10, 0], [10, 0]]
    found = divide([0, 1, 2, 3], [FREE] * 4, content)
    assert sorted(found.split[:2]) == [0, 1]
    assert sorted(found.split[2:]) == [0, 1]
    joined = divide([0, 0, 2, 3], [FREE] * 4, content)
    assert joined.split[0] == joined.split[1] != joined.split[2]


def test_what_is_fixed_stays_and_takes_its_group_along():
    found = divide([0, 0, 2, 3], [1, FREE, FREE, FREE], [[1.0]] * 4)
    assert found.split.tolist()[:2] == [1, 1]
    assert set(found.split[2:]) == {0}


def test_a_unit_between_two_splits_goes_into_none():
    found = divide([0, 0, 0, 3], [0, 1, FREE, FREE], [[1.0]] * 4)
    assert found.split.tolist()[:3] == [0, 1, FREE]
    assert found.torn.tolist() == [2]


@given(st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_adding_units_moves_none_and_the_order_of_rows_does_not_matter(count, seed):
    rng = np.random.default_rng(seed)
    content = rng.integers(0, 9, (count, 3)).astype(float)
    names = [f"scene-{index}" for index in range(count)]
    shares = (0.6, 0.2, 0.2)
    free = np.full(count, FREE)
    split = divide_units(np.arange(count), free, content, shares, names).split
    order = rng.permutation(count)
    shuffled = divide_units(
        np.arange(count), free, content[order], shares, [names[i] for i in order]
    ).split
    assert shuffled.tolist() == split[order].tolist()
    half = count // 2
    fixed = np.where(np.arange(count) < half, split, FREE)
    again = divide_units(np.arange(count), fixed, content, shares, names).split
    assert again[:half].tolist() == split[:half].tolist()


def test_shares_come_out_near_what_was_asked_for():
    rng = np.random.default_rng(0)
    content = np.column_stack([np.full(300, 20.0), rng.poisson(5, 300), rng.random(300) < 0.1])
    names = [f"scene-{index}" for index in range(300)]
    split = divide_units(
        np.arange(300), np.full(300, FREE), content, (0.7, 0.15, 0.15), names
    ).split
    held = np.stack([content[split == number].sum(axis=0) for number in range(3)])
    assert held / held.sum(axis=0) == pytest.approx(
        np.repeat([[0.7], [0.15], [0.15]], 3, axis=1), abs=0.02
    )


def test_unlabelled_frames_beside_another_split_than_the_first_are_told():
    groups, split = np.array([0, 0, 2, 3]), np.array([0, 0, 1, FREE])
    assert move_unlabelled(split, np.array([0, 1, 2, 3]), groups).tolist() == [
        False,
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"train": 0.0, "val": 1.0}, "positive"),
        ({"": 0.5, "val": 0.5}, "named splits"),
        ({"pool": 0.5, "train": 0.5}, "'pool' cannot be one"),
        ({"train": 0.8}, "at least 2 items"),
    ],
)
def test_wrong_shares_are_refused(shares, message):
    with pytest.raises(ConfigError, match=message):
        SplitRule.parse({"shares": shares})
