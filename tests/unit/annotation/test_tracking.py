import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from admlops.annotation.assignment import assign
from admlops.annotation.association import CategoryTracking
from admlops.annotation.fusion import FusedBoxes, FusionConfig, fuse_boxes
from admlops.annotation.motion import MotionConfig, smooth, start, update
from admlops.annotation.motion import predict as predict_state
from admlops.annotation.tracking import SceneDetections, TrackingConfig, track_scene
from admlops.geometry.pose import make_transform, rotation_about_z
from admlops.simulation.config import LidarConfig, SceneGroup, WorldConfig
from admlops.simulation.world import simulate
from admlops.structures.boxes import Boxes
from admlops.structures.frame import FrameKey

STEP_NS = 100_000_000


def scene_of(frames, poses=None, step_ns=STEP_NS):
    """Each frame is rows of x, y, yaw, score in the ego frame, all cars."""
    fused = []
    for rows in frames:
        values = np.array(rows, dtype=float).reshape(-1, 4)
        count = len(values)
        center = np.column_stack([values[:, :2], np.full(count, 0.75)])
        size = np.tile([4.0, 2.0, 1.5], (count, 1))
        boxes = Boxes.make(center, size, values[:, 2], ["car"] * count, score=values[:, 3])
        fused.append(FusedBoxes(boxes, np.ones(count), np.zeros(count, bool)))
    keys = [FrameKey("log", "scene", index * step_ns) for index in range(len(frames))]
    poses = np.tile(np.eye(4), (len(frames), 1, 1)) if poses is None else poses
    return SceneDetections(keys, poses, fused)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 8), st.integers(0, 8), st.integers(0, 2**20))
def test_assignments_cost_what_scipys_do(num_rows, num_columns, seed):
    cost = np.random.default_rng(seed).normal(size=(num_rows, num_columns)).round(1)
    rows, columns = assign(cost)
    known = linear_sum_assignment(cost)
    assert len(rows) == min(num_rows, num_columns) == len(set(columns.tolist()))
    assert cost[rows, columns].sum() == pytest.approx(cost[known].sum())


def test_pairs_that_cannot_be_stay_apart_and_two_pairs_are_better_than_the_cheapest_one():
    # the cheapest pair, 0 with 0, would leave row 1 without a column
    cost = np.array([[1.0, 50.0], [2.0, np.inf], [np.inf, np.inf]])
    rows, columns = assign(cost)
    assert {*zip(rows.tolist(), columns.tolist(), strict=True)} == {(0, 1), (1, 0)}
    assert len(assign(np.full((2, 3), np.inf))[0]) == 0


def test_one_step_of_the_filter_by_hand():
    # position variance 1, velocity variance 4, one second, no acceleration:
    # predicted variance 1 + 4 = 5, of both 4; measured with variance 5, the gain is one half
    ones = np.ones(4)
    mean, covariance = start(np.zeros(4), ones, 4 * ones)
    predict_state(mean, covariance, 1.0, 0 * ones)
    assert covariance[0].tolist() == [5, 4, 4]
    update(mean, covariance, np.array([2.0, 0, 0, 0]), 5 * ones)
    assert mean[0] == pytest.approx([1.0, 0.8])
    assert covariance[0] == pytest.approx([2.5, 2.0, 4 - 0.4 * 4])


def test_acceleration_widens_what_is_expected():
    # a quarter, a half and all of 2^2 after one second
    zeros = np.zeros(4)
    mean, covariance = start(zeros, zeros, zeros)
    predict_state(mean, covariance, 1.0, np.full(4, 4.0))
    assert covariance[0].tolist() == [1, 2, 4]


def test_the_smoother_is_the_line_of_least_squares_where_nothing_accelerates():
    random = np.random.default_rng(3)
    times_s = np.array([0.0, 0.1, 0.3, 0.4, 0.9])
    measured = np.column_stack([random.normal(size=(5, 2)) + times_s[:, None], np.zeros((5, 2))])
    config = MotionConfig(noise_m=0.2, speed_mps=1e4, acceleration_mps2=1e-6, turn_radps2=1e-6)
    states = smooth(times_s, measured, np.ones(5, bool), config.variances())
    for axis in range(2):
        slope, base = np.polyfit(times_s, measured[:, axis], 1)
        assert states[:, axis, 0] == pytest.approx(base + slope * times_s, abs=1e-4)
        assert states[:, axis, 1] == pytest.approx(np.full(5, slope), abs=1e-3)


