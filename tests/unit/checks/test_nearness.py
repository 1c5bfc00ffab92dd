"""Near frames of different splits, against the same question asked of every pair."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from admlops.checks.findings import FindingLog
from admlops.checks.nearness import near_across_splits
from admlops.checks.splits import SplitCheck
from admlops.structures.frame import Frame, FrameKey

SECOND = 1_000_000_000


def find(position, space, split, reach=1.0):
    def are_near(one, other):
        return np.linalg.norm(position[one] - position[other], axis=-1) <= reach

    cell = np.floor(position / reach).astype(np.int64)
    return list(near_across_splits(space, cell, split, are_near)), are_near


@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(0, 40), st.floats(0.5, 3.0))
def test_every_two_splits_that_are_near_are_found_and_no_others(seed, dims, count, reach):
    rng = np.random.default_rng(seed)
    position = rng.uniform(-4, 4, (count, dims))
    space, split = rng.integers(0, 2, count), rng.integers(0, 3, count)
    found, are_near = find(position, space, split, reach)
    rows = np.arange(count)
    leaks = are_near(rows[:, None], rows[None]) & (space[:, None] == space[None])
    leaks &= split[:, None] != split[None]
    assert all(leaks[pair] for pair in found)

    def name(one, other):
        return (int(space[one]), *sorted((int(split[one]), int(split[other]))))

    assert {name(*pair) for pair in found} == {name(*pair) for pair in np.argwhere(leaks)}


def test_many_frames_of_one_place_are_looked_at_in_parts():
    position = np.zeros((3000, 2))
    split = (np.arange(3000) >= 2990).astype(np.int64)
    found, _ = find(position, np.zeros(3000, np.int64), split)
    assert found == [(0, 2990)]


def make_frame(scene, split, x_m, y_m, time_s):
    pose = np.eye(4)
    pose[:2, 3] = x_m, y_m
    return Frame(FrameKey("log", scene, round(time_s * SECOND)), "", pose, split=split)


def check(frames):
    check = SplitCheck(FindingLog())
    for frame in frames:
        check.look(frame, "")
    check.finish()
    return check.log


def test_neighbours_are_found_across_cells_and_behind_frames_of_their_own_split():
    near = [
        make_frame("a", "train", 100.0, 100.49, 9.9),
        make_frame("b", "val", 100.2, 100.51, 10.1),
        make_frame("a", "train", 100.1, 100.0, 9.0),
    ]
    log = check(near)
    assert log.counts == {"SPLIT003": 1}
    assert "log/a and log/b: poses 0.20 m apart are in train and val" in str(log.kept[0])
    turned = near[1].global_from_ego.copy()
    turned[:2, :2] = [[0, -1], [1, 0]]
    assert check([near[0], Frame(near[1].key, "", turned, split="val")]).counts == {}
    assert check([near[0], make_frame("b", "val", 100.2, 100.51, 20.1)]).counts == {}
    assert check([near[0], make_frame("b", "val", 101.2, 100.51, 10.1)]).counts == {}
