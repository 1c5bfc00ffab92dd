"""Frames in little memory: groups, tag sets and a digest that does not depend on the order."""

import numpy as np
import pytest

from admlops.evaluation.frame_set import MAX_GROUPS, FrameSet, draw_groups
from admlops.structures.frame import FrameKey


def frames_named(names: list[str], chunk: int = 7) -> tuple[FrameSet, np.ndarray]:
    frames = FrameSet()
    hashes = [
        frames.add(names[start : start + chunk], [()] * len(names[start : start + chunk]))[0]
        for start in range(0, len(names), chunk)
    ]
    return frames, np.concatenate(hashes)


def test_few_frames_are_a_group_each_whatever_their_order() -> None:
    names = [f"{number:06d}" for number in range(50)]
    forward, hashes = frames_named(names)
    backward, _ = frames_named(names[::-1], chunk=3)
    assert sorted(forward.group_of(hashes)) == list(range(50))
    assert forward.group_of(hashes).tolist() == backward.group_of(hashes).tolist()
    assert forward.digest == backward.digest
    assert forward.digest != frames_named(names[:-1])[0].digest


def test_many_frames_share_groups_with_the_spread_of_frames() -> None:
    num_frames = 8 * MAX_GROUPS
    frames, hashes = frames_named([str(number) for number in range(num_frames)], chunk=4096)
    assert frames.num_groups == MAX_GROUPS
    group = frames.group_of(hashes)
    sizes = np.bincount(group, minlength=MAX_GROUPS)
    assert sizes.mean() == 8
    assert sizes.std() == pytest.approx(np.sqrt(8), rel=0.1)
    hits = np.random.default_rng(0).random(num_frames) < 0.5
    weights = draw_groups(MAX_GROUPS, 300, 0).astype(float)
    means = (weights @ np.bincount(group, hits)) / (weights @ sizes)
    assert means.std() == pytest.approx(0.5 / np.sqrt(num_frames), rel=0.2)


def test_tag_sets_are_kept_once() -> None:
    frames = FrameSet()
    _, rows = frames.add([FrameKey("log", "scene", 1), "b"], [("rain",), ("night", "rain")])
    _, more = frames.add(["c"], [("rain",)])
    assert frames.tag_sets == [("rain",), ("night", "rain")]
    assert [*rows.tolist(), *more.tolist()] == [0, 1, 0]