def test_a_missed_frame_is_filled_on_the_way():
    rows = [[[10 + index, 0, 0, 0.8]] for index in range(7)]
    rows[3] = []
    tracked = track_scene(scene_of(rows), TrackingConfig())
    filled = tracked[3]
    assert filled.is_interpolated.tolist() == [True]
    assert filled.boxes.center_m[0] == pytest.approx([13, 0, 0.75], abs=0.05)
    assert filled.boxes.velocity_mps[0] == pytest.approx([10, 0], abs=0.5)
    assert filled.boxes.score == pytest.approx([0.4])
    assert filled.num_hits.tolist() == [6]
    assert {str(f.boxes.track_id[0]) for f in tracked} == {"scene-car-0"}


def test_an_object_that_is_lost_for_long_is_another_when_it_comes_back():
    rows = [[[10, 0, 0, 0.8]]] * 3 + [[]] * 8 + [[[10, 0, 0, 0.8]]] * 3
    config = TrackingConfig(categories={"": CategoryTracking(max_gap_s=0.5)})
    tracked = track_scene(scene_of(rows), config)
    assert [len(frame.boxes) for frame in tracked] == [1] * 3 + [0] * 8 + [1] * 3
    assert tracked[0].boxes.track_id[0] != tracked[-1].boxes.track_id[0]


def test_weak_detections_continue_tracks_and_found_none():
    weak = [[10, 0, 0, 0.15], [30, 8, 0, 0.15]]
    tracked = track_scene(scene_of([[[10, 0, 0, 0.8]], weak, [[10, 0, 0, 0.8]]]), TrackingConfig())
    assert [len(frame.boxes) for frame in tracked] == [1, 1, 1]
    assert not tracked[1].is_interpolated.any()
    # own score 0.15, its track's mean (0.8 + 0.15 + 0.8) / 3
    assert tracked[1].boxes.score == pytest.approx([(0.15 + 1.75 / 3) / 2])


def test_a_single_detection_stays_without_a_track():
    tracked = track_scene(scene_of([[], [[10, 0, 0.3, 0.8]], []]), TrackingConfig())
    assert [len(frame.boxes) for frame in tracked] == [0, 1, 0]
    assert tracked[1].boxes.track_id[0] == ""
    assert tracked[1].boxes.as_7()[0] == pytest.approx([10, 0, 0.75, 4, 2, 1.5, 0.3])


def test_names_in_a_row_of_parked_cars_stay_where_they_are():
    # the first is missed in the second frame and a fourth appears: by distance all could move on
    first = [[x, 0, 0, 0.8] for x in (0, 6, 12)]
    second = [[x, 0, 0, 0.8] for x in (6, 12, 18)]
    scene = scene_of([first, second, second], step_ns=1_000_000_000)
    tracked = track_scene(scene, TrackingConfig())
    for frame in tracked[1:]:
        names = dict(zip(frame.boxes.center_m[:, 0].round(), frame.boxes.track_id, strict=True))
        assert (names[6], names[12]) == ("scene-car-1", "scene-car-2")


def test_a_missed_frame_ends_no_track_however_long_the_interval():
    rows = [[[10, 0, 0, 0.8]], [[10, 0, 0, 0.8]], [], [[10, 0, 0, 0.8]]]
    config = TrackingConfig(categories={"": CategoryTracking(max_gap_s=0.5)})
    tracked = track_scene(scene_of(rows, step_ns=1_000_000_000), config)
    assert [list(frame.boxes.track_id) for frame in tracked] == [["scene-car-0"]] * 4
    assert tracked[2].is_interpolated.all()


def test_two_that_pass_each_other_keep_their_names():
    rows = [[[index, 0, 0, 0.8], [10 - index, 2.5, 3.1, 0.8]] for index in range(11)]
    tracked = track_scene(scene_of(rows), TrackingConfig())
    for frame in tracked:
        names = dict(zip(frame.boxes.track_id, frame.boxes.center_m[:, 1], strict=True))
        assert names["scene-car-0"] < 1 < names["scene-car-1"]


def test_a_standing_object_stands_while_the_vehicle_turns_and_drives():
    poses = np.stack(
        [make_transform(rotation_about_z(0.1 * i), [1.0 * i, 0.2 * i, 0]) for i in range(6)]
    )
    rows = []
    for pose in poses:
        x, y, _, _ = np.linalg.inv(pose) @ [20, 5, 0, 1]
        rows.append([[x, y, -np.arctan2(pose[1, 0], pose[0, 0]), 0.8]])
    tracked = track_scene(scene_of(rows, poses), TrackingConfig())
    for frame, row in zip(tracked, rows, strict=True):
        assert frame.boxes.center_m[0, :2] == pytest.approx(row[0][:2], abs=1e-6)
        assert frame.boxes.yaw_rad == pytest.approx([row[0][2]], abs=1e-6)
        assert frame.boxes.velocity_mps[0] == pytest.approx([0, 0], abs=1e-6)


