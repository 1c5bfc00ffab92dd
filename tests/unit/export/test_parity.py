import numpy as np
import pytest

from admlops.detection.config import CENTER_REGRESSION, HEATMAP_LOGITS
from admlops.detection.presets import small_detector
from admlops.export.parity import Ladder, Rung, match_rate
from admlops.structures.boxes import Boxes


def boxes(*x_m, category="car"):
    count = len(x_m)
    centers = np.column_stack([x_m, np.zeros(count), np.ones(count)]).reshape(-1, 3)
    return Boxes.make(
        centers, np.tile([4.0, 2.0, 1.5], (count, 1)), np.zeros(count), [category] * count
    )


def test_match_rate_counts_both_sides():
    assert match_rate([boxes(0, 10)], [boxes(0, 10)]) == 1.0
    assert match_rate([boxes(0, 10)], [boxes(0)]) == pytest.approx(2 / 3)
    assert match_rate([boxes(0)], [boxes(20)]) == 0.0
    assert match_rate([boxes(0)], [boxes(0, category="van")]) == 0.0


def test_nothing_found_on_both_sides_is_agreement():
    assert match_rate([Boxes.empty()], [Boxes.empty()]) == 1.0
    assert match_rate([], []) == 1.0
    assert match_rate([Boxes.empty()], [boxes(0)]) == 0.0


def make_network(offset):
    config = small_detector()
    rows, columns = config.output_shape
    heatmap = np.full((1, 3, rows, columns), -5.0, dtype=np.float32)
    heatmap[0, 0, 60, 20] = 3.0
    regression = np.zeros((1, 8, rows, columns), dtype=np.float32)

    def run(_):
        return {HEATMAP_LOGITS: heatmap + np.float32(offset), CENTER_REGRESSION: regression}

    return run


def test_ladder_measures_differences_boxes_and_times():
    config = small_detector()
    ladder = Ladder(config, Rung("torch", make_network(0.0)), (Rung("other", make_network(0.25)),))
    cloud = np.random.default_rng(0).uniform(0, 20, (100, 4)).astype(np.float32)
    ladder.warm_up(cloud)
    nothing = np.empty((0, 4), dtype=np.float32)
    torch_report, report = ladder.climb([cloud, cloud, nothing])
    assert report.outputs[HEATMAP_LOGITS].max_abs == 0.25
    assert report.outputs[HEATMAP_LOGITS].mean_abs == pytest.approx(0.25, rel=1e-4)
    assert report.outputs[CENTER_REGRESSION].max_abs == 0.0
    assert report.max_abs == 0.25
    assert report.match_rate == 1.0
    assert (torch_report.num_boxes, report.num_boxes) == (2, 2)
    latency = report.latency
    assert latency.keys() == {"voxelize", "network", "decode", "points_to_boxes"}
    assert 0 < latency["points_to_boxes"].p50_ms <= latency["points_to_boxes"].p99_ms
