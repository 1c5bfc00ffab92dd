"""Coding, targets and decoding are inverse to each other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admlops.detection.anchors import anchor_shapes, anchors_at
from admlops.detection.box_coding import (
    apply_direction,
    decode_residuals,
    direction_bin,
    encode_residuals,
)
from admlops.detection.decode import decode
from admlops.detection.presets import centerpoint_kitti, pointpillars_kitti, small_detector
from admlops.detection.targets import category_indices, make_targets
from admlops.errors import DataError
from admlops.geometry.boxes import iou_bev
from admlops.structures.boxes import Boxes

PRESETS = [
    pointpillars_kitti(),
    centerpoint_kitti(),
    small_detector("centerpoint"),
    small_detector("pointpillars"),
]
SIZES = {"car": (4.2, 1.7, 1.5), "pedestrian": (0.7, 0.7, 1.7), "cyclist": (1.8, 0.6, 1.7)}

rows_7 = st.tuples(
    *(st.floats(-40, 40) for _ in range(3)),
    *(st.floats(0.3, 12) for _ in range(3)),
    st.floats(-3.14, 3.14),
)


def outputs_of(targets, config):
    """Return the outputs of a network that has learnt these targets perfectly."""
    rows, columns = config.output_shape
    num_categories = len(config.categories)
    if config.kind == "centerpoint":
        heatmap = np.full((1, num_categories, rows * columns), -20, dtype=np.float32)
        heatmap[0, targets.category, targets.place] = 5.0
        regression = np.zeros((1, 8, rows * columns), dtype=np.float32)
        regression[0, :, targets.place] = targets.regression
        planes = {"heatmap_logits": heatmap, "center_regression": regression}
    else:
        kinds = len(anchor_shapes(config))
        kind, cell = np.divmod(targets.place, rows * columns)
        logits = np.full((1, kinds, num_categories, rows * columns), -20, dtype=np.float32)
        logits[0, kind, targets.category, cell] = 5.0
        residuals = np.zeros((1, kinds, 7, rows * columns), dtype=np.float32)
        residuals[0, kind, :, cell] = targets.regression
        directions = np.zeros((1, kinds, 2, rows * columns), dtype=np.float32)
        directions[0, kind, targets.direction, cell] = 1.0
        planes = {
            "class_logits": logits,
            "box_residuals": residuals,
            "direction_logits": directions,
        }
    return {name: plane.reshape(1, -1, rows, columns) for name, plane in planes.items()}


def scattered_boxes(config, seed):
    """Return boxes on a coarse lattice, so that none overlap, under any yaw."""
    generator = np.random.default_rng(seed)
    low, high = config.range_low_m[:2] + 4, config.range_high_m[:2] - 4
    x, y = (np.arange(a, b, 7.0) for a, b in zip(low, high, strict=True))
    centers = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    centers = generator.permutation(centers)[:20] + generator.uniform(-1, 1, (20, 2))
    names = generator.choice(config.categories, 20)
    size = np.array([SIZES[name] for name in names]) * generator.uniform(0.9, 1.1, (20, 3))
    center = np.column_stack([centers, size[:, 2] / 2 + generator.uniform(-0.2, 0.2, 20)])
    return Boxes.make(center, size, generator.uniform(-np.pi, np.pi, 20), names)


@settings(max_examples=200, deadline=None)
@given(rows_7, rows_7)
def test_residuals_round_trip(box, anchor):
    box_7, anchor_7 = np.array([box]), np.array([anchor])
    code = encode_residuals(box_7, anchor_7)
    back = decode_residuals(code, anchor_7)
    np.testing.assert_allclose(back[:, :6], box_7[:, :6], atol=1e-9)
    assert np.cos(back[0, 6] - box_7[0, 6]) == pytest.approx(1, abs=1e-12)


def test_residuals_by_hand():
    anchor = np.array([[10.0, 5.0, 1.0, 4.0, 3.0, 2.0, 0.0]])
    box = np.array([[15.0, 0.0, 2.0, 4.0 * np.e, 3.0, 2.0, 0.5]])
    np.testing.assert_allclose(encode_residuals(box, anchor), [[1, -1, 0.5, 1, 0, 0, 0.5]])


@settings(max_examples=200, deadline=None)
@given(st.floats(-3.14, 3.14), st.floats(-3, 3), st.booleans())
def test_the_direction_bin_tells_front_from_back(yaw, offset, turned):
    confused = np.array([yaw + np.pi * turned])
    bins = direction_bin(np.array([yaw]), offset)
    gap = np.cos(apply_direction(confused, bins, offset)[0] - yaw)
    edge = abs(np.sin(yaw - offset)) < 1e-9
    assert edge or gap == pytest.approx(1, abs=1e-9)


def test_anchor_numbers_are_places_in_the_planes():
    config = pointpillars_kitti()
    rows, columns = config.output_shape
    number = (2 * 2 + 1) * rows * columns + 3 * columns + 7  # a car, across, row 3, column 7
    expected = [0 + 7.5 * 0.32, -39.68 + 3.5 * 0.32, 0.73, 3.9, 1.6, 1.56, np.pi / 2]
    np.testing.assert_allclose(anchors_at(np.array([number]), config), [expected])
    assert len(anchor_shapes(config)) * rows * columns == 321_408


@pytest.mark.parametrize("config", PRESETS, ids=lambda c: f"{c.kind}-{c.voxel_size_m[0]}")
@pytest.mark.parametrize("seed", range(5))
def test_decoding_perfect_targets_gives_the_labels(config, seed):
    boxes = scattered_boxes(config, seed)
    targets = make_targets(boxes.as_7(), category_indices(boxes, config.categories), config)
    found = decode(outputs_of(targets, config), config)
    assert len(found) == len(boxes)
    overlap = iou_bev(boxes.as_7(), found.as_7())
    match = overlap.argmax(axis=1)
    assert sorted(match.tolist()) == list(range(len(boxes)))
    np.testing.assert_allclose(found.center_m[match], boxes.center_m, atol=1e-4)
    np.testing.assert_allclose(found.size_m[match], boxes.size_m, atol=1e-4)
    np.testing.assert_allclose(np.cos(found.yaw_rad[match] - boxes.yaw_rad), 1, atol=1e-6)
    assert (found.category[match] == boxes.category).all()


@pytest.mark.parametrize("config", PRESETS, ids=lambda c: f"{c.kind}-{c.voxel_size_m[0]}")
def test_frames_without_boxes_have_empty_targets(config):
    targets = make_targets(np.empty((0, 7)), np.empty(0, dtype=np.int64), config)
    assert len(targets.place) == 0
    assert len(decode(outputs_of(targets, config), config)) == 0


def test_a_box_that_reaches_no_anchor_is_left_out_and_a_poor_match_is_taken():
    config = pointpillars_kitti()
    car = config.categories.index("car")
    stretched = np.array([[20.0, 0.0, 0.7, 7.0, 1.7, 1.5, 0.0]])  # IoU 0.52: below 0.6, above 0.45
    targets = make_targets(stretched, np.array([car]), config)
    assert len(targets.place) >= 1
    huge = np.array([[20.0, 0.0, 0.7, 18.0, 4.0, 4.0, 0.0]])
    targets = make_targets(huge, np.array([car]), config)
    assert len(targets.place) == 0


def test_scores_come_sorted_and_overlapping_boxes_are_suppressed():
    config = small_detector("centerpoint")
    rows, columns = config.output_shape
    heatmap = np.full((1, 3, rows, columns), -20, dtype=np.float32)
    heatmap[0, 0, 10, 10], heatmap[0, 0, 10, 12], heatmap[0, 0, 60, 60] = 1.0, 3.0, 2.0
    regression = np.zeros((1, 8, rows, columns), dtype=np.float32)
    regression[0, 3:6] = np.log([4.0, 1.8, 1.5])[:, None, None]
    regression[0, 7] = 1.0
    found = decode({"heatmap_logits": heatmap, "center_regression": regression}, config)
    np.testing.assert_allclose(found.score, 1 / (1 + np.exp([-3.0, -2.0])))


def test_outputs_that_are_not_finite_give_no_boxes():
    config = small_detector("centerpoint")
    planes = {
        "heatmap_logits": np.full((1, 3, *config.output_shape), np.nan, dtype=np.float32),
        "center_regression": np.zeros((1, 8, *config.output_shape), dtype=np.float32),
    }
    assert len(decode(planes, config)) == 0
    planes["heatmap_logits"][:] = 5.0
    planes["center_regression"][:] = np.nan
    assert len(decode(planes, config)) == 0


def test_a_missing_or_misshapen_output_is_named():
    config = small_detector("centerpoint")
    with pytest.raises(DataError, match="'heatmap_logits' is missing"):
        decode({}, config)
    with pytest.raises(DataError, match="has shape"):
        decode({"heatmap_logits": np.zeros((1, 3, 2, 2), dtype=np.float32)}, config)
