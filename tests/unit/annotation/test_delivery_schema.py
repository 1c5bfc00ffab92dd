"""The schema takes good deliveries and refuses each fault; project files say the same."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from admlops.annotation.definition import load_definition
from admlops.annotation.delivery_schema import make_delivery_schema
from admlops.annotation.image_labels import make_coco_task
from admlops.annotation.projects import make_cvat_labels, make_openlabel_project
from admlops.formats.openlabel.reader import read_openlabel
from admlops.formats.openlabel.writer import write_openlabel
from admlops.structures.boxes import Boxes
from admlops.structures.frame import Frame, FrameKey

DEFINITION = load_definition("urban_lidar")
SCHEMA = make_delivery_schema(DEFINITION)
GOOD: dict[str, Any] = {
    "openlabel": {
        "metadata": {"schema_version": "1.0.0"},
        "objects": {"7": {"name": "car 7", "type": "car"}},
        "frames": {
            "0": {
                "objects": {
                    "7": {
                        "object_data": {
                            "cuboid": [
                                {
                                    "name": "box",
                                    "val": [10, 2, 0.8, 0, 0, 0.1, 0.99, 4.2, 1.8, 1.5],
                                    "attributes": {
                                        "text": [{"name": "motion", "val": "parked"}],
                                        "boolean": [{"name": "emergency", "val": False}],
                                    },
                                }
                            ]
                        }
                    }
                }
            }
        },
    }
}


def cuboid(delivery: dict[str, Any]) -> dict[str, Any]:
    return delivery["openlabel"]["frames"]["0"]["objects"]["7"]["object_data"]["cuboid"][0]


def is_valid(delivery: dict[str, Any]) -> bool:
    return jsonschema.Draft7Validator(SCHEMA).is_valid(delivery)


def test_the_schema_is_one() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)


def test_good_deliveries_pass() -> None:
    assert is_valid(GOOD)
    with_angles = copy.deepcopy(GOOD)
    cuboid(with_angles)["val"] = [10, 2, 0.8, 0, 0, 3.1, 4.2, 1.8, 1.5]
    assert is_valid(with_angles)
    assert is_valid(make_openlabel_project(DEFINITION))


def set_category(d: dict[str, Any]) -> None:
    d["openlabel"]["objects"]["7"]["type"] = "Car"


def set_value(d: dict[str, Any]) -> None:
    cuboid(d)["attributes"]["text"][0]["val"] = "flying"


def set_attribute(d: dict[str, Any]) -> None:
    cuboid(d)["attributes"]["text"][0]["name"] = "colour"


def set_flag(d: dict[str, Any]) -> None:
    cuboid(d)["attributes"]["boolean"][0]["val"] = "no"


def set_size(d: dict[str, Any]) -> None:
    cuboid(d)["val"][-1] = 0


def cut_values(d: dict[str, Any]) -> None:
    cuboid(d)["val"] = cuboid(d)["val"][:8]


def rename_frame(d: dict[str, Any]) -> None:
    d["openlabel"]["frames"]["first"] = {}


def remove_frames(d: dict[str, Any]) -> None:
    del d["openlabel"]["frames"]


def set_version(d: dict[str, Any]) -> None:
    d["openlabel"]["metadata"]["schema_version"] = "4.3.1"


@pytest.mark.parametrize(
    "damage",
    [
        set_category,
        set_value,
        set_attribute,
        set_flag,
        set_size,
        cut_values,
        rename_frame,
        remove_frames,
        set_version,
    ],
)
def test_each_fault_is_refused(damage: Callable[[dict[str, Any]], None]) -> None:
    delivery = copy.deepcopy(GOOD)
    damage(delivery)
    assert not is_valid(delivery)


def test_cvat_labels_have_the_definitions_names_and_values() -> None:
    labels = {item["name"]: item for item in make_cvat_labels(DEFINITION)}
    assert list(labels) == [*DEFINITION.category_names, "ignore"]
    assert labels["ignore"]["type"] == "rectangle"
    assert {item["type"] for name, item in labels.items() if name != "ignore"} == {"cuboid"}
    motion, emergency = labels["car"]["attributes"]
    assert motion["values"] == ["__undefined__", "moving", "stopped", "parked"]
    assert motion["default_value"] == "__undefined__"
    assert motion["mutable"] is True
    assert emergency == {
        "name": "emergency",
        "input_type": "checkbox",
        "mutable": False,
        "values": ["false"],
        "default_value": "false",
    }
    assert [item["name"] for item in labels["pedestrian"]["attributes"]] == ["posture"]


def test_openlabel_names_ontology_and_streams() -> None:
    project = make_openlabel_project(DEFINITION)["openlabel"]
    (ontology,) = project["ontologies"].values()
    assert ontology["boundary_list"] == [*DEFINITION.category_names, "ignore"]
    assert {name: item["type"] for name, item in project["streams"].items()} == {
        "lidar_top": "lidar",
        "camera_front": "camera",
    }
    systems = project["coordinate_systems"]
    assert systems["vehicle-iso8855"]["children"] == ["lidar_top", "camera_front"]
    assert all(systems[item["parent"]] for item in systems.values() if item["parent"])


@pytest.mark.parametrize(
    ("category", "attributes", "is_good"),
    [
        ("car", '{"emergency": true, "motion": "parked"}', True),
        ("car", "", True),  # that an answer is missing, the rules tell
        ("lorry", "", False),
        ("car", '{"motion": "flying"}', False),
        ("car", '{"emergency": "yes"}', False),
    ],
)
def test_what_our_writer_delivers(
    tmp_path: Path, category: str, attributes: str, is_good: bool
) -> None:
    boxes = Boxes.make(
        [[10.0, 0, 1]],
        [[4.0, 2, 1.5]],
        [0.3],
        [category],
        track_id=["7"],
        num_points=[9],
        attributes=[attributes],
    )
    file = tmp_path / "delivery.json"
    write_openlabel(file, [Frame(FrameKey("log", "scene", 0), "0", np.eye(4), boxes=boxes)])
    assert is_valid(json.loads(file.read_text())) is is_good


def test_our_reader_takes_the_project(tmp_path: Path) -> None:
    file = tmp_path / "openlabel.json"
    file.write_text(json.dumps(make_openlabel_project(DEFINITION)))
    read = read_openlabel(file)
    assert len(read.frames) == 0


def test_the_shapes_of_the_definition_are_those_of_the_tools():
    def types(*shapes):
        return {item["type"] for item in make_cvat_labels(DEFINITION.replace(shapes=shapes))[:-1]}

    assert types("space_box") == {"cuboid"}
    assert types("image_box") == {"rectangle"}
    assert types("space_box", "image_box") == {"any"}
    task = make_coco_task(DEFINITION, [("images/camera_front/000000.png", 640, 480)])
    assert task["images"] == [
        {"id": 1, "file_name": "images/camera_front/000000.png", "width": 640, "height": 480}
    ]
    assert [item["name"] for item in task["categories"]] == [*DEFINITION.category_names, "ignore"]
