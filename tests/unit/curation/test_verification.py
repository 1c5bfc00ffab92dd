"""What the verifier finds, against the same question asked of every pair of frames."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from admlops.curation.grouping import FramePlaces, Reach, group_units
from admlops.curation.verification import find_leaks

SPLITS = np.array(["train", "val", "test", ""], dtype=object)
REACH = Reach(gap_ns=3, distance_m=1.0, descriptor=0.4)


def make_places(rng, count):
    unknown = rng.random((count, 1)) < 0.2
    return FramePlaces(
        unit=np.arange(count),
        log=rng.integers(0, 3, count),
        timestamp_ns=rng.integers(0, 60, count),
        space=rng.integers(0, 2, count),
        position_m=np.where(unknown, np.nan, rng.uniform(0, 8, (count, 2))),
        sensor=np.full(count, -1),
        location=rng.integers(-1, 12, count),
        look=rng.integers(-1, 12, count),
        descriptors=np.where(unknown[::-1], np.nan, rng.uniform(0, 3, (count, 2))),
    )


def every_pair(places):
    """Return by reason which of the (N, N) pairs of frames belong together."""

    def apart(values):
        return np.linalg.norm(values[:, None] - values[None], axis=-1)

    def same(values):
        return values[:, None] == values[None]

    gap = np.abs(places.timestamp_ns[:, None] - places.timestamp_ns[None])
    return {
        "near_in_time": same(places.log) & (gap <= REACH.gap_ns),
        "near_in_space": same(places.space) & (apart(places.position_m) <= REACH.distance_m),
        "same_location": same(places.location) & (places.location >= 0),
        "same_look": same(places.look) & (places.look >= 0),
        "look_alike": apart(places.descriptors) < REACH.descriptor,
    }


@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_a_leak_of_any_reason_is_found_where_there_is_one(seed, count):
    rng = np.random.default_rng(seed)
    places = make_places(rng, count)
    splits = SPLITS[rng.integers(0, 4, count)]
    named = splits != ""
    crossing = (splits[:, None] != splits[None]) & named[:, None] & named[None]
    found = find_leaks(places, splits.tolist(), REACH)
    for reason, belong in every_pair(places).items():
        assert all((belong & crossing)[pair] for pair in found[reason])
        assert bool(found[reason]) == bool((belong & crossing).any())


@given(st.integers(0, 2**32 - 1), st.integers(2, 30))
def test_groups_that_are_not_cut_never_leak(seed, count):
    rng = np.random.default_rng(seed)
    places = make_places(rng, count)
    groups, _ = group_units(places, REACH)
    splits = SPLITS[rng.integers(0, 3, count)][groups]
    assert not any(find_leaks(places, splits.tolist(), REACH).values())


def test_what_is_not_asked_for_is_not_looked_for():
    places = make_places(np.random.default_rng(0), 20)
    splits = ["train", "val"] * 10
    assert find_leaks(places, splits, Reach(0, 0.0, 0.0)).keys() == {
        "same_location",
        "same_look",
    }
