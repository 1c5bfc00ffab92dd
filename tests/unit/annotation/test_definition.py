"""The definition of a dataset: what it answers, and which mistakes it refuses by name."""

from pathlib import Path

import pytest
import yaml

from admlops.annotation.definition import (
    SHIPPED,
    DatasetDefinition,
    load_definition,
    load_requirement,
)
from admlops.errors import ConfigError

SMALL = {
    "name": "small",
    "version": "1",
    "categories": [
        {"name": "car", "description": "a car", "aliases": ["Car"]},
        {"name": "pedestrian", "description": "a person", "is_vulnerable": True, "min_points": 2},
    ],
    "attributes": [
        {
            "name": "motion",
            "description": "moving?",
            "values": {"moving": "", "parked": ""},
            "categories": ["car"],
        },
        {"name": "wet", "description": "wet?"},
    ],
}


def broken(**changes: object) -> dict[str, object]:
    return {**SMALL, **changes}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_definitions_load(name: str) -> None:
    definition = load_definition(name)
    assert definition.vulnerable_names == ("pedestrian", "cyclist")
    assert definition.requirement is not None


def test_answers() -> None:
    definition = DatasetDefinition.parse(SMALL)
    assert definition.category_names == ("car", "pedestrian")
    assert definition.names_by_source() == {
        "car": "car",
        "Car": "car",
        "pedestrian": "pedestrian",
    }
    assert definition.min_points_of("car") == 5
    assert definition.min_points_of("pedestrian") == 2
    assert definition.max_range_of("car") == 80.0
    assert [item.name for item in definition.attributes_of("car")] == ["motion", "wet"]
    assert [item.name for item in definition.attributes_of("pedestrian")] == ["wet"]
    motion, wet = definition.attributes
    assert motion.allows("parked")
    assert not motion.allows("flying")
    assert not motion.allows(True)
    assert wet.allows(True)
    assert not wet.allows("true")


def test_unknown_category_lists_the_known() -> None:
    with pytest.raises(ConfigError, match="no category 'bus'; categories are car, pedestrian"):
        DatasetDefinition.parse(SMALL).category("bus")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {
                "categories": [
                    *SMALL["categories"],
                    {"name": "van", "description": "", "aliases": ["Car"]},
                ]
            },
            "hold 'Car' more than once",
        ),
        ({"categories": []}, "at least 1 item"),
        ({"attributes": [{"name": "a", "description": "", "categories": ["bus"]}]}, "names 'bus'"),
        ({"attributes": [SMALL["attributes"][1]] * 2}, "hold 'wet' more than once"),
        ({"rules": {"rider_categories": ["bus"]}}, "rider_categories names 'bus'"),
        ({"rules": {"occlusion_shares": [0.5, 0.1]}}, "occlusion_shares must rise"),
        ({"requirement": {"rows": [{"categories": ["bus"]}]}}, "requirement names 'bus'"),
        (
            {
                "categories": [
                    {
                        "name": "car",
                        "description": "",
                        "size": {"length_m": [3, 2], "width_m": [1, 2], "height_m": [1, 2]},
                    }
                ]
            },
            "length_m must rise",
        ),
    ],
)
def test_mistakes_are_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DatasetDefinition.parse(broken(**changes))


def test_a_requirement_file_lies_beside_the_definition(tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(broken(attributes=[], requirement_file="counts.yaml")))
    (tmp_path / "counts.yaml").write_text("name: counts\nrows: [{categories: [car], min_boxes: 7}]")
    requirement = load_definition(str(file)).requirement
    assert requirement is not None
    assert requirement.rows[0].min_boxes == 7
    (tmp_path / "counts.yaml").write_text("name: counts\nrows: [{categories: [bus], min_boxes: 7}]")
    with pytest.raises(ConfigError, match="requirement names 'bus'"):
        load_definition(str(file))


def test_an_absent_file_names_the_shipped() -> None:
    with pytest.raises(ConfigError, match="shipped definitions are urban_lidar"):
        load_definition("nowhere.yaml")


def test_counts_needed_are_those_of_a_requirement_or_a_definition(tmp_path: Path) -> None:
    assert load_requirement("urban_lidar") == load_definition("urban_lidar").requirement
    file = tmp_path / "counts.yaml"
    file.write_text("rows: [{categories: [car], min_boxes: 7}]")
    assert load_requirement(str(file)).rows[0].min_boxes == 7
    file.write_text(yaml.safe_dump(broken(requirement={"rows": [{"categories": ["car"]}]})))
    assert load_requirement(str(file)).rows[0].min_boxes == 50
    file.write_text(yaml.safe_dump(SMALL))
    with pytest.raises(ConfigError, match="small 1 has no counts needed"):
        load_requirement(str(file))
    file.write_text("{")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_requirement(str(file))
    with pytest.raises(ConfigError, match="cannot be read"):
        load_requirement(str(tmp_path / "absent.yaml"))