def test_a_first_heading_that_is_backward_is_outvoted():
    rows = [[[10, 0, np.pi - 0.01, 0.8]]] + [[[10, 0, 0, 0.8]]] * 5
    tracked = track_scene(scene_of(rows), TrackingConfig())
    assert all(abs(frame.boxes.yaw_rad[0]) < 0.1 for frame in tracked)


def test_scenes_without_boxes_or_frames_are_tracked_too():
    assert [len(f.boxes) for f in track_scene(scene_of([[], []]), TrackingConfig())] == [0, 0]
    assert track_scene(scene_of([]), TrackingConfig()) == []


WORLD = WorldConfig(
    seed=4,
    train=SceneGroup(num_scenes=2, frames_per_scene=20),
    val=SceneGroup(num_scenes=0),
    pool=SceneGroup(num_scenes=0),
    keyframe_interval_s=0.2,
    images=False,
    lidar=LidarConfig(azimuth_step_deg=0.5),
)


def seen(truth, random):
    """Return what a detector shows of a frame: noise, a fifth missed, some backward."""
    shown = truth.select(random.random(len(truth)) > 0.2)
    count = len(shown)
    backward = random.random(count) < 0.1
    detected = Boxes.make(
        shown.center_m + random.normal(0, [0.2, 0.2, 0.05], (count, 3)),
        shown.size_m * random.normal(1, 0.05, (count, 3)),
        shown.yaw_rad + random.normal(0, 0.1, count) + np.pi * backward,
        shown.category,
        score=random.uniform(0.4, 0.9, count),
    )
    return fuse_boxes([detected], FusionConfig())


def count_matches(frames, shown):
    """Return labels, found labels, extra boxes, switches of identity, and the errors of centres."""
    known = {}
    num_labels = num_found = num_extra = num_switches = 0
    errors = []
    for frame, boxes in zip(frames, shown, strict=True):
        apart = np.linalg.norm(
            frame.boxes.center_m[:, None, :2] - boxes.center_m[None, :, :2], axis=-1
        )
        apart[frame.boxes.category[:, None] != boxes.category[None]] = np.inf
        apart[apart > 1.0] = np.inf
        rows, columns = assign(apart)
        num_labels += len(frame.boxes)
        num_found += len(rows)
        num_extra += len(boxes) - len(rows)
        errors += apart[rows, columns].tolist()
        for row, column in zip(rows, columns, strict=True):
            truth, name = frame.boxes.track_id[row], boxes.track_id[column]
            num_switches += known.get(truth, name) != name
            known[truth] = name
    return num_labels, num_found, num_extra, num_switches, np.array(errors)


def test_counts_of_matches_by_hand():
    class Labelled:
        def __init__(self, *tracks):
            zeros = np.zeros((len(tracks), 3))
            place = zeros + np.arange(len(tracks))[:, None] * [10, 0, 0]
            self.boxes = Boxes.make(
                place,
                zeros + 1,
                zeros[:, 0],
                ["car"] * len(tracks),
                track_id=np.array(tracks, object),
            )

    frames = [Labelled("a", "b"), Labelled("a", "b")]
    # b is missed at first; a changes its name; one box too many
    shown = [Labelled("1").boxes, Labelled("2", "3", "4").boxes]
    assert count_matches(frames, shown)[:4] == (4, 3, 1, 1)


def test_tracking_finds_more_and_more_exactly_than_detections_alone():
    frames = list(simulate(WORLD))
    random = np.random.default_rng(0)
    fused = [seen(frame.boxes, random) for frame in frames]
    tracked = []
    for first in (0, 20):
        part = slice(first, first + 20)
        poses = np.stack([frame.global_from_ego for frame in frames[part]])
        scene = SceneDetections([frame.key for frame in frames[part]], poses, fused[part])
        tracked += track_scene(scene, TrackingConfig())
    num_labels, alone, _, _, errors_alone = count_matches(frames, [f.boxes for f in fused])
    _, found, extra, switches, errors = count_matches(frames, [f.boxes for f in tracked])
    assert alone / num_labels < 0.85
    assert found / num_labels > 0.93
    accuracy = 1 - (num_labels - found + extra + switches) / num_labels
    assert accuracy > 0.85
    assert switches <= 0.02 * num_labels
    assert errors.mean() < 0.75 * errors_alone.mean()
