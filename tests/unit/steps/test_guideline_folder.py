"""The guideline's folder: five files that say the same."""

import json
from pathlib import Path

import jsonschema

from admlops.annotation.definition import DatasetDefinition, load_definition
from admlops.steps.guideline import write_guideline


def test_the_folder_holds_everything_and_is_replaced_as_a_whole(tmp_path: Path) -> None:
    definition = load_definition("urban_lidar")
    folder = tmp_path / "guideline"
    folder.mkdir()
    (folder / "old.txt").write_text("gone")
    write_guideline(definition, None, folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "cvat_labels.json",
        "definition.yaml",
        "delivery_schema.json",
        "guideline.html",
        "openlabel.json",
    ]
    assert DatasetDefinition.load(folder / "definition.yaml") == definition
    schema = json.loads((folder / "delivery_schema.json").read_text())
    jsonschema.validate(json.loads((folder / "openlabel.json").read_text()), schema)
    assert {item["name"] for item in json.loads((folder / "cvat_labels.json").read_text())} > {
        "car",
        "ignore",
    }


def test_a_requirement_file_is_taken_into_the_definition(tmp_path: Path) -> None:
    (tmp_path / "counts.yaml").write_text("name: counts\nrows: [{categories: [car], min_boxes: 7}]")
    (tmp_path / "small.yaml").write_text(
        "{name: small, version: '1', categories: [{name: car, description: a car}], "
        "requirement_file: counts.yaml}"
    )
    definition = load_definition(str(tmp_path / "small.yaml"))
    write_guideline(definition, None, tmp_path / "elsewhere" / "guideline")
    again = load_definition(str(tmp_path / "elsewhere" / "guideline" / "definition.yaml"))
    assert again.requirement == definition.requirement
