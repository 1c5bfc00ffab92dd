"""The doctor: clean data give no finding; each damage makes exactly its rule fire."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from admlops.checks.doctor import Diagnosis, Doctor
from admlops.detection.presets import centerpoint_kitti
from admlops.structures.boxes import Boxes
from admlops.structures.frame import CalibratedSensor, Frame, FrameKey, LidarSweep

Damage = Callable[[Frame], Frame]


def examine(frames: Sequence[Frame], detector=None) -> Diagnosis:
    doctor = Doctor(detector)
    for frame in frames:
        doctor.look_at_cloud(frame)
    for frame in frames:
        doctor.look_at_labels(frame, frame.sensor_digest())
    return doctor.diagnose()


def damage_first(frames: Sequence[Frame], damage: Damage) -> list[Frame]:
    return [damage(frames[0]), *frames[1:]]


def damage_all(frames: Sequence[Frame], damage: Damage) -> list[Frame]:
    return [damage(frame) for frame in frames]


def _set(frame: Frame, **columns) -> Frame:
    return replace(frame, boxes=frame.boxes.replace(**columns))


def _changed(values: np.ndarray, index, value) -> np.ndarray:
    copy = values.copy()
    copy[index] = value
    return copy


def _points(frame: Frame, change: Callable[[np.ndarray], np.ndarray]) -> Frame:
    points = change(frame.lidar.points.copy())
    return replace(frame, lidar=LidarSweep(frame.lidar.sensor, points.astype(np.float32)))


def _scale(points: np.ndarray, factor: float) -> np.ndarray:
    points[:, :3] *= factor
    return points


def _duplicate(frame: Frame) -> Frame:
    copy = frame.boxes.select([2])
    copy = copy.replace(center_m=copy.center_m + 0.02, num_points=None)
    return replace(frame, boxes=Boxes.concatenate([frame.boxes, copy]))


def test_clean_frames_give_no_finding(frames, detector) -> None:
    diagnosis = examine(frames, detector)
    assert diagnosis.counts == {}
    assert diagnosis.convention == "as written"
    assert diagnosis.figures["num_boxes"] == 54
    assert diagnosis.figures["points_in_box_fit"] > 0.9


def test_clean_frames_survive_a_centre_head(frames) -> None:
    assert examine(frames, centerpoint_kitti()).counts == {}


@pytest.mark.parametrize(
    ("rule_id", "damage"),
    [
        ("FRAME001", lambda f: _points(f, lambda p: p[:0])),
        ("FRAME001", lambda f: replace(f, lidar=None)),
        ("FRAME002", lambda f: _points(f, lambda p: _changed(p, (5, 1), np.nan))),
        ("FRAME003", lambda f: _points(f, lambda p: p * [1, 1, 1, 255])),
        ("FRAME003", lambda f: _points(f, lambda p: p / [1, 1, 1, 255])),
        ("FRAME004", lambda f: _points(f, lambda p: p * [1, 1, 1, 0])),
        ("BOX001", lambda f: _set(f, center_m=_changed(f.boxes.center_m, (1, 2), np.nan))),
        ("BOX002", lambda f: _set(f, size_m=_changed(f.boxes.size_m, (1, 0), -3.9))),
        (
            "BOX003",
            lambda f: _set(f, yaw_rad=_changed(f.boxes.yaw_rad, 1, f.boxes.yaw_rad[1] + 2 * np.pi)),
        ),
        ("BOX006", _duplicate),
        ("BOX009", lambda f: _set(f, box2d_px=_changed(f.boxes.box2d_px, 3, [5, 5, 5, 5]))),
        ("BOX010", lambda f: replace(f, boxes=_no_points(f.boxes))),
        ("BOX011", lambda f: _set(f, num_points=_changed(f.boxes.num_points, 1, 9_999))),
        ("LABEL004", lambda f: _set(f, category=_changed(f.boxes.category, 0, "Car"))),
    ],
)
def test_one_damaged_record_fires_exactly_its_rule(frames, rule_id: str, damage: Damage) -> None:
    diagnosis = examine(damage_first(frames, damage))
    assert list(diagnosis.counts) == [rule_id]
    assert diagnosis.counts[rule_id] == 1
    assert frames[0].key.scene in diagnosis.findings[0].where or rule_id in {"LABEL004", "BOX010"}


def _no_points(boxes: Boxes) -> Boxes:
    far = boxes.select([0]).replace(center_m=[[260.0, 30.0, 0.78]], num_points=[0])
    return Boxes.concatenate([boxes, far])


def test_few_points_are_noticed(frames) -> None:
    slim = damage_first(frames, lambda f: _points(f, lambda p: p[:500]))
    diagnosis = examine(slim)
    assert "FRAME007" in diagnosis.counts
    assert "500 points" in str(diagnosis.findings)


def test_a_box_of_impossible_size_is_named(frames) -> None:
    def stretch(frame: Frame) -> Frame:
        return _set(frame, size_m=_changed(frame.boxes.size_m, (0, 2), 6.0))

    diagnosis = examine(damage_first(frames, stretch))
    assert "BOX008" in diagnosis.counts
    assert "height is 6.00" in str(diagnosis.findings)


def test_a_box_under_the_ground_is_named(frames) -> None:
    def sink(frame: Frame) -> Frame:
        return _set(frame, center_m=_changed(frame.boxes.center_m, (0, 2), -1.0), num_points=None)

    diagnosis = examine(damage_first(frames, sink))
    assert list(diagnosis.counts) == ["BOX007"]
    assert "box 0 (car)" in diagnosis.findings[0].where


@pytest.mark.parametrize("factor", [1000.0, 100.0, 1 / 0.3048])
def test_units_of_points_and_of_boxes_are_named(frames, factor: float) -> None:
    unit = {1000: "millimetres", 100: "centimetres"}.get(round(factor), "feet")
    scaled = damage_all(frames, lambda f: _points(f, lambda p: _scale(p, factor)))
    diagnosis = examine(scaled)
    assert list(diagnosis.counts) == ["FRAME005"]
    assert f"points are in {unit}" in diagnosis.findings[0].what
    boxes = damage_all(
        frames,
        lambda f: _set(f, center_m=f.boxes.center_m * factor, size_m=f.boxes.size_m * factor),
    )
    diagnosis = examine(boxes)
    assert list(diagnosis.counts) == ["BOX005"]
    assert f"boxes are in {unit}" in diagnosis.findings[0].what


def test_degrees_are_named(frames, detector) -> None:
    turned = damage_all(frames, lambda f: _set(f, yaw_rad=np.rad2deg(f.boxes.yaw_rad)))
    diagnosis = examine(turned, detector)
    assert list(diagnosis.counts) == ["BOX003"]
    assert "degrees instead of radians" in diagnosis.findings[0].what


def test_a_wrong_sensor_height_is_noticed(frames) -> None:
    def lower(frame: Frame) -> Frame:
        sensor = CalibratedSensor("lidar_top", "lidar", np.eye(4))
        return replace(frame, lidar=LidarSweep(sensor, frame.lidar.points))

    diagnosis = examine([replace(lower(frame), boxes=None) for frame in frames])
    assert set(diagnosis.counts) == {"FRAME006", "LABEL001"}
    assert "z = -1.7" in next(f.what for f in diagnosis.findings if f.rule.rule_id == "FRAME006")


def test_no_labels_and_mostly_empty_labels(frames) -> None:
    assert list(examine([replace(f, boxes=None) for f in frames]).counts) == ["LABEL001"]
    empty = [replace(f, boxes=Boxes.empty()) for f in frames[1:]]
    assert "LABEL002" in examine([frames[0], *empty]).counts


def test_an_empty_dataset_says_so() -> None:
    assert set(examine([]).counts) == {"LABEL001", "SPLIT004"}


def test_wrong_names_come_with_suggestions(frames, detector) -> None:
    names = {"car": "vehicle", "pedestrian": "Pedestrian", "cyclist": "cyclists"}
    other = damage_all(
        frames, lambda f: _set(f, category=np.array([names[c] for c in f.boxes.category], object))
    )
    diagnosis = examine(other, detector)
    assert diagnosis.counts == {"MODEL001": 3}
    text = " ".join(finding.what for finding in diagnosis.findings)
    for name in names.values():
        assert f"did you mean '{name}'" in text


def test_a_category_without_any_match_lists_the_choices(frames, detector) -> None:
    trams = detector.replace(
        categories=("pedestrian", "cyclist", "tram"),
        head=detector.head.replace(
            anchors=[
                *[a.model_dump() for a in detector.head.anchors[:2]],
                detector.head.anchors[2].model_dump() | {"category": "tram"},
            ]
        ).model_dump(),
    )
    diagnosis = examine(frames, trams)
    assert diagnosis.counts == {"MODEL001": 1, "MODEL002": 1}
    assert "labels are called car, cyclist, pedestrian" in diagnosis.findings[0].what


def test_boxes_outside_the_range_name_share_and_axis(frames, detector) -> None:
    narrow = detector.replace(point_cloud_range_m=(0.0, -39.68, -5.27, 69.12, 39.68, -1.27))
    diagnosis = examine(frames, narrow)
    assert {"MODEL003", "MODEL008"} <= set(diagnosis.counts)
    what = diagnosis.findings[0].what
    assert "(100%)" in what
    assert "z outside [-5.27, -1.27] m: 18" in what


def test_a_few_boxes_outside_are_a_warning(frames, detector) -> None:
    short = detector.replace(point_cloud_range_m=(0.0, -39.68, -1.27, 48.64, 39.68, 2.73))
    diagnosis = examine(frames, short)
    assert set(diagnosis.counts) == {"MODEL010"}


def _with_anchor(detector, **changes):
    anchors = [anchor.model_dump() for anchor in detector.head.anchors]
    anchors[2] |= changes
    return detector.replace(head=detector.head.replace(anchors=anchors).model_dump())


def test_a_wrong_anchor_names_the_median(frames, detector) -> None:
    diagnosis = examine(frames, _with_anchor(detector, size_m=(1.6, 3.9, 1.56)))
    assert list(diagnosis.counts) == ["MODEL004"]
    assert "the median is 3.9" in diagnosis.findings[0].what


def test_a_floating_anchor_is_noticed(frames, detector) -> None:
    assert list(examine(frames, _with_anchor(detector, center_z_m=-0.6)).counts) == ["MODEL005"]


def test_coarse_voxels_and_lost_labels_are_noticed(frames, detector) -> None:
    coarse = detector.replace(voxel_size_m=(1.24, 1.24), point_cloud_range_m=_COARSE_RANGE)
    diagnosis = examine(frames, coarse)
    assert "MODEL006" in diagnosis.counts
    assert "pillars of 1.24 x 1.24 m" in str(diagnosis.findings)


_COARSE_RANGE = (0.0, -39.68, -1.27, 79.36, 39.68, 2.73)


def test_labels_lost_by_the_suppression_are_counted(frames, detector) -> None:
    def crowd(frame: Frame) -> Frame:
        beside = frame.boxes.replace(center_m=frame.boxes.center_m + np.array([0.4, 0.4, 0.0]))
        beside = beside.replace(num_points=None)
        return replace(frame, boxes=Boxes.concatenate([frame.boxes, beside]))

    diagnosis = examine(damage_all(frames, crowd), detector)
    assert "MODEL007" in diagnosis.counts


def test_too_few_pillars_are_noticed(frames, detector) -> None:
    assert list(examine(frames, detector.replace(max_pillars=500)).counts) == ["MODEL009"]


def _rename(frame: Frame, scene: str, split: str) -> Frame:
    key = FrameKey(frame.key.log, scene, frame.key.timestamp_ns)
    return replace(frame, key=key, split=split)


def test_a_scene_in_two_splits_is_a_leak(frames) -> None:
    mixed = [*frames[:-1], _rename(frames[-1], frames[0].key.scene, "val")]
    diagnosis = examine(mixed)
    assert diagnosis.counts == {"SPLIT001": 1}
    assert diagnosis.findings[0].where == "log/scene_1"


def test_copied_sensor_data_is_a_leak(frames) -> None:
    diagnosis = examine([*frames, _rename(frames[0], "copy", "val")])
    assert list(diagnosis.counts) == ["SPLIT002"]


def test_copied_labels_are_a_leak(frames) -> None:
    copy = _points(_rename(frames[0], "copy", "val"), lambda p: p[::-1])
    assert examine([*frames, copy]).counts == {"SPLIT003": 1}


def test_the_same_place_in_two_splits_is_a_leak(frames) -> None:
    pose = frames[0].global_from_ego.copy()
    pose[0, 3] += 0.5
    near = replace(frames[-1], global_from_ego=pose)
    diagnosis = examine([*frames[:-1], near])
    assert diagnosis.counts == {"SPLIT003": 1}
    assert "0.50 m apart" in diagnosis.findings[0].what


def test_missing_splits_and_categories_are_noticed(frames) -> None:
    assert examine([replace(f, split="train") for f in frames]).counts == {"SPLIT004": 1}
    without = [
        replace(f, boxes=f.boxes.select(f.boxes.category != "cyclist")) if f.split == "train" else f
        for f in frames
    ]
    assert examine(without).counts == {"SPLIT005": 1}


def test_findings_are_bounded_but_counted(frames) -> None:
    bad = _set(frames[0], size_m=-frames[0].boxes.size_m)
    diagnosis = examine([_rename(bad, f"s{i}", "train") for i in range(10)])
    assert diagnosis.counts["BOX002"] == 90
    assert sum(f.rule.rule_id == "BOX002" for f in diagnosis.findings) == 20
