from collections import defaultdict

import numpy as np
import pyarrow.feather as feather
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from admlops.curation.gains import Novelty
from admlops.curation.moments import SHARED_WITHIN_M, SHARED_WITHIN_S, Moments, shared_objects
from admlops.formats.kitti.oxts import parse_oxts, poses_from_oxts
from admlops.geometry.pose import make_transform
from admlops.structures.frame import FrameKey


def moments(*rows):
    """Moments of (scene, time in s, x, y)."""
    keys = [FrameKey("log", scene, round(time * 1e9)) for scene, time, _, _ in rows]
    poses = [make_transform(np.eye(3), [x, y, 5.0]) for _, _, x, y in rows]
    return Moments.of(keys, np.array(poses).reshape(-1, 4, 4))


def test_objects_are_shared_less_with_way_and_time():
    here = moments(("a", 0.0, 10.0, 0.0))
    others = moments(
        ("a", 0.0, 10.0, 0.0),
        ("a", 0.0, 10.0 + 0.6 * SHARED_WITHIN_M, 0.8 * SHARED_WITHIN_M),
        ("a", -SHARED_WITHIN_S, 10.0, 0.0),
        ("a", 2.0 * SHARED_WITHIN_S, 10.0 - SHARED_WITHIN_M, 0.0),
    )
    assert shared_objects(here, others)[0] == pytest.approx(np.exp([0.0, -1.0, -1.0, -3.0]))


def test_other_scenes_and_scenes_without_poses_share_nothing():
    known = moments(("a", 0.0, 10.0, 0.0), ("b", 0.0, 10.0, 0.0))
    assert shared_objects(known, known).tolist() == np.eye(2).tolist()
    rows = [("log", "b", 0), ("log", "b", 1), ("else", "a", 0)]
    poses = np.stack([np.eye(4)] * 3)
    unknown = Moments.of([FrameKey(*row) for row in rows], poses)
    assert unknown.scene.tolist() == [0, 0, 1]
    assert not unknown.has_pose.any()
    assert shared_objects(unknown, unknown).tolist() == np.zeros((3, 3)).tolist()


def test_a_scene_whose_first_pose_is_the_origin_has_poses():
    both = moments(("a", 0.0, 0.0, 0.0), ("a", 1.0, 8.0, 0.0))
    poses = both.global_from_ego.copy()
    poses[0] = np.eye(4)
    keys = [FrameKey("log", "a", 0), FrameKey("log", "a", 1_000_000_000)]
    assert Moments.of(keys, poses).has_pose.all()


def test_novelty_falls_with_labels_and_picks_and_never_rises():
    pool = moments(("a", 0.0, 9.0, 0.0), ("a", 1.0, 18.0, 0.0), ("b", 0.0, 9.0, 0.0))
    novelty = Novelty(pool, moments(("a", 0.0, 9.0 + SHARED_WITHIN_M, 0.0)))
    before = novelty.values()
    expected = [1 - np.exp(-1.0), 1 - np.exp(-21 / SHARED_WITHIN_M - 1 / SHARED_WITHIN_S), 1.0]
    assert before == pytest.approx(expected)
    novelty.take(0)
    near = 1 - np.exp(-9 / SHARED_WITHIN_M - 1 / SHARED_WITHIN_S)
    assert novelty.values() == pytest.approx([0.0, near, 1.0])
    novelty.take(2)
    assert novelty.values() == pytest.approx([0.0, near, 0.0])


def test_many_labelled_frames_of_a_scene_are_all_heeded():
    pool = moments(*(("a", 0.0, 1000.0 * number, 0.0) for number in range(700)))
    novelty = Novelty(pool, pool.select(np.arange(10, 690)))
    assert (novelty.values()[10:690] == 0.0).all()
    assert (novelty.values()[[0, 699]] > 0.99).all()


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 60), st.floats(-90, 90)), min_size=1))
def test_shares_are_symmetric_and_between_none_and_all(rows):
    some = moments(*((scene, time, x, 1.0) for scene, time, x in rows))
    shares = shared_objects(some, some)
    assert shares == pytest.approx(shares.T)
    assert (shares >= 0).all()
    assert np.diag(shares) == pytest.approx(1.0)
    assert shares.max() <= 1.0


def kitti_drive(real_data):
    """Return time in s, place and tracks of every half second of KITTI tracking 0001."""
    folder = real_data / "kitti_tracking" / "training"
    poses = poses_from_oxts(parse_oxts((folder / "oxts" / "0001.txt").read_bytes()))
    seen = defaultdict(set)
    for line in (folder / "label_02" / "0001.txt").read_text().splitlines():
        frame, track, *_ = line.split()
        if int(track) >= 0:
            seen[int(frame)].add(track)
    return [(0.1 * row, poses[row, :2, 3], seen[row]) for row in range(0, len(poses), 5)]


def argoverse_drive(real_data, reach_m):
    """Return the same of the log of Argoverse 2, of objects with points within reach."""
    (folder,) = (real_data / "argoverse2" / "val").iterdir()
    seen = defaultdict(set)
    for row in feather.read_table(folder / "annotations.feather").to_pylist():
        if row["num_interior_pts"] > 0 and np.hypot(row["tx_m"], row["ty_m"]) < reach_m:
            seen[row["timestamp_ns"]].add(row["track_uuid"])
    poses = feather.read_table(folder / "city_SE3_egovehicle.feather").to_pylist()
    places = {row["timestamp_ns"]: np.array([row["tx_m"], row["ty_m"]]) for row in poses}
    return [(time / 1e9, places[time], seen[time]) for time in sorted(seen)[::5]]


def fit_shares(drive):
    """Return way, time and error of exp(-way/a - time/b) for the shares of tracks of all pairs."""
    rows = np.array(
        [
            (
                later - time,
                np.linalg.norm(there - here),
                len(before & after) / len(after),
                len(after),
            )
            for number, (time, here, before) in enumerate(drive)
            for later, there, after in drive[number + 1 :]
            if after
        ]
    )
    time_s, way_m, share, weight = rows.T

    def squared(scales):
        lost = np.exp(-way_m / abs(scales[0]) - time_s / abs(scales[1])) - share
        return np.average(lost**2, weights=weight)

    found = minimize(squared, [20.0, 10.0], method="Nelder-Mead")
    error = np.sqrt(squared([SHARED_WITHIN_M, SHARED_WITHIN_S]))
    return *np.abs(found.x), np.sqrt(found.fun), error


@pytest.mark.parametrize(
    ("drive", "wanted"),
    [
        (kitti_drive, (28.9, 6.4, 0.098)),
        (lambda folder: argoverse_drive(folder, 40.0), (27.2, 32.6, 0.100)),
        (lambda folder: argoverse_drive(folder, 80.0), (74.5, 19.1, 0.054)),
    ],
    ids=["kitti", "argoverse 40 m", "argoverse 80 m"],
)
def test_real_drives_share_objects_as_is_stated(real_data, drive, wanted):
    way_m, time_s, error, own_error = fit_shares(drive(real_data))
    assert (way_m, time_s) == pytest.approx(wanted[:2], rel=0.02)
    assert error == pytest.approx(wanted[2], abs=2e-3)
    if way_m < 40:  # our constants are for objects within 40 m
        assert own_error < 0.15
