"""Boxes written in any wrong convention: the points name it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admlops.checks.conventions import EVERY_CONVENTION, Convention, ConventionEvidence
from admlops.geometry.pose import make_transform
from admlops.structures.boxes import Boxes
from admlops.structures.frame import Frame

KITTI_CAMERA = make_transform([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], [0, 0, 1.65])


def write(convention: Convention, boxes: Boxes, frame: Frame) -> Boxes:
    """Return boxes as someone who follows another convention would write them."""
    center = boxes.center_m.copy()
    if convention.origin == "bottom":
        center[:, 2] -= boxes.size_m[:, 2] / 2
    if convention.axes == "y_right":
        center *= [1, -1, 1]
    elif convention.axes == "xy_swapped":
        center = center[:, [1, 0, 2]]
    elif convention.axes == "x_right_y_forward":
        center = np.column_stack([-center[:, 1], center[:, 0], center[:, 2]])
    elif convention.axes in ("lidar", "camera"):
        pose = frame.lidar.sensor.ego_from_sensor if convention.axes == "lidar" else KITTI_CAMERA
        center = (center - pose[:3, 3]) @ pose[:3, :3]
    yaw = {
        "ego": boxes.yaw_rad,
        "clockwise": -boxes.yaw_rad,
        "quarter_turn": boxes.yaw_rad - np.pi / 2,
        "clockwise_quarter_turn": -boxes.yaw_rad - np.pi / 2,
    }[convention.yaw]
    order = ["lwh".index(letter) for letter in convention.sizes]
    return boxes.replace(center_m=center, size_m=boxes.size_m[:, order], yaw_rad=yaw)


def collect(convention: Convention, frames: list[Frame]) -> ConventionEvidence:
    evidence = ConventionEvidence()
    for frame in frames:
        evidence.add(write(convention, frame.boxes, frame), frame.points_in_ego(), frame)
    return evidence


@pytest.mark.parametrize("convention", [c for c in EVERY_CONVENTION if c.num_changes <= 1], ids=str)
def test_each_single_change_is_named(convention: Convention, frames) -> None:
    evidence = collect(convention, frames[:2])
    assert evidence.verdict() == convention
    assert evidence.mean_fits()[convention] > 0.9


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(EVERY_CONVENTION), st.integers(7, 10_000))
def test_any_combination_is_named(street, convention: Convention, seed: int) -> None:
    assert collect(convention, [street(seed), street(seed + 1)]).verdict() == convention


def test_mend_undoes_write(frames) -> None:
    frame = frames[0]
    for convention in EVERY_CONVENTION:
        mended = convention.mend(write(convention, frame.boxes, frame), frame)
        np.testing.assert_allclose(mended.center_m, frame.boxes.center_m, atol=1e-9)
        np.testing.assert_allclose(mended.size_m, frame.boxes.size_m)
        np.testing.assert_allclose(np.cos(mended.yaw_rad - frame.boxes.yaw_rad), 1.0)


def test_without_evidence_boxes_stay_as_written() -> None:
    assert ConventionEvidence().verdict() == Convention()
    assert str(Convention()) == "as written"
