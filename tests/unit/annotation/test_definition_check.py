"""Labels against a definition: one damage, one rule."""

import json
from dataclasses import replace

import numpy as np
import pytest

from admlops.annotation.definition import DatasetDefinition
from admlops.annotation.definition_check import BoxRules, DefinitionCheck, parse_attributes
from admlops.checks.findings import FindingLog
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import CalibratedSensor, Frame, FrameKey, LidarSweep

DEFINITION = DatasetDefinition.parse(
    {
        "name": "small",
        "version": "1",
        "categories": [
            {
                "name": "car",
                "description": "a car",
                "aliases": ["Car"],
                "size": {"length_m": [3, 6], "width_m": [1.4, 2.2], "height_m": [1.2, 2.2]},
            },
            {"name": "pedestrian", "description": "a person", "min_points": 2, "max_range_m": 40},
        ],
        "attributes": [
            {
                "name": "motion",
                "description": "moving?",
                "values": {"moving": "", "parked": ""},
                "categories": ["car"],
            },
            {"name": "police", "description": "?", "is_mandatory": False, "is_mutable": False},
        ],
        "sensors": [{"name": "lidar_top", "modality": "lidar"}],
    }
)
LIDAR = LidarSweep(CalibratedSensor("lidar_top", "lidar", np.eye(4)), np.empty((0, 4), np.float32))


def make_boxes() -> Boxes:
    return Boxes.make(
        [[10.0, 0.0, 0.8], [20.0, 5.0, 0.9]],
        [[4.0, 1.8, 1.5], [0.6, 0.6, 1.7]],
        [0.0, 1.0],
        ["car", "pedestrian"],
        num_points=[100, 2],
        track_id=["1", "2"],
        attributes=['{"motion": "parked"}', ""],
    )


def make_frame(boxes: Boxes | None, timestamp_ns: int = 0) -> Frame:
    key = FrameKey("log", "scene", timestamp_ns)
    return Frame(key, "0", np.eye(4), lidar=LIDAR, boxes=boxes)


def run(*frames: Frame) -> FindingLog:
    check = DefinitionCheck(DEFINITION, FindingLog())
    for frame in frames:
        check.look(frame)
    return check.log


def attributes(**values: object) -> dict[str, object]:
    return {"attributes": [json.dumps(values), ""]}


def test_good_labels_have_no_findings() -> None:
    assert run(make_frame(make_boxes()), make_frame(None, 1)).counts == {}


@pytest.mark.parametrize(
    ("rule_id", "damage", "words"),
    [
        ("ANNO001", {"category": ["Car", "pedestrian"]}, "'Car' is an alias of 'car'"),
        ("ANNO002", {"attributes": ['{"motion": "parked"}', '{"motion": "moving"}']}, "pedestrian"),
        ("ANNO003", attributes(motion="flying"), "'flying'; allowed are moving, parked"),
        ("ANNO003", attributes(motion="parked", police="yes"), "allowed are true, false"),
        ("ANNO004", {"attributes": ["", ""]}, "'motion' of a car is missing"),
        ("ANNO004", attributes(motion="__undefined__"), "'motion' of a car is missing"),
        ("ANNO005", {"num_points": [100, 1]}, "1 points, at least 2"),
        ("ANNO005", {"num_points": [4, 2]}, "4 points, at least 5"),
        ("ANNO006", {"size_m": [[4.0, 2.3, 1.5], [9.0, 9.0, 9.0]]}, "width 2.30 m"),
        ("ANNO007", {"center_m": [[10.0, 0.0, 0.8], [30.0, 40.0, 0.9]]}, "50.0 m away"),
        ("ANNO009", {"attributes": ["[1]", ""]}, "[1]"),
        ("ANNO009", {"attributes": ["{", ""]}, "{"),
        ("ANNO009", {"attributes": ["[" * 100_000, ""]}, "[["),
        ("ANNO003", attributes(motion=["parked"]), "allowed are moving, parked"),
    ],
)
def test_one_damage_fires_one_rule(rule_id: str, damage: dict[str, object], words: str) -> None:
    log = run(make_frame(make_boxes().replace(**damage)))
    assert dict(log.counts) == {rule_id: 1}
    assert words in log.kept[0].what


def test_limits_belong_to_the_range() -> None:
    at_the_limit = make_boxes().replace(
        size_m=[[3.0, 2.2, 1.2], [0.6, 0.6, 1.7]],
        center_m=[[80.0, 0.0, 0.8], [24.0, 32.0, 0.9]],
        num_points=[5, 2],
    )
    assert run(make_frame(at_the_limit)).counts == {}


def test_an_unknown_number_of_points_is_no_defect() -> None:
    assert run(make_frame(make_boxes().replace(num_points=[-1, -1]))).counts == {}


def test_regions_to_ignore_need_no_definition() -> None:
    boxes = make_boxes().replace(category=["ignore", "pedestrian"], num_points=[0, 2])
    assert BoxRules(DEFINITION).find_defects(boxes) == []


def test_a_lasting_attribute_may_not_change_within_a_track() -> None:
    first = make_boxes().replace(**attributes(motion="parked", police=True))
    second = make_boxes().replace(**attributes(motion="moving", police=False))
    log = run(make_frame(first), make_frame(second, 1))
    assert dict(log.counts) == {"ANNO008": 1}
    assert log.kept[0].what == "'police' of track 1 is False, before it True"
    other_scene = replace(make_frame(second, 1), key=FrameKey("log", "elsewhere", 1))
    assert run(make_frame(first), other_scene).counts == {}


def test_a_missing_sensor_is_named() -> None:
    log = run(replace(make_frame(make_boxes()), lidar=None))
    assert dict(log.counts) == {"ANNO010": 1}
    assert log.kept[0].what == "no sensor lidar_top; sensors are none"


def test_boxes_in_images_have_categories_and_attributes() -> None:
    boxes = Boxes2d.make([[0, 0, 9, 9]] * 2, ["car", "bus"], attributes=['{"motion": 3}', ""])
    log = run(replace(make_frame(None), boxes_2d=boxes))
    assert dict(log.counts) == {"ANNO003": 1, "ANNO001": 1}


def test_boxes_in_images_are_as_high_as_the_definition_asks() -> None:
    limits = DEFINITION.rules.replace(min_height_px=10).model_dump()
    boxes = Boxes2d.make([[0, 0, 9, 9], [0, 0, 9, 10], [0, 0, np.nan, 5]], ["car", "car", "bus"])
    found = BoxRules(DEFINITION.replace(rules=limits)).find_defects_2d(boxes)
    low = [(item.index, item.what) for item in found if item.rule_id == "ANNO043"]
    assert low == [(0, "9 px high, labelled from 10 px")]


def test_empty_boxes_are_fine() -> None:
    assert BoxRules(DEFINITION).find_defects(Boxes.empty()) == []


def test_attributes_left_undefined_are_absent() -> None:
    assert parse_attributes('{"a": "__undefined__", "b": true}') == {"b": True}
    assert parse_attributes("") == {}
    assert parse_attributes("3") is None


def test_notes_on_automatic_boxes_are_no_attributes_of_a_definition() -> None:
    noted = '{"auto": true, "auto_confidence": 0.9, "motion": "parked"}'
    boxes = make_boxes().replace(attributes=np.array([noted, ""], dtype=object))
    assert run(make_frame(boxes)).counts == run(make_frame(make_boxes())).counts
